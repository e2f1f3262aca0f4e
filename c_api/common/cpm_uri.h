/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * URIs of the proxy itself, and of places that requests are sent to.
 */
#ifndef CPM_URI_H
#define CPM_URI_H

#include "cpm_shim.h"

/* The proxy's own address in `room`: that of a listener, as it advertises itself. Empty: it is too
 * long. */
struct cpm_str cpm_uri_own(
		char *room, size_t len, const struct ip_addr *address, int proto, const str *host, const str *port);

/* Room for cpm_uri_place. */
#define CPM_URI_PLACE_BYTES (IP_ADDR_MAX_STR_SIZE + sizeof("sip:[]:65535;transport=udp"))

/* Where a request was sent, in `room`: sip:<address>:<port>;transport=<udp, tcp or tls>. */
struct cpm_str cpm_uri_place(char room[CPM_URI_PLACE_BYTES], const union sockaddr_union *to, int proto);

#endif
