/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "cpm_uri.h"

struct cpm_str cpm_uri_own(
		char *room, size_t len, const struct ip_addr *address, int proto, const str *host, const str *port)
{
	int in_brackets = address->af == AF_INET6 && memchr(host->s, ':', host->len) != NULL && host->s[0] != '[';
	struct cpm_str uri = {room, 0};

	uri.len = snprintf(room, len, in_brackets ? "sip:cpm@[%.*s]:%.*s%s" : "sip:cpm@%.*s:%.*s%s", host->len, host->s,
			port->len, port->s, proto == PROTO_TCP ? ";transport=tcp" : "");
	if(uri.len >= len)
		uri.len = 0;
	return uri;
}

struct cpm_str cpm_uri_place(char room[CPM_URI_PLACE_BYTES], const union sockaddr_union *to, int proto)
{
	struct cpm_str uri = {room, 0};
	struct ip_addr ip;

	su2ip_addr(&ip, (union sockaddr_union *)to);
	uri.len = snprintf(room, CPM_URI_PLACE_BYTES,
			ip.af == AF_INET6 ? "sip:[%s]:%u;transport=%s" : "sip:%s:%u;transport=%s", ip_addr2a(&ip),
			su_getport((union sockaddr_union *)to), proto == PROTO_UDP ? "udp" : proto == PROTO_TCP ? "tcp" : "tls");
	return uri;
}
