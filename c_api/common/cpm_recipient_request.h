/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An outgoing request as the operator's script sees it: a message of its own, so that all functions
 * of the script for received requests ($ru, $du, append_hf, remove_hf, drop, ...) work on it. Each
 * shim provides these functions.
 */
#ifndef CPM_RECIPIENT_REQUEST_H
#define CPM_RECIPIENT_REQUEST_H

#include "cpm_running.h"

/* A message over a copy of `text`, which follows it in pkg memory; its source is the proxy itself.
 * NULL: none. To be released with cpm_shown_free. */
struct sip_msg *cpm_shown_over(struct cpm_str text);
void cpm_shown_free(struct sip_msg *msg);
/* Runs the route for recipient requests. 1: to its end, 0: it called drop. */
int cpm_shown_run(struct sip_msg *msg, const struct cpm_running *running);
/* Its text with all changes applied and without a Via of the proxy, in pkg memory. NULL: error. */
char *cpm_shown_build(struct sip_msg *msg, unsigned int *len);

#endif
