/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forwarding a received request as a proxy does, to where the core says.
 */
#include <string.h>
#include <strings.h>

#include "core/data_lump.h"
#include "core/dset.h"
#include "core/mem/mem.h"

#include "cpm_tm.h"

/* Whether a list of names with commas between has this one. */
static int is_named(struct cpm_str names, const str *name)
{
	const char *end = names.s + names.len;
	const char *at = names.s;

	while(at < end) {
		const char *comma = memchr(at, ',', end - at);
		const char *until = comma != NULL ? comma : end;

		if(until - at == name->len && strncasecmp(at, name->s, name->len) == 0)
			return 1;
		at = until + 1;
	}
	return 0;
}

static int replace_headers(sip_msg_t *msg, const struct cpm_forwarding *forwarding)
{
	struct hdr_field *field;
	struct lump *anchor;
	char *lines;

	if(parse_headers(msg, HDR_EOH_F, 0) < 0)
		return -1;
	for(field = msg->headers; field != NULL; field = field->next) {
		if(is_named(forwarding->dropped, &field->name)
				&& del_lump(msg, field->name.s - msg->buf, field->len, field->type) == NULL)
			return -1;
	}
	anchor = anchor_lump(msg, msg->unparsed - msg->buf, 0, 0);
	lines = pkg_malloc(forwarding->headers.len);
	if(lines == NULL) {
		PKG_MEM_ERROR;
		return -1;
	}
	memcpy(lines, forwarding->headers.s, forwarding->headers.len);
	/* From here on the lines are the message's. */
	if(anchor == NULL || insert_new_lump_before(anchor, lines, (int)forwarding->headers.len, 0) == NULL) {
		pkg_free(lines);
		return -1;
	}
	return 0;
}

/* What a response consists of (RFC 3261 8.2.6). All else may tell who it comes from: Contact, P-Asserted-Identity,
 * Record-Route, History-Info. */
static int belongs_to_response(const struct hdr_field *field)
{
	switch(field->type) {
		case HDR_VIA_T:
		case HDR_VIA2_T:
		case HDR_FROM_T:
		case HDR_TO_T:
		case HDR_CALLID_T:
		case HDR_CSEQ_T:
		case HDR_CONTENTTYPE_T:
		case HDR_CONTENTLENGTH_T:
		case HDR_RETRY_AFTER_T:
			return 1;
		default:
			return 0;
	}
}

static void responded(struct cell *t, int type, struct tmcb_params *params)
{
	sip_msg_t *response = params->rpl;
	struct hdr_field *field;

	(void)t;
	(void)type;
	if(response == NULL || response == FAKED_REPLY || parse_headers(response, HDR_EOH_F, 0) < 0)
		return;
	for(field = response->headers; field != NULL; field = field->next) {
		if(!belongs_to_response(field))
			del_lump(response, field->name.s - response->buf, field->len, field->type);
	}
}

int cpm_forward(sip_msg_t *msg, const struct cpm_forwarding *forwarding)
{
	str uri = cpm_to_str(forwarding->request_uri);
	str hop = cpm_to_str(forwarding->next_hop);

	if(hop.s != NULL && set_dst_uri(msg, &hop) < 0)
		goto failed;
	if(hop.s == NULL)
		reset_dst_uri(msg);
	if(rewrite_uri(msg, &uri) < 0 || replace_headers(msg, forwarding) < 0
			|| cpm_tm.register_tmcb(msg, NULL, TMCB_RESPONSE_IN, responded, NULL, NULL) < 0)
		goto failed;
	/* tm replies where it cannot send. */
	if(cpm_tm.t_relay(msg, NULL, NULL) > 0)
		return 1;
	LM_NOTICE("a disposition notification could not be sent on, callid=%.*s\n", CPM_CALL_ID(msg));
	return -1;
failed:
	LM_ERR("a disposition notification could not be sent on: no memory, callid=%.*s\n", CPM_CALL_ID(msg));
	cpm_tm.t_reply(msg, 500, "Server Internal Error");
	return -1;
}
