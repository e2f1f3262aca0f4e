/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Outgoing requests: whether they can be sent to a hop, and a transaction of tm for each.
 */
#ifndef CPM_SEND_H
#define CPM_SEND_H

#include "cpm_kamailio.h"

struct dest_info;
struct sip_uri;
union sockaddr_union;
/* Where a URI with an IP address leads to. 0, or -1: the proxy cannot send there. */
int cpm_send_destination(struct sip_uri *uri, struct socket_info *socket, struct dest_info *destination);
/* Whether the connection to an address could not take `size` bytes more. */
int cpm_send_is_full(union sockaddr_union *to, size_t size);

/* Called for every reply that the proxy receives, before tm or after it. */
int cpm_send_response(sip_msg_t *msg);

#endif
