/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpm_request.h"
#include "cpm_running.h"
#include "cpm_var.h"

/* In addition to the fields of the core. */
enum { VAR_RECIPIENT = CPM_REQUEST_FIELDS, VAR_SECONDS, VAR_METRICS };

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
	{"bytes", CPM_FIELD_BYTES},
	{"seconds", VAR_SECONDS},
	{"code", CPM_FIELD_CODE},
	{"reason", CPM_FIELD_REASON},
	{"warning", CPM_FIELD_WARNING},
	{"retry_after", CPM_FIELD_RETRY_AFTER},
	{"recipients", CPM_FIELD_RECIPIENTS},
	{"recipient", VAR_RECIPIENT},
	{"allow_anonymity", CPM_FIELD_ALLOW_ANONYMITY},
	{"max_recipients", CPM_FIELD_MAX_RECIPIENTS},
	{"metrics", VAR_METRICS},
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

static int number_value(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, int64_t number)
{
	if(number < 0)
		return pv_get_null(msg, param, value);
	return pv_get_sintval(msg, param, value, (int)number);
}

/* More bytes than fit into an integer of the script's are possible, so this is a text. */
static int bytes_value(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, int64_t bytes)
{
	static char room[CPM_NUMBER_BYTES];
	str text;

	if(bytes <= 0)
		return pv_get_null(msg, param, value);
	cpm_var_write_bytes((uint64_t)bytes, room, &text);
	return pv_get_strval(msg, param, value, &text);
}

/* The value in an event route about an outgoing request, or about the end of a session. */
static int value_of_about(struct sip_msg *msg, pv_param_t *param, pv_value_t *value, int field)
{
	static char seconds[CPM_NUMBER_BYTES];
	const struct cpm_about *about = cpm_running->about;
	str text;

	switch(field) {
		case VAR_RECIPIENT:
			return text_value(msg, param, value, cpm_of_str(&cpm_running->recipient));
		case CPM_FIELD_REASON:
			return text_value(msg, param, value, cpm_of_str(&cpm_running->reason));
		case CPM_FIELD_CODE:
			return number_value(msg, param, value, cpm_running->code > 0 ? cpm_running->code : -1);
		case CPM_FIELD_RECIPIENTS:
			return number_value(msg, param, value, about->recipients > 0 ? (int64_t)about->recipients : -1);
		case CPM_FIELD_BYTES:
			return bytes_value(msg, param, value, (int64_t)about->bytes);
		case VAR_SECONDS:
			if(about->recipients == 0)
				return pv_get_null(msg, param, value);
			cpm_var_write_seconds(about, seconds, &text);
			return pv_get_strval(msg, param, value, &text);
		default:
			if(field >= CPM_FIELDS)
				return pv_get_null(msg, param, value);
			return text_value(msg, param, value, about->fields[field]);
	}
}

static int recipient_value(
		struct sip_msg *msg, pv_param_t *param, pv_value_t *value, const struct cpm_request *request)
{
	int index, flags;

	if(pv_get_spec_index(msg, param, &index, &flags) < 0)
		return pv_get_null(msg, param, value);
	if(index < 0) /* counted from the end, as for AVPs and header fields */
		index += (int)cpm_core_api->number(request, CPM_FIELD_RECIPIENTS);
	if(index < 0)
		return pv_get_null(msg, param, value);
	return text_value(msg, param, value, cpm_core_api->recipient(request, (size_t)index));
}

/* The request that the script is asked about, or that it routes. NULL: none. */
static struct cpm_request *request_of(const struct sip_msg *msg)
{
	return cpm_running != NULL ? cpm_running->request : cpm_current_request(msg);
}

int cpm_var_get(struct sip_msg *msg, pv_param_t *param, pv_value_t *value)
{
	const struct cpm_request *request = request_of(msg);
	int field = param->pvn.u.isname.name.n;

	if(field == VAR_METRICS)
		return text_value(msg, param, value, cpm_core_api->metrics(cpm_service));
	if(cpm_running != NULL && cpm_running->about != NULL)
		return value_of_about(msg, param, value, field);
	if(request == NULL)
		return pv_get_null(msg, param, value);

	switch(field) {
		case VAR_SECONDS:
			return pv_get_null(msg, param, value);
		case VAR_RECIPIENT:
			return recipient_value(msg, param, value, request);
		case CPM_FIELD_BYTES:
			return bytes_value(msg, param, value, cpm_core_api->number(request, CPM_FIELD_BYTES));
		case CPM_FIELD_CODE:
		case CPM_FIELD_RETRY_AFTER:
		case CPM_FIELD_RECIPIENTS:
		case CPM_FIELD_ALLOW_ANONYMITY:
		case CPM_FIELD_MAX_RECIPIENTS:
			return number_value(msg, param, value, cpm_core_api->number(request, (enum cpm_field)field));
		default:
			return text_value(msg, param, value, cpm_core_api->field(request, (enum cpm_field)field));
	}
}

int cpm_var_set(struct sip_msg *msg, pv_param_t *param, int op, pv_value_t *value)
{
	struct cpm_request *request = request_of(msg);
	int field = param->pvn.u.isname.name.n;
	char number[CPM_NUMBER_BYTES];
	struct cpm_str text;

	(void)op;
	if(request == NULL || value == NULL || !(value->flags & (PV_VAL_STR | PV_VAL_INT))) {
		LM_ERR("a $cpm variable takes a value, and only for a request that cpm_classify() has accepted\n");
		return -1;
	}
	if(value->flags & PV_VAL_STR) {
		text = cpm_of_str(&value->rs);
	} else {
		text.s = number;
		text.len = (size_t)snprintf(number, sizeof(number), "%ld", (long)value->ri);
	}
	return cpm_core_api->set(request, (enum cpm_field)field, text);
}
