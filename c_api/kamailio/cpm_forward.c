/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/dset.h"
#include "core/mem/mem.h"
#include "core/route_struct.h"

#include "cpm_headers.h"
#include "cpm_host.h"
#include "cpm_transaction.h"

static void responded(struct cell *t, int type, struct tmcb_params *params)
{
	(void)t;
	(void)type;
	if(params->rpl != NULL && params->rpl != FAKED_REPLY)
		cpm_headers_strip_response(params->rpl);
}


/* The task of a suspended transaction that continues: tm runs an action of a script, and this is
 * its argument. */
static struct {
	str request_uri;
	str hop;
	const struct cpm_reply *reply; /* instead, or NULL */
	int is_sent;
} going_on;

/* Forwards it to `hop`; on failure tm replies. */
static int relay(sip_msg_t *msg, str *request_uri, str *hop)
{
	if(set_dst_uri(msg, hop) < 0 || rewrite_uri(msg, request_uri) < 0) {
		cpm_tm.t_reply(msg, 500, "Server Internal Error");
		return 0;
	}
	return cpm_tm.t_relay(msg, NULL, NULL) > 0;
}

static int go_on(sip_msg_t *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	if(going_on.reply == NULL)
		going_on.is_sent = relay(msg, &going_on.request_uri, &going_on.hop);
	else
		cpm_transaction_reply(msg, 0, going_on.reply, 0);
	return 1;
}

int cpm_forward_resume(
		uint64_t transaction, struct cpm_str request_uri, struct cpm_str hop, const struct cpm_reply *reply)
{
	static ksr_cmd_export_t function = {.name = "cpm_forward_on", .function = go_on};
	static struct action action = {.type = MODULE0_T, .count = 2};
	unsigned hash_index, label;

	action.val[0].type = MODEXP_ST;
	action.val[0].u.data = &function;
	action.val[1].type = NUMBER_ST;
	going_on.request_uri = cpm_to_str(request_uri);
	going_on.hop = cpm_to_str(hop);
	going_on.reply = reply;
	going_on.is_sent = 0;
	cpm_ident_of(transaction, &hash_index, &label);
	if(cpm_tm.t_continue(hash_index, label, &action) < 0)
		LM_INFO("the transaction of a disposition notification has ended before its name was found\n");
	return going_on.is_sent;
}

/* 0, or -1 after a reply. */
static int prepare(sip_msg_t *msg, const struct cpm_forwarding *forwarding)
{
	if(msg == NULL)
		return -1;
	if(cpm_headers_replace(msg, forwarding->dropped, forwarding->headers) == 0
			&& cpm_tm.register_tmcb(msg, NULL, TMCB_RESPONSE_IN, responded, NULL, NULL) >= 0)
		return 0;
	LM_ERR("a disposition notification could not be forwarded: no memory, callid=%.*s\n", CPM_CALL_ID(msg));
	cpm_tm.t_reply(msg, 500, "Server Internal Error");
	return -1;
}

/* tm has its own time limit for a suspended transaction. */
uint64_t cpm_forward_suspend(void *context, const struct cpm_forwarding *forwarding, unsigned milliseconds)
{
	unsigned hash_index, label;

	(void)milliseconds;
	if(prepare(context, forwarding) < 0 || cpm_tm.t_suspend(context, &hash_index, &label) < 0)
		return 0;
	return cpm_number_of(hash_index, label);
}

void cpm_forward_unsuspend(uint64_t transaction)
{
	unsigned hash_index, label;

	cpm_ident_of(transaction, &hash_index, &label);
	cpm_tm.t_cancel_suspend(hash_index, label);
}

int cpm_forward(void *context, const struct cpm_forwarding *forwarding, struct cpm_str hop)
{
	str uri = cpm_to_str(forwarding->request_uri);
	str place = cpm_to_str(hop);

	return prepare(context, forwarding) == 0 && relay(context, &uri, &place);
}
