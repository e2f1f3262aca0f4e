/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways of the express lane: where a URI leads to, and the Via line for it. Each process keeps the
 * Via lines, and the way that it has found last: recipients of one domain share it.
 */
#ifndef CPM_EXPRESS_WAYS_H
#define CPM_EXPRESS_WAYS_H

#include "cpm_shim.h"

/* Where a URI leads to. */
struct cpm_express_hop {
	int proto;          /* PROTO_UDP or PROTO_TCP */
	const void *socket; /* the proxy's, that it leaves by */
	struct ip_addr ip;
	unsigned port;
};

/* Each shim provides these two, in its cpm_express.c. Where a URI with an IP address leads to, from
 * the proxy's `socket`, or from one that it chooses if that is NULL. 1, or 0: tm has to send. */
int cpm_express_find(const str *uri, const void *socket, struct cpm_express_hop *hop);
/* The Via line with this branch, as tm writes it, in pkg memory. NULL: there is no memory. */
char *cpm_express_via(const struct cpm_express_hop *hop, str *branch, unsigned int *len);

/* The way to a URI: all but the timers and the limit for datagrams. 1, or 0: tm has to send. */
int cpm_express_way_to(str uri, uint64_t socket, struct cpm_express_way *way);
/* The length of the request on that way, with its Via. */
size_t cpm_express_size(const struct cpm_outgoing *outgoing, const struct cpm_express_way *way);

void cpm_express_to_su(const struct cpm_express_address *from, union sockaddr_union *su);
int cpm_express_is_same_place(const struct cpm_express_copy *a, const struct cpm_express_copy *b);

#endif
