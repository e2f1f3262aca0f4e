/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module's interface to OpenSIPS: tables and lifecycle, nothing else.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "globals.h"
#include "msg_translator.h"
#include "net/trans.h"
#include "script_cb.h"
#include "socket_info.h"
#include "sr_module.h"
#include "sr_module_deps.h"
#include "ut.h"

#include "cpm_counters.h"
#include "cpm_express.h"
#include "cpm_kept.h"
#include "cpm_mi.h"
#include "cpm_page.h"
#include "cpm_parameters.h"
#include "cpm_processes.h"
#include "cpm_request.h"
#include "cpm_route.h"
#include "cpm_send.h"
#include "cpm_size.h"
#include "cpm_transaction.h"
#include "cpm_uri.h"
#include "cpm_var.h"

/* OpenSIPS calls each with the maximum number of parameters. */
#define FUNCTION(name, what)                                                           \
	{                                                                                  \
		name, (cmd_function)(void (*)(void))what, {{0, 0, 0}}, REQUEST_ROUTE \
	}
#define FUNCTION_WITH(name, what, parameter)                                                     \
	{                                                                                            \
		name, (cmd_function)(void (*)(void))what, {{parameter, 0, 0}, {0, 0, 0}}, ALL_ROUTES \
	}
static const cmd_export_t functions[] = {
	FUNCTION("cpm_classify", cpm_script_classify),
	FUNCTION("cpm_check", cpm_script_check),
	FUNCTION("cpm_reply", cpm_script_reply),
	FUNCTION("cpm_fanout", cpm_script_fanout),
	FUNCTION("cpm_handle", cpm_script_handle),
	FUNCTION("cpm_forward_imdn", cpm_script_forward_imdn),
	FUNCTION_WITH("cpm_recipient_available", cpm_script_recipient_available, CMD_PARAM_STR),
	{0, 0, {{0, 0, 0}}, 0}
};

static const pv_export_t variables[] = {
	{str_const_init("cpm"), PVT_EXTRA + 1, cpm_var_get, cpm_var_set, cpm_var_parse_name, pv_parse_index, 0, 0},
	{{0, 0}, 0, 0, 0, 0, 0, 0, 0}
};

/* The proxy's own address: its first listener, as it advertises itself. Empty: it has no SIP
 * listener. */
static struct cpm_str own_uri(char *room, size_t len)
{
	struct cpm_str none = {room, 0};
	struct socket_info_full *first = protos[PROTO_UDP].listeners != NULL ? protos[PROTO_UDP].listeners
																		 : protos[PROTO_TCP].listeners;
	const struct socket_info *own;

	if(first == NULL)
		return none;
	own = &first->socket_info;
	return cpm_uri_own(room, len, &own->address, own->proto, get_adv_host(own), get_adv_port(own));
}

static void run(enum cpm_process process)
{
	struct cpm_process_plan plan;

	cpm_core_api->plan(cpm_service, process, &plan);
	_exit(cpm_process_run(process, &plan) == 0 ? 0 : 1);
}

static void run_fan_out(int index)
{
	(void)index;
	run(CPM_PROCESS_FAN_OUT);
}

static void run_groups(int index)
{
	(void)index;
	run(CPM_PROCESS_GROUPS);
}

static void run_sessions(int index)
{
	(void)index;
	run(CPM_PROCESS_SESSIONS);
}

/* Indexed by enum cpm_process. mod_init fills in the rest before OpenSIPS reads it. Without IPC,
 * OpenSIPS ends them by a signal, so they can finish in time. They have a script, because tm runs
 * its local_route for the requests they send. */
#define PROCESS(function) {0, 0, 0, function, 0, PROC_FLAG_INITCHILD | PROC_FLAG_NEEDS_SCRIPT}
static proc_export_t processes[CPM_PROCESSES + 1] = {
	PROCESS(run_fan_out),
	PROCESS(run_groups),
	PROCESS(run_sessions),
	{0, 0, 0, 0, 0, 0}
};

static int plan_processes(void)
{
	struct cpm_process_plan plan;
	int i;

	for(i = 0; i < CPM_PROCESSES; i++) {
		cpm_core_api->plan(cpm_service, (enum cpm_process)i, &plan);
		processes[i].name = plan.title;
		processes[i].no = plan.count;
		if(plan.count == 0)
			continue;
		if(cpm_process_open((enum cpm_process)i, &plan) < 0)
			return -1;
		if(i == CPM_PROCESS_SESSIONS)
			cpm_has_sessions = 1;
	}
	return 0;
}

static int script_ended(struct sip_msg *msg, void *param)
{
	(void)msg;
	(void)param;
	cpm_script_ended();
	return SCB_RUN_ALL;
}

static int mod_init(void)
{
	char room[MAX_URI_SIZE];
	int to_user = 0, to_group = 0;

	if(cpm_ensure_service() < 0)
		return -1;
	/* The user that OpenSIPS changes to after mod_init. It has checked the names already. */
	if(user != NULL)
		user2uid(&to_user, &to_group, user);
	if(group != NULL)
		group2gid(&to_group, group);
	if(cpm_core_api->service_start(
			   cpm_service, own_uri(room, sizeof(room)), (uint32_t)to_user, (uint32_t)to_group)
			< 0)
		return -1;
	if(cpm_core_api->hears_registrar(cpm_service)) {
		LM_ERR("deferred_on_register is not for OpenSIPS: call cpm_recipient_available() in event_route[E_UL_CONTACT_INSERT]\n");
		return -1;
	}
	if(cpm_tm_load() < 0)
		return -1;
	cpm_express_init();
	if(register_script_cb(script_ended, POST_SCRIPT_CB | REQ_TYPE_CB, 0) < 0) {
		LM_ERR("the end of the routing script could not be hooked\n");
		return -1;
	}
	if(cpm_page_init() < 0 || cpm_counters_register() < 0 || cpm_kept_init(cpm_transaction_time_out) < 0 || plan_processes() < 0)
		return -1;
	return cpm_routes_lookup();
}

static int on_response(struct sip_msg *msg)
{
	return cpm_express_response(msg) ? 0 : cpm_send_response(msg);
}

static void mod_destroy(void)
{
	if(cpm_service != NULL)
		cpm_core_api->service_free(cpm_service);
	cpm_service = NULL;
}

/* Parameters of the OpenSIPS side only. */
static const param_export_t own_parameters[] = {
	{"udp_mtu", INT_PARAM, &cpm_udp_mtu},
	{"operator_page", STR_PARAM, &cpm_page_file},
	{"metrics", INT_PARAM, &cpm_page_metrics},
	{"operator_password", STR_PARAM, &cpm_page_password},
};

/* Called before the script sets parameters. */
static int load(void)
{
	cpm_core_api = cpm_core(CPM_ABI);
	if(cpm_core_api == NULL) {
		LM_ERR("the core and the OpenSIPS part of this module are of different builds\n");
		return -1;
	}
	return cpm_parameters_register(own_parameters, sizeof(own_parameters) / sizeof(own_parameters[0]));
}

/* tm and httpd, if loaded, are initialised first; who needs one that is missing logs that. */
static const dep_export_t dependencies = {
	{
		{MOD_TYPE_DEFAULT, "tm", DEP_SILENT},
		{MOD_TYPE_DEFAULT, "httpd", DEP_SILENT},
		{MOD_TYPE_NULL, NULL, 0},
	},
	{
		{NULL, NULL},
	},
};

/* The loader looks these up; everything else in the shim is hidden (build.rs compiles it so). */
#pragma GCC visibility push(default)
struct module_exports exports = {
	.name = "cpm",
	.type = MOD_TYPE_DEFAULT,
	.ver_info = MODULE_VERSION,
	.dlflags = DEFAULT_DLFLAGS,
	.load_f = load,
	.deps = &dependencies,
	.cmds = functions,
	.params = cpm_parameters,
	.mi_cmds = cpm_mi_commands,
	.items = variables,
	.procs = processes,
	.init_f = mod_init,
	.init_child_f = cpm_express_child_init,
	.response_f = on_response,
	.destroy_f = mod_destroy,
};
#pragma GCC visibility pop
