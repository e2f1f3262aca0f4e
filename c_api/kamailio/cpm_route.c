/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/dset.h"
#include "core/fmsg.h"
#include "core/globals.h"
#include "core/kemi.h"
#include "core/mem/mem.h"
#include "core/msg_translator.h"
#include "core/receive.h"
#include "core/route.h"

#include "cpm_route.h"
#include "cpm_host.h"
#include "cpm_recipient_request.h"

const struct cpm_running *cpm_running = NULL;

/* Indexed by their numbers in the core. */
static struct route {
	char *name; /* its name in scripts */
	int index;  /* in event_rt; -1: the script has none */
} *routes;

str cpm_event_callback = STR_NULL;

/* The engine of the KEMI script, if its callback gets the events. NULL: they go to the routes. */
static sr_kemi_eng_t *callback_engine;

int cpm_routes_lookup(void)
{
	char text[sizeof("cpm:") + CPM_NAME_BYTES];
	struct cpm_str name = {text, 0};
	struct cpm_row row;
	size_t number;

	if(cpm_event_callback.len > 0) {
		callback_engine = sr_kemi_eng_get();
		if(callback_engine == NULL) {
			LM_ERR("parameter event_callback: \"%.*s\" needs a script in another language (cfgengine)\n",
					cpm_event_callback.len, cpm_event_callback.s);
			return -1;
		}
	}

	for(number = 0; cpm_core_api->event(number, &row) == 1; number++)
		;
	routes = pkg_malloc(number * sizeof(*routes));
	if(routes == NULL) {
		PKG_MEM_ERROR;
		return -1;
	}
	for(number = 0; cpm_core_api->event(number, &row) == 1; number++) {
		name.len = (size_t)snprintf(text, sizeof(text), "cpm:%.*s", (int)row.name.len, row.name.s);
		routes[number].name = cpm_chars_of(name);
		if(routes[number].name == NULL)
			return -1;
		routes[number].index = route_lookup(&event_rt, routes[number].name);
		if(routes[number].index >= 0 && event_rt.rlist[routes[number].index] == NULL)
			routes[number].index = -1; /* an empty route */
	}
	return 0;
}

int cpm_route_wants(uint32_t event)
{
	return callback_engine != NULL || routes[event].index >= 0;
}

/* 1: the route ran to its end, 0: it called drop. */
static int run(uint32_t event, sip_msg_t *msg, const struct cpm_running *running)
{
	const struct cpm_running *outer = cpm_running;
	int route_type = get_route_type();
	struct run_act_ctx context;
	str name;

	cpm_running = running;
	set_route_type(EVENT_ROUTE);
	init_run_actions_ctx(&context);
	if(callback_engine != NULL) {
		name.s = routes[event].name;
		name.len = (int)strlen(name.s);
		if(sr_kemi_ctx_route(callback_engine, &context, msg, EVENT_ROUTE, &cpm_event_callback, &name) < 0)
			LM_ERR("%.*s failed for %s, callid=%.*s\n", cpm_event_callback.len, cpm_event_callback.s, name.s,
					CPM_CALL_ID(msg));
	} else {
		run_top_route(event_rt.rlist[routes[event].index], msg, &context);
	}
	set_route_type(route_type);
	cpm_running = outer;
	return !(context.run_flags & DROP_R_F);
}

struct sip_msg *cpm_shown_over(struct cpm_str text)
{
	struct socket_info *own = udp_listen != NULL ? udp_listen : tcp_listen;
	sip_msg_t *msg = pkg_malloc(sizeof(*msg) + text.len + 1);
	char *copy = (char *)(msg + 1);

	if(msg == NULL) {
		PKG_MEM_ERROR;
		return NULL;
	}
	memcpy(copy, text.s, text.len);
	copy[text.len] = '\0';
	if(build_sip_msg_from_buf(msg, copy, (int)text.len, inc_msg_no()) < 0) {
		pkg_free(msg);
		return NULL;
	}
	/* Its source is the proxy itself. */
	msg->rcv.proto = PROTO_UDP;
	if(own != NULL) {
		msg->rcv.bind_address = own;
		msg->rcv.src_ip = own->address;
		msg->rcv.src_port = own->port_no;
		msg->rcv.dst_ip = own->address;
		msg->rcv.dst_port = own->port_no;
	}
	return msg;
}

void cpm_shown_free(struct sip_msg *msg)
{
	free_sip_msg(msg);
	pkg_free(msg);
}

int cpm_route_ask(void *context, uint32_t event, struct cpm_request *request, struct cpm_str text)
{
	struct cpm_running running;
	sip_msg_t *msg = context != NULL ? (sip_msg_t *)context : cpm_shown_over(text);
	int goes_on;

	if(msg == NULL)
		return 0;
	memset(&running, 0, sizeof(running));
	running.request = request;
	goes_on = run(event, msg, &running);
	if(context == NULL)
		cpm_shown_free(msg);
	return goes_on;
}

int cpm_shown_run(struct sip_msg *msg, const struct cpm_running *running)
{
	return run(CPM_EVENT_RECIPIENT_REQUEST, msg, running);
}

char *cpm_shown_build(struct sip_msg *msg, unsigned int *len)
{
	const unsigned int mode = BUILD_NO_LOCAL_VIA | BUILD_NO_VIA1_UPDATE;
	struct dest_info destination;

	memset(&destination, 0, sizeof(destination));
	destination.proto = PROTO_UDP;
	destination.send_sock = msg->rcv.bind_address;
#ifdef CPM_HAS_BUILD_STATE
	return build_req_buf_from_sip_req(msg, len, &destination, mode, NULL);
#else
	return build_req_buf_from_sip_req(msg, len, &destination, mode);
#endif
}

void cpm_route_event(uint32_t event, int code, struct cpm_str reason, struct cpm_str text,
		const struct cpm_about *about)
{
	struct cpm_running running;
	sip_msg_t *msg = cpm_shown_over(text);

	if(msg == NULL)
		return;
	memset(&running, 0, sizeof(running));
	running.about = about;
	running.code = code;
	running.reason = cpm_to_str(reason);
	running.recipient = msg->first_line.u.request.uri;
	run(event, msg, &running);
	cpm_shown_free(msg);
}
