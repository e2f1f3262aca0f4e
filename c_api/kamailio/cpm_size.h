/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long an outgoing request will be.
 */
#ifndef CPM_SIZE_H
#define CPM_SIZE_H

#include "cpm_kamailio.h"

/* Whether it is too long for a datagram, or for what the core's udp_mtu says, on its way to
 * `hop`, which has an IP address. NULL: it has no way yet, and the first line that depends on it
 * does not count. */
int cpm_size_exceeds_datagram(const struct cpm_outgoing *outgoing, str *hop);
/* All lines but Via, and the body. */
size_t cpm_size_without_via(const struct cpm_outgoing *outgoing);
/* No request is longer, whatever tm writes. */
size_t cpm_size_at_most(const struct cpm_outgoing *outgoing);

#endif
