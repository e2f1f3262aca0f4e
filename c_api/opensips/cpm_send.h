/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Outgoing requests: whether they can be sent to a hop, and a transaction of tm for each.
 */
#ifndef CPM_SEND_H
#define CPM_SEND_H

#include "cpm_shim.h"

/* The destination of an outgoing request. */
struct cpm_place {
	union sockaddr_union address;
	struct ip_addr ip;
	int proto;
	const struct socket_info *socket;
};
/* The destination of a URI with an IP address, from `socket` if the transport is its. 0, or -1: the
 * proxy cannot send there. */
int cpm_send_place(const str *uri, const struct socket_info *socket, struct cpm_place *place);

/* Called for every reply that the proxy receives, before tm or after it. */
int cpm_send_response(struct sip_msg *msg);

#endif
