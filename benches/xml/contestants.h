/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Three other ways to read a resource list. Both collect the URIs of all entries. */
#ifndef CPM_BENCHES_CONTESTANTS_H
#define CPM_BENCHES_CONTESTANTS_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define RESOURCE_LISTS "urn:ietf:params:xml:ns:resource-lists"

/* How many entries a document has, and how many bytes their URIs have together. */
struct tally {
	size_t entries;
	size_t uri_bytes;
};

/* 0: done. Anything else: the document could not be read. */
int libxml2_dom(const char *document, size_t length, struct tally *tally);
int libxml2_sax(const char *document, size_t length, struct tally *tally);
int expat_sax(const char *document, size_t length, struct tally *tally);

/* "libxml2 20914"; "expat_2.5.0". */
const char *libxml2_version(void);
const char *expat_version(void);

/* The URIs found so far, one behind the other, each ended by NUL. */
struct uris {
	char *bytes;
	size_t length;
	size_t room;
	size_t entries;
};

static inline int uris_add_bytes(struct uris *uris, const char *uri, size_t length)
{
	if(uris->room - uris->length < length + 1) {
		size_t room = uris->room * 2 + length + 1;
		char *bytes = realloc(uris->bytes, room);

		if(bytes == NULL)
			return -1;
		uris->bytes = bytes;
		uris->room = room;
	}
	memcpy(uris->bytes + uris->length, uri, length);
	uris->bytes[uris->length + length] = '\0';
	uris->length += length + 1;
	uris->entries++;
	return 0;
}

static inline int uris_add(struct uris *uris, const char *uri)
{
	return uris_add_bytes(uris, uri, strlen(uri));
}

static inline void uris_end(struct uris *uris, struct tally *tally)
{
	tally->entries = uris->entries;
	tally->uri_bytes = uris->length - uris->entries;
	free(uris->bytes);
}

#endif
