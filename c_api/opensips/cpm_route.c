/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "action.h"
#include "evi/evi_modules.h"
#include "evi/evi_params.h"
#include "msg_translator.h"
#include "route.h"

#include "cpm_message.h"
#include "cpm_recipient_request.h"
#include "cpm_route.h"
#include "cpm_host.h"
#include "cpm_var.h"

const struct cpm_running *cpm_running = NULL;

/* Those that the script answers. */
static struct script_route_ref *questions[CPM_EVENT_RECIPIENT_REQUEST + 1];
#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

/* Those that are told, by their numbers in the core. */
static event_id_t *told;

/* E_CPM_RECIPIENT_FAILED for recipient-failed. */
static event_id_t publish(const struct cpm_row *row)
{
	char text[sizeof("E_CPM_") + CPM_NAME_BYTES];
	str name = {text, 0};
	event_id_t event;
	int i;

	name.len = snprintf(text, sizeof(text), "E_CPM_%.*s", (int)row->name.len, row->name.s);
	for(i = 0; i < name.len; i++)
		text[i] = text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
	/* The core has published it already if the script has a route for it. */
	event = evi_get_id(&name);
	if(event == EVI_ERROR)
		event = evi_publish_event(name);
	if(event == EVI_ERROR)
		LM_ERR("the event %.*s could not be published\n", name.len, name.s);
	return event;
}

int cpm_routes_lookup(void)
{
	char name[sizeof("cpm_") + CPM_NAME_BYTES];
	struct cpm_row row;
	size_t number;

	for(number = 0; cpm_core_api->event(number, &row) == 1; number++)
		;
	told = pkg_malloc(number * sizeof(*told));
	if(told == NULL) {
		LM_ERR("no more private memory\n");
		return -1;
	}
	for(number = 0; cpm_core_api->event(number, &row) == 1; number++) {
		if(number < QUESTIONS) {
			snprintf(name, sizeof(name), "cpm:%.*s", (int)row.name.len, row.name.s);
			questions[number] = ref_script_route_by_name(name, sroutes->request, RT_NO, REQUEST_ROUTE, 0);
			if(questions[number] == NULL)
				return -1;
			continue;
		}
		told[number] = publish(&row);
		if(told[number] == EVI_ERROR)
			return -1;
	}
	return 0;
}

/* The route that answers a question now: the script may have been loaded anew. NULL: there is
 * none. */
static struct script_route *route_of(uint32_t event)
{
	struct script_route_ref *route = questions[event];

	if(!ref_script_route_check_and_update(route) || sroutes->request[route->idx].a == NULL)
		return NULL;
	return &sroutes->request[route->idx];
}

int cpm_route_wants(uint32_t event)
{
	return event < QUESTIONS ? route_of(event) != NULL : evi_probe_event(told[event]);
}

/* 1: the route ran to its end, 0: it said drop. */
static int run(uint32_t event, struct sip_msg *msg, const struct cpm_running *running, int type)
{
	const struct cpm_running *outer = cpm_running;
	struct script_route *route = route_of(event);
	int outer_type, flags;

	if(route == NULL)
		return 1;
	cpm_running = running;
	swap_route_type(outer_type, type);
	flags = run_top_route(*route, msg);
	set_route_type(outer_type);
	cpm_running = outer;
	return !(flags & ACT_FL_DROP);
}

int cpm_route_ask(void *context, uint32_t event, struct cpm_request *request, struct cpm_str text)
{
	struct cpm_running running;
	struct sip_msg *msg = context != NULL ? context : cpm_message_over(text, NULL);
	int goes_on;

	if(msg == NULL)
		return 0;
	memset(&running, 0, sizeof(running));
	running.request = request;
	goes_on = run(event, msg, &running, REQUEST_ROUTE);
	if(context == NULL)
		cpm_message_free(msg);
	return goes_on;
}

struct sip_msg *cpm_shown_over(struct cpm_str text)
{
	return cpm_message_over(text, NULL);
}

void cpm_shown_free(struct sip_msg *msg)
{
	cpm_message_free(msg);
}

/* As in tm's own local_route, functions are allowed that suit a request that was not received. */
int cpm_shown_run(struct sip_msg *msg, const struct cpm_running *running)
{
	return run(CPM_EVENT_RECIPIENT_REQUEST, msg, running, LOCAL_ROUTE);
}

char *cpm_shown_build(struct sip_msg *msg, unsigned int *len)
{
	return build_req_buf_from_sip_req(
			msg, len, msg->rcv.bind_address, msg->rcv.proto, NULL, MSG_TRANS_NOVIA_FLAG);
}

/* An absent text is an empty one: the interface warns of each parameter that a route asks for and
 * that is not there. */
static int add_text(evi_params_p params, const char *name, const str *text)
{
	str none = str_init("");
	str key;

	init_str(&key, name);
	return evi_param_add_str(params, &key, text->s != NULL ? text : &none) == 0 ? 0 : -1;
}

static int add_number(evi_params_p params, const char *name, int number)
{
	str key;

	init_str(&key, name);
	return evi_param_add_int(params, &key, &number) == 0 ? 0 : -1;
}

/* Where the texts of numbers are until the event is raised: the interface has pointers to them. */
struct numbers {
	char bytes[CPM_NUMBER_BYTES];
	char seconds[CPM_NUMBER_BYTES];
};

/* The parameters have the names of the variables; beside them is what the message would tell,
 * which the route does not have. 0, or -1: there is no memory. */
static int add_all(evi_params_p params, int code, const str *reason, struct sip_msg *msg, const struct cpm_about *about,
		struct numbers *numbers)
{
	int is_known = about != NULL && about->recipients > 0;
	str call_id = STR_NULL, text = STR_NULL;
	const char *name;
	int field;

	if(parse_headers(msg, HDR_CALLID_F, 0) == 0 && msg->callid != NULL)
		call_id = msg->callid->body;
	if(add_text(params, "recipient", &msg->first_line.u.request.uri) < 0 || add_number(params, "code", code) < 0
			|| add_text(params, "reason", reason) < 0 || add_text(params, "leg_call_id", &call_id) < 0)
		return -1;
	for(field = 0; field < CPM_FIELDS; field++) {
		name = cpm_var_field_name(field);
		text.s = NULL;
		if(is_known)
			text = cpm_to_str(about->fields[field]);
		if(name != NULL && add_text(params, name, &text) < 0)
			return -1;
	}
	text.s = NULL;
	if(is_known)
		cpm_var_write_bytes(about->bytes, numbers->bytes, &text);
	if(add_text(params, "bytes", &text) < 0)
		return -1;
	text.s = NULL;
	if(is_known)
		cpm_var_write_seconds(about, numbers->seconds, &text);
	if(add_text(params, "seconds", &text) < 0)
		return -1;
	return add_number(params, "recipients", is_known ? (int)about->recipients : 0);
}

void cpm_route_event(uint32_t event, int code, struct cpm_str reason, struct cpm_str text,
		const struct cpm_about *about)
{
	struct sip_msg *msg = cpm_message_over(text, NULL);
	evi_params_p params;
	struct numbers numbers;
	str phrase = cpm_to_str(reason);

	if(msg == NULL)
		return;
	params = evi_get_params();
	if(params == NULL || add_all(params, code, &phrase, msg, about, &numbers) < 0) {
		LM_ERR("an event could not be told: no memory, leg_callid=%.*s\n", CPM_CALL_ID(msg));
		if(params != NULL)
			evi_free_params(params);
	} else {
		/* From here on the parameters are the interface's. */
		evi_raise_event(told[event], params);
	}
	cpm_message_free(msg);
}
