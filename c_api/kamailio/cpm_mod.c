/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module's interface to Kamailio: tables and lifecycle, nothing else.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/globals.h"

#include "core/cfg/cfg_struct.h"
#include "core/mod_fix.h"
#include "core/pt.h"
#include "core/script_cb.h"

#include "cpm_cfg.h"
#include "cpm_counters.h"
#include "cpm_express.h"
#include "cpm_kemi.h"
#include "cpm_parameters.h"
#include "cpm_processes.h"
#include "cpm_request.h"
#include "cpm_route.h"
#include "cpm_rpc.h"
#include "cpm_send.h"
#include "cpm_transaction.h"
#include "cpm_unparsed.h"
#include "cpm_uri.h"
#include "cpm_usrloc.h"
#include "cpm_var.h"

/* The loader looks these up; everything else in the shim is hidden (build.rs compiles it so). */
#pragma GCC visibility push(default)
char *module_version = SER_FULL_VERSION;
char *module_flags = SER_COMPILE_FLAGS;
#pragma GCC visibility pop

static cmd_export_t functions[] = {
	{"cpm_classify", (cmd_function)w_cpm_classify, 0, 0, 0, REQUEST_ROUTE},
	{"cpm_check", (cmd_function)w_cpm_check, 0, 0, 0, REQUEST_ROUTE},
	{"cpm_reply", (cmd_function)w_cpm_reply, 0, 0, 0, REQUEST_ROUTE},
	{"cpm_fanout", (cmd_function)w_cpm_fanout, 0, 0, 0, REQUEST_ROUTE},
	{"cpm_handle", (cmd_function)w_cpm_handle, 0, 0, 0, REQUEST_ROUTE},
	{"cpm_forward_imdn", (cmd_function)w_cpm_forward_imdn, 0, 0, 0, REQUEST_ROUTE},
	{"cpm_recipient_available", (cmd_function)w_cpm_recipient_available, 1, fixup_spve_null, fixup_free_spve_null,
			ANY_ROUTE},
	{0, 0, 0, 0, 0, 0}
};

static pv_export_t variables[] = {
	{{"cpm", sizeof("cpm") - 1}, PVT_OTHER, cpm_var_get, cpm_var_set, cpm_var_parse_name, pv_parse_index, 0, 0},
	{{0, 0}, 0, 0, 0, 0, 0, 0, 0}
};

/* The proxy's own address: its first listener, as it advertises itself. Empty: it has no SIP
 * listener. */
static struct cpm_str own_uri(char *room, size_t len)
{
	struct cpm_str none = {room, 0};
	struct socket_info *own = udp_listen != NULL ? udp_listen : tcp_listen;
	const str *host, *port;

	if(own == NULL)
		return none;
	host = own->useinfo.name.len > 0 ? &own->useinfo.name : &own->address_str;
	port = own->useinfo.port_no > 0 ? &own->useinfo.port_no_str : &own->port_no_str;
	return cpm_uri_own(room, len, &own->address, own->proto, host, port);
}

static int plan_processes(void)
{
	struct cpm_process_plan plan;
	int i;

	for(i = 0; i < CPM_PROCESSES; i++) {
		cpm_core_api->plan(cpm_service, (enum cpm_process)i, &plan);
		if(plan.count == 0)
			continue;
		if(cpm_process_open((enum cpm_process)i, &plan) < 0)
			return -1;
		register_procs((int)plan.count);
		cfg_register_child((int)plan.count);
		if(i == CPM_PROCESS_SESSIONS)
			cpm_has_sessions = 1;
	}
	return 0;
}

static int script_ended(struct sip_msg *msg, unsigned int flags, void *param)
{
	(void)msg;
	(void)flags;
	(void)param;
	cpm_script_ended();
	return 1;
}

static int mod_init(void)
{
	char room[MAX_URI_SIZE];

	if(cpm_ensure_service() < 0)
		return -1;
	if(cpm_core_api->service_start(cpm_service, own_uri(room, sizeof(room)), (uint32_t)uid, (uint32_t)gid) < 0)
		return -1;
	if(cpm_tm_load() < 0)
		return -1;
	if(register_script_cb(script_ended, POST_SCRIPT_CB | REQUEST_CB, 0) < 0) {
		LM_ERR("no callback at the end of the routing script could be registered\n");
		return -1;
	}
	if(cpm_counters_register() < 0 || cpm_unparsed_init() < 0 || plan_processes() < 0)
		return -1;
	if(cpm_cfg_declare() < 0 || cpm_rpc_register() < 0)
		return -1;
	return cpm_routes_lookup();
}

/* 0, or -1: it could not be started. */
static int start_process(enum cpm_process process, const struct cpm_process_plan *plan)
{
	/* With a socket to the TCP main process, without which it could not send over TCP. */
	int pid = fork_process(PROC_XWORKER, (char *)plan->title, 1);

	if(pid < 0) {
		LM_ERR("the process \"%s\" could not be started\n", plan->title);
		return -1;
	}
	if(pid == 0)
		_exit(cfg_child_init() == 0 && cpm_process_run(process, plan) == 0 ? 0 : 1);
	return 0;
}

static int child_init(int rank)
{
	struct cpm_process_plan plan;
	unsigned n;
	int i;

	if(cpm_express_child_init(rank) < 0)
		return -1;
	/* Before the fork, and after the start of all modules, in whatever order they were loaded. */
	if(rank == PROC_INIT)
		return cpm_usrloc_init();
	if(rank != PROC_MAIN)
		return 0;
	for(i = 0; i < CPM_PROCESSES; i++) {
		cpm_core_api->plan(cpm_service, (enum cpm_process)i, &plan);
		for(n = 0; n < plan.count; n++) {
			if(start_process((enum cpm_process)i, &plan) < 0)
				return -1;
		}
	}
	return 0;
}

/* Every reply that the proxy receives, before tm or after it. 0: it goes no further. */
static int response(sip_msg_t *msg)
{
	return cpm_express_response(msg) ? 0 : cpm_send_response(msg);
}

static void mod_destroy(void)
{
	if(cpm_service != NULL)
		cpm_core_api->service_free(cpm_service);
	cpm_service = NULL;
}

#pragma GCC visibility push(default)
struct module_exports exports = {
	"cpm",           /* module name */
	DEFAULT_DLFLAGS, /* dlopen flags */
	functions,
	cpm_parameters,
	0,         /* RPC commands */
	variables, /* pseudo-variables */
	response,
	mod_init,
	child_init,
	mod_destroy
};

/* Parameters of the Kamailio side only. */
static const param_export_t own_parameters[] = {
	{"event_callback", PARAM_STR, &cpm_event_callback},
};

/* Called when the module is loaded: parameters are set and KEMI engines look for functions before
 * mod_init. */
int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	(void)path;
	(void)dlflags;
	(void)p1;
	(void)p2;
	cpm_core_api = cpm_core(CPM_ABI);
	if(cpm_core_api == NULL) {
		LM_ERR("the core and the Kamailio part of this module are of different builds\n");
		return -1;
	}
	if(cpm_parameters_register(own_parameters, sizeof(own_parameters) / sizeof(own_parameters[0])) < 0)
		return -1;
	return cpm_kemi_register();
}
#pragma GCC visibility pop
