/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As most C programs read XML: libxml2 makes a tree, and the program walks it. And as those do that
 * are in a hurry: libxml2 calls back for each tag. */
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "contestants.h"

static int is_entry(const xmlNode *node)
{
	return node->type == XML_ELEMENT_NODE && node->ns != NULL
		   && strcmp((const char *)node->name, "entry") == 0
		   && strcmp((const char *)node->ns->href, RESOURCE_LISTS) == 0;
}

/* The attribute's own text, not the copy that xmlGetProp() makes: the quickest way there is. */
static const char *uri_of(const xmlNode *entry)
{
	const xmlAttr *attribute;

	for(attribute = entry->properties; attribute != NULL; attribute = attribute->next) {
		if(attribute->ns == NULL && strcmp((const char *)attribute->name, "uri") == 0
				&& attribute->children != NULL)
			return (const char *)attribute->children->content;
	}
	return NULL;
}

static int walk(const xmlNode *node, struct uris *uris)
{
	for(; node != NULL; node = node->next) {
		if(is_entry(node)) {
			const char *uri = uri_of(node);

			if(uri == NULL || uris_add(uris, uri) < 0)
				return -1;
		} else if(node->children != NULL && walk(node->children, uris) < 0) {
			return -1;
		}
	}
	return 0;
}

int libxml2_dom(const char *document, size_t length, struct tally *tally)
{
	struct uris uris = {0};
	xmlDoc *tree = xmlReadMemory(
			document, (int)length, NULL, NULL, XML_PARSE_NONET | XML_PARSE_HUGE);
	int result;

	if(tree == NULL)
		return -1;
	result = walk(xmlDocGetRootElement(tree), &uris);
	xmlFreeDoc(tree);
	uris_end(&uris, tally);
	return result;
}

/* Of each attribute there are name, prefix, namespace, value and the value's end. */
#define ATTRIBUTE_PARTS 5

static void on_start(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
		int n_namespaces, const xmlChar **namespaces, int n_attributes, int n_defaulted,
		const xmlChar **attributes)
{
	int i;

	(void)prefix;
	(void)n_namespaces;
	(void)namespaces;
	(void)n_defaulted;
	if(uri == NULL || strcmp((const char *)name, "entry") != 0 || strcmp((const char *)uri, RESOURCE_LISTS) != 0)
		return;
	for(i = 0; i < n_attributes; i++) {
		const xmlChar **attribute = attributes + i * ATTRIBUTE_PARTS;

		if(attribute[2] == NULL && strcmp((const char *)attribute[0], "uri") == 0)
			(void)uris_add_bytes(context, (const char *)attribute[3], attribute[4] - attribute[3]);
	}
}

int libxml2_sax(const char *document, size_t length, struct tally *tally)
{
	struct uris uris = {0};
	xmlSAXHandler handler;
	int result;

	memset(&handler, 0, sizeof(handler));
	handler.initialized = XML_SAX2_MAGIC;
	handler.startElementNs = on_start;
	result = xmlSAXUserParseMemory(&handler, &uris, document, (int)length);
	uris_end(&uris, tally);
	return result;
}

const char *libxml2_version(void)
{
	return "libxml2 " LIBXML_DOTTED_VERSION;
}
