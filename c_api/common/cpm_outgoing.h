/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Outgoing requests, as far as all proxies handle them alike.
 */
#ifndef CPM_OUTGOING_H
#define CPM_OUTGOING_H

#include "cpm_shim.h"

/* The maximum for one datagram over IPv4. A longer request goes over TCP, whatever the proxy's MTU
 * is. */
#define CPM_MAX_DATAGRAM_BYTES 65507

/* The longest Via line: a host name has 255 bytes, and the branch and parameters are shorter. */
#define CPM_MAX_VIA_BYTES 512

int cpm_outgoing_is(const struct cpm_outgoing *outgoing, const char *method);

/* Stores the token of a request in tm: a single odd word takes the place of the pointer to it,
 * which is never odd, so that nearly all requests need no extra memory. Otherwise it is in shared
 * memory, for the shim to free with the transaction. 0, or -1: there is no memory. */
int cpm_outgoing_keep_token(const struct cpm_token *token, void **kept);
/* Whether a stored token is in shared memory. */
int cpm_outgoing_is_in_memory(const void *kept);
/* The stored token. */
struct cpm_token cpm_outgoing_token_of(const void *kept);

/* The number of decimal digits. */
size_t cpm_outgoing_digits(unsigned long number);

/* The length of all lines but Via, and of the body, as the express lane writes them, and Kamailio's
 * tm (t_msgbuilder.c, build_uac_req). */
size_t cpm_outgoing_size_without_via(const struct cpm_outgoing *outgoing);

#endif
