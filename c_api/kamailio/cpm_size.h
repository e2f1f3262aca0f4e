/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The length of an outgoing request.
 */
#ifndef CPM_SIZE_H
#define CPM_SIZE_H

#include "cpm_kamailio.h"

/* Whether it is too long for a datagram, or for the core's udp_mtu, on its way to `hop`, which has
 * an IP address. NULL: the hop is not known yet, and the Via line is not counted. */
int cpm_size_exceeds_datagram(const struct cpm_outgoing *outgoing, str *hop);
/* An upper bound of its length. */
size_t cpm_size_at_most(const struct cpm_outgoing *outgoing);

#endif
