/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of our own, so that everything that works on a received request ($ru, $du, append_hf,
 * remove_hf, drop, ...) works on a text that never was received.
 */
#ifndef CPM_MESSAGE_H
#define CPM_MESSAGE_H

#include "cpm_shim.h"

/* A message over a copy of `text`, which is in pkg memory behind it; it came as `received` says, or
 * from ourselves where that is NULL. NULL: there is none. To be released with cpm_message_free. */
struct sip_msg *cpm_message_over(struct cpm_str text, const struct receive_info *received);
void cpm_message_free(struct sip_msg *msg);

#endif
