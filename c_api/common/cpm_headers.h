/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Header fields of received messages, and of replies to them.
 */
#ifndef CPM_HEADERS_H
#define CPM_HEADERS_H

#include "cpm_shim.h"

/* Whether a comma-separated list of names contains this one. */
int cpm_headers_name(struct cpm_str names, const str *name);

/* Whether every response may have it (RFC 3261 8.2.6). Other fields may reveal its origin: Contact,
 * P-Asserted-Identity, Record-Route, History-Info. */
int cpm_headers_belong_to_response(const struct hdr_field *field);

/* Extends the header lines of a reply to `msg`, which may be NULL, by those that the script has
 * added to it: tm includes the latter only if it makes the To tag itself. `*made` is pkg memory, to
 * be released after the reply, or NULL. 0, or -1: there is no memory. */
int cpm_headers_add_script_lines(struct sip_msg *msg, str *headers, char **made);

#endif
