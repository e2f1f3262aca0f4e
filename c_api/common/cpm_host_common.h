/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members of struct cpm_host that are the same for every proxy.
 */
#ifndef CPM_HOST_COMMON_H
#define CPM_HOST_COMMON_H

#include "cpm_shim.h"

int cpm_host_logs(enum cpm_log_level level);
void cpm_host_log(enum cpm_log_level level, struct cpm_str text);
void *cpm_host_share(size_t size);

#endif
