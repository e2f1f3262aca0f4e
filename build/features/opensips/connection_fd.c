/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenSIPS 3.6: looking up a TCP connection takes one argument more, for its descriptor. */
#include "net/net_tcp.h"

int feature(struct tcp_connection **connection, const struct socket_info *socket)
{
	return tcp_conn_get(0, NULL, 0, PROTO_TCP, NULL, connection, NULL, socket);
}
