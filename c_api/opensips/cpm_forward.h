/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forwarding a received request as a proxy does. These are members of struct cpm_host.
 */
#ifndef CPM_FORWARD_H
#define CPM_FORWARD_H

#include "cpm_shim.h"

int cpm_forward(void *context, const struct cpm_forwarding *forwarding, struct cpm_str hop);
uint64_t cpm_forward_suspend(void *context, const struct cpm_forwarding *forwarding);
int cpm_forward_resume(uint64_t transaction, struct cpm_str request_uri, struct cpm_str hop);
void cpm_forward_unsuspend(uint64_t transaction);

#endif
