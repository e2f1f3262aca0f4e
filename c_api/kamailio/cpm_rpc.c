/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RPC commands.
 */
#include "core/rpc.h"
#include "core/rpc_lookup.h"

#include "cpm_kamailio.h"

static const char *groups_flush_doc[] = {
	"Forgets the cached pre-defined groups: each is read again when it is next sent to.", 0};

static void groups_flush(rpc_t *rpc, void *context)
{
	if(cpm_groups_forget() < 0)
		rpc->fault(context, 400, "There are no pre-defined groups: group_source is not set");
}

static rpc_export_t commands[] = {
	{"cpm.config", cpm_rpc_config, cpm_rpc_config_doc, 0},
	{"cpm.groups_flush", groups_flush, groups_flush_doc, 0},
	{"cpm.stats", cpm_rpc_stats, cpm_rpc_stats_doc, 0},
	{0, 0, 0, 0}
};

int cpm_rpc_register(void)
{
	if(rpc_register_array(commands) != 0) {
		LM_ERR("the RPC commands could not be registered\n");
		return -1;
	}
	return 0;
}
