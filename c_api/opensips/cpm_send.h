/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Outgoing requests: whether they can be sent to a hop, and a transaction of tm for each.
 */
#ifndef CPM_SEND_H
#define CPM_SEND_H

#include "cpm_shim.h"

/* Called for every reply that the proxy receives, before tm or after it. */
int cpm_send_response(struct sip_msg *msg);

#endif
