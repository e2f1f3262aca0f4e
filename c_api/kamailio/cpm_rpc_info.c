/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RPC commands that list parameters with their values, and counters.
 */
#include "core/counters.h"

#include "cpm_express.h"
#include "cpm_route.h"
#include "cpm_rpc.h"

const char *cpm_rpc_config_doc[] = {
	"Lists every parameter with the value in force. Secrets are not told.", 0};

/* The values of the parameter with this number, under its name. */
static int add_parameter(rpc_t *rpc, void *list, size_t number, const struct cpm_parameter *parameter)
{
	char name[CPM_NAME_BYTES];
	struct cpm_str text;
	str value;
	void *values;
	int numeric;
	size_t i;

	snprintf(name, sizeof(name), "%.*s", (int)parameter->name.len, parameter->name.s);
	if(parameter->is_repeatable) {
		if(rpc->struct_add(list, "[", name, &values) < 0)
			return -1;
		for(i = 0; (text = cpm_core_api->value(cpm_service, number, i)).s != NULL; i++) {
			value = cpm_to_str(text);
			if(rpc->array_add(values, "S", &value) < 0)
				return -1;
		}
		return 0;
	}
	text = cpm_core_api->value(cpm_service, number, 0);
	value = cpm_to_str(text);
	if(parameter->is_number && str2sint(&value, &numeric) == 0)
		return rpc->struct_add(list, "d", name, numeric);
	if(value.s == NULL)
		value.s = "";
	return rpc->struct_add(list, "S", name, &value);
}

void cpm_rpc_config(rpc_t *rpc, void *context)
{
	struct cpm_parameter parameter;
	void *list;
	size_t number;

	if(rpc->add(context, "{", &list) < 0)
		return;
	for(number = 0; cpm_core_api->parameter(number, &parameter) == 1; number++) {
		if(add_parameter(rpc, list, number, &parameter) < 0) {
			rpc->fault(context, 500, "No memory for the answer");
			return;
		}
	}
	rpc->struct_add(list, "ss", "express_lane", cpm_express_state(), "event_callback",
			cpm_event_callback.len > 0 ? cpm_event_callback.s : "");
}

const char *cpm_rpc_stats_doc[] = {"Lists the module's counters with their values, the sum of all processes.", 0};

static void add_counter(void *list, str *group, str *name, counter_handle_t handle)
{
	rpc_cb_ctx_t *to = list;

	(void)group;
	/* kamcmd would print a longer number with decimals. */
	to->rpc->struct_add(to->c, "u", name->s, (unsigned)counter_get_val(handle));
}

void cpm_rpc_stats(rpc_t *rpc, void *context)
{
	rpc_cb_ctx_t to;

	to.rpc = rpc;
	if(rpc->add(context, "{", &to.c) < 0)
		return;
	counter_iterate_grp_vars("cpm", add_counter, &to);
}
