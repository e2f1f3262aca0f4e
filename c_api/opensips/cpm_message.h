/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages made from a text, so that all functions of the script for received requests ($ru, $du,
 * append_hf, remove_hf, drop, ...) work on it.
 */
#ifndef CPM_MESSAGE_H
#define CPM_MESSAGE_H

#include "cpm_shim.h"

/* A message over a copy of `text`, which follows it in pkg memory. Its source is `received`, or the
 * proxy itself if that is NULL. NULL: none. To be released with cpm_message_free. */
struct sip_msg *cpm_message_over(struct cpm_str text, const struct receive_info *received);
void cpm_message_free(struct sip_msg *msg);

#endif
