/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RPC commands.
 */
#ifndef CPM_RPC_H
#define CPM_RPC_H

#include "core/rpc.h"

#include "cpm_kamailio.h"

int cpm_rpc_register(void);

/* cpm_rpc_info.c: the commands cpm.config and cpm.stats. */
extern const char *cpm_rpc_config_doc[];
void cpm_rpc_config(rpc_t *rpc, void *context);
extern const char *cpm_rpc_stats_doc[];
void cpm_rpc_stats(rpc_t *rpc, void *context);

#endif
