/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memmem, memrchr */
#define _GNU_SOURCE
#include <string.h>
#include <strings.h>

#include "cpm_express_ways.h"
#include "cpm_outgoing.h"

/* Stands in the Via lines of this file where each copy has its own branch. */
#define BRANCH "z9hG4bKcpm"

/* The Via line for each socket and transport in use, as tm writes it. */
static struct via {
	struct via *next;
	const void *socket;
	int proto;
	char *line; /* pkg memory, kept */
	size_t before, len; /* up to the branch, and in all */
} *vias;

/* Makes one. NULL: there is no memory. */
static struct via *make_via(const struct cpm_express_hop *hop)
{
	static const char marker[] = ";branch=" BRANCH;
	struct via *via = pkg_malloc(sizeof(*via));
	str branch = str_init(BRANCH);
	unsigned int len = 0;
	char *at;

	if(via == NULL)
		return NULL;
	via->line = cpm_express_via(hop, &branch, &len);
	at = via->line != NULL ? memmem(via->line, len, marker, sizeof(marker) - 1) : NULL;
	if(at == NULL) {
		if(via->line != NULL)
			pkg_free(via->line);
		pkg_free(via);
		return NULL;
	}
	via->before = at + sizeof(";branch=") - 1 - via->line;
	via->len = len;
	via->socket = hop->socket;
	via->proto = hop->proto;
	return via;
}

static const struct via *via_of(const struct cpm_express_hop *hop)
{
	struct via *via;

	for(via = vias; via != NULL; via = via->next) {
		if(via->socket == hop->socket && via->proto == hop->proto)
			return via;
	}
	via = make_via(hop);
	if(via == NULL)
		return NULL;
	via->next = vias;
	vias = via;
	return via;
}

/* The part of a URI that determines its destination: recipients of one domain share it. */
static str place_of(str uri)
{
	str place = uri;
	char *at = memrchr(uri.s, '@', uri.len);

	if(at != NULL && memchr(at, '?', uri.s + uri.len - at) == NULL) {
		place.s = at;
		place.len = uri.s + uri.len - at;
	}
	return place;
}

static int is_link_local(const struct ip_addr *ip)
{
	return ip->af == AF_INET6 && ip->u.addr[0] == 0xfe && (ip->u.addr[1] & 0xc0) == 0x80;
}

/* The way to a URI with an IP address, past tm. 1, or 0: tm has to send. */
static int find(const str *uri, const void *socket, struct cpm_express_way *way)
{
	struct cpm_express_hop hop;
	const struct via *via;

	/* Link-local: the interface is not part of the address. */
	if(!cpm_express_find(uri, socket, &hop) || is_link_local(&hop.ip))
		return 0;
	via = via_of(&hop);
	if(via == NULL)
		return 0;
	memset(way, 0, sizeof(*way));
	way->is_reliable = hop.proto == PROTO_TCP;
	way->socket = (uint64_t)(uintptr_t)hop.socket;
	way->to.len = hop.ip.len;
	memcpy(way->to.ip, hop.ip.u.addr, hop.ip.len);
	way->to.port = hop.port;
	way->via_before.s = via->line;
	way->via_before.len = via->before;
	way->via_behind.s = via->line + via->before + sizeof(BRANCH) - 1;
	way->via_behind.len = via->len - via->before - (sizeof(BRANCH) - 1);
	return 1;
}

/* The way found last, and the destination and socket it is for. */
static struct {
	char place[MAX_URI_SIZE];
	size_t len;
	uint64_t socket;
	int is_way;
	struct cpm_express_way way;
} last;

int cpm_express_way_to(str uri, uint64_t socket, struct cpm_express_way *way)
{
	str place;

	if(uri.len >= MAX_URI_SIZE || uri.len < 4 || strncasecmp(uri.s, "sip:", 4) != 0)
		return 0;
	place = place_of(uri);
	if(last.len != (size_t)place.len || last.socket != socket || memcmp(last.place, place.s, place.len) != 0) {
		last.is_way = find(&uri, (const void *)(uintptr_t)socket, &last.way);
		memcpy(last.place, place.s, place.len);
		last.len = place.len;
		last.socket = socket;
	}
	*way = last.way;
	return last.is_way;
}

size_t cpm_express_size(const struct cpm_outgoing *o, const struct cpm_express_way *way)
{
	return cpm_outgoing_size_without_via(o) + way->via_before.len + CPM_EXPRESS_BRANCH_BYTES + way->via_behind.len;
}

void cpm_express_to_su(const struct cpm_express_address *from, union sockaddr_union *su)
{
	struct ip_addr ip;

	memset(&ip, 0, sizeof(ip));
	ip.af = from->len == 16 ? AF_INET6 : AF_INET;
	ip.len = from->len;
	memcpy(ip.u.addr, from->ip, from->len);
	init_su(su, &ip, from->port);
}

int cpm_express_is_same_place(const struct cpm_express_copy *a, const struct cpm_express_copy *b)
{
	return a->to.port == b->to.port && a->to.len == b->to.len && memcmp(a->to.ip, b->to.ip, a->to.len) == 0;
}
