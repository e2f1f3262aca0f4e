/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long an outgoing request will be.
 */
#ifndef CPM_SIZE_H
#define CPM_SIZE_H

#include "cpm_shim.h"

struct socket_info;

/* The parameter udp_mtu: the most bytes that a request over UDP may have; 0: what a datagram can
 * hold. */
extern int cpm_udp_mtu;

/* The most bytes that a request over UDP may have. */
unsigned cpm_size_limit(void);

/* As many bytes at most. */
size_t cpm_size_at_most(const struct cpm_outgoing *outgoing);

/* Whether it is too long for a datagram, or for what udp_mtu says, when it is sent from `socket`.
 * NULL: it has no way yet, and the first line that depends on it does not count. */
int cpm_size_exceeds_datagram(const struct cpm_outgoing *outgoing, const struct socket_info *socket);

#endif
