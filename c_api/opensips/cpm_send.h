/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Outgoing requests: whether they can go a way, and a transaction of tm for each.
 */
#ifndef CPM_SEND_H
#define CPM_SEND_H

#include "cpm_shim.h"

/* These are members of struct cpm_host. */
enum cpm_way cpm_send_way(const struct cpm_outgoing *outgoing, struct cpm_str hop);
enum cpm_sent cpm_send(const struct cpm_outgoing *outgoing, struct cpm_str hop, uint64_t *transaction);
size_t cpm_send_free_memory(size_t *total);

/* Shared memory that a transaction takes beside the request itself: its cell with its branches,
 * of which OpenSIPS 3.6 has 12 from the start, timers and hash entry. */
#define CPM_TRANSACTION_BYTES (12 * 1024)

/* Every reply that the proxy receives, before tm or after it. */
int cpm_send_response(struct sip_msg *msg);

#endif
