/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpm_request.h"
#include "cpm_running.h"
#include "cpm_var.h"

/* In addition to the fields of the core. */
enum { VAR_RECIPIENTS = CPM_FIELDS, VAR_RECIPIENT, VAR_CODE, VAR_REASON, VAR_BYTES, VAR_SECONDS };

static const struct {
	const char *name;
	int field;
} names[] = {
	{"kind", CPM_FIELD_KIND},
	{"mode", CPM_FIELD_MODE},
	{"originator", CPM_FIELD_ORIGINATOR},
	{"conversation_id", CPM_FIELD_CONVERSATION_ID},
	{"contribution_id", CPM_FIELD_CONTRIBUTION_ID},
	{"session", CPM_FIELD_SESSION},
	{"message_id", CPM_FIELD_MESSAGE_ID},
	{"call_id", CPM_FIELD_CALL_ID},
	{"icid", CPM_FIELD_ICID},
	{"bytes", VAR_BYTES},
	{"seconds", VAR_SECONDS},
	{"code", VAR_CODE},
	{"reason", VAR_REASON},
	{"warning", CPM_FIELD_WARNING},
	{"recipients", VAR_RECIPIENTS},
	{"recipient", VAR_RECIPIENT},
};

const char *cpm_var_field_name(int field)
{
	size_t i;

	for(i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if(names[i].field == field)
			return names[i].name;
	}
	return NULL;
}

int cpm_var_parse_name(pv_spec_t *spec, cpm_proxy_name *name)
{
	size_t i;

	for(i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if(strlen(names[i].name) == (size_t)name->len && strncmp(names[i].name, name->s, name->len) == 0) {
			spec->pvp.pvn.type = PV_NAME_INTSTR;
			spec->pvp.pvn.u.isname.type = 0;
			spec->pvp.pvn.u.isname.name.n = names[i].field;
			return 0;
		}
	}
	LM_ERR("there is no $cpm(%.*s)\n", name->len, name->s);
	return -1;
}

void cpm_var_write_bytes(uint64_t bytes, char room[CPM_NUMBER_BYTES], str *text)
{
	text->s = bytes > 0 ? room : NULL;
	text->len = snprintf(room, CPM_NUMBER_BYTES, "%" PRIu64, bytes);
}

void cpm_var_write_seconds(const struct cpm_about *about, char room[CPM_NUMBER_BYTES], str *text)
{
	text->s = room;
	text->len = snprintf(room, CPM_NUMBER_BYTES, "%" PRIu64 ".%03u", about->milliseconds / 1000,
			(unsigned)(about->milliseconds % 1000));
}

static int text_value(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, struct cpm_str text)
{
	str s = cpm_to_str(text);

	if(text.s == NULL)
		return pv_get_null(msg, param, value);
	return pv_get_strval(msg, param, value, &s);
}

/* The value from the running event route. 0: it has none, ask the request. */
static int event_value(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, int field, int *result)
{
	static char bytes[CPM_NUMBER_BYTES], seconds[CPM_NUMBER_BYTES];
	const struct cpm_running *event = cpm_running;
	const struct cpm_about *about = event->about;
	str s = {NULL, 0};

	switch(field) {
		case VAR_RECIPIENT:
			s = event->recipient;
			break;
		case VAR_REASON:
			s = event->reason;
			break;
		case VAR_CODE:
			*result = event->code ? pv_get_sintval(msg, param, value, event->code)
								  : pv_get_null(msg, param, value);
			return 1;
		case VAR_RECIPIENTS:
			if(about == NULL)
				return 0;
			*result = about->recipients ? pv_get_sintval(msg, param, value, (int)about->recipients)
										: pv_get_null(msg, param, value);
			return 1;
		case VAR_BYTES:
			if(about == NULL)
				return 0;
			cpm_var_write_bytes(about->bytes, bytes, &s);
			break;
		case VAR_SECONDS:
			if(about != NULL && about->recipients > 0)
				cpm_var_write_seconds(about, seconds, &s);
			break;
		default:
			if(about == NULL)
				return 0;
			s = cpm_to_str(about->fields[field]);
			break;
	}
	*result = s.s != NULL ? pv_get_strval(msg, param, value, &s) : pv_get_null(msg, param, value);
	return 1;
}

int cpm_var_get(struct sip_msg *msg, pv_param_t *param, pv_value_t *value)
{
	const struct cpm_request *request;
	int field = param->pvn.u.isname.name.n;
	int index, flags;
	int result;
	struct cpm_reply reply;
	static char bytes[CPM_NUMBER_BYTES];
	str reason;

	if(cpm_running != NULL && event_value(msg, param, value, field, &result))
		return result;
	request = cpm_running != NULL ? cpm_running->request : cpm_current_request(msg);
	if(request == NULL)
		return pv_get_null(msg, param, value);

	switch(field) {
		case VAR_SECONDS:
			return pv_get_null(msg, param, value);
		case VAR_BYTES:
			cpm_var_write_bytes(cpm_core_api->bytes(request), bytes, &reason);
			return reason.s != NULL ? pv_get_strval(msg, param, value, &reason) : pv_get_null(msg, param, value);
		case VAR_RECIPIENTS:
			return pv_get_sintval(msg, param, value, (int)cpm_core_api->recipients(request));
		case VAR_RECIPIENT:
			if(pv_get_spec_index(msg, param, &index, &flags) < 0)
				return pv_get_null(msg, param, value);
			if(index < 0) /* counted from the end, as for AVPs and header fields */
				index += (int)cpm_core_api->recipients(request);
			if(index < 0)
				return pv_get_null(msg, param, value);
			return text_value(msg, param, value, cpm_core_api->recipient(request, (size_t)index));
		case VAR_CODE:
		case VAR_REASON:
			if(!cpm_core_api->answer(request, &reply))
				return pv_get_null(msg, param, value);
			if(field == VAR_CODE)
				return pv_get_sintval(msg, param, value, reply.code);
			reason.s = (char *)reply.reason;
			reason.len = (int)strlen(reply.reason);
			return pv_get_strval(msg, param, value, &reason);
		default:
			return text_value(msg, param, value, cpm_core_api->field(request, (enum cpm_field)field));
	}
}

int cpm_var_set(struct sip_msg *msg, pv_param_t *param, int op, pv_value_t *value)
{
	struct cpm_request *request = cpm_current_request(msg);

	(void)op;
	if(param->pvn.u.isname.name.n != CPM_FIELD_ORIGINATOR) {
		LM_ERR("of the $cpm variables only $cpm(originator) can be set\n");
		return -1;
	}
	if(request == NULL || value == NULL || !(value->flags & PV_VAL_STR)) {
		LM_ERR("$cpm(originator) takes a URI, between cpm_classify() and cpm_check()\n");
		return -1;
	}
	return cpm_core_api->set_originator(request, cpm_of_str(&value->rs));
}
