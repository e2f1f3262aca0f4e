/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Header fields of received messages, and of replies to them.
 */
#ifndef CPM_HEADERS_H
#define CPM_HEADERS_H

#include "cpm_shim.h"

/* Removes the header fields whose names are in `dropped`, separated by commas, and adds these
 * lines behind the others. 0, or -1. */
int cpm_headers_replace(struct sip_msg *msg, struct cpm_str dropped, struct cpm_str lines);

/* Removes every header field that not every response may have (RFC 3261 8.2.6): it may reveal its
 * origin, as Contact, P-Asserted-Identity, Record-Route and History-Info do. */
void cpm_headers_strip_response(struct sip_msg *response);

/* Extends the header lines of a reply to `msg`, which may be NULL, by those that the script has
 * added to it: tm includes the latter only if it makes the To tag itself. `*made` is pkg memory, to
 * be released after the reply, or NULL. 0, or -1: there is no memory. */
int cpm_headers_add_script_lines(struct sip_msg *msg, str *headers, char **made);

#endif
