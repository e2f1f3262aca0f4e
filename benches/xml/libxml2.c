/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As most C programs read XML: libxml2 makes a tree, and the program walks it. */
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

const char *libxml2_version(void)
{
	return "libxml2 " LIBXML_DOTTED_VERSION;
}
