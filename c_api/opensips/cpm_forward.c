/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "context.h"
#include "dset.h"
#include "route.h"

#include "cpm_headers.h"
#include "cpm_host.h"
#include "cpm_kept.h"
#include "cpm_message.h"
#include "cpm_transaction.h"

/* The changes to a request that waits until the name of its next hop is looked up: in shared
 * memory, as long as its transaction. */
struct changes {
	size_t dropped, headers; /* bytes of each, one after the other */
	char bytes[];
};

static void responded(struct cell *t, int type, struct tmcb_params *params)
{
	(void)t;
	(void)type;
	if(params->rpl != NULL && params->rpl != FAKED_REPLY)
		cpm_headers_strip_response(params->rpl);
}


static void release_changes(void *changes)
{
	shm_free(changes);
}

static const str internal_error = str_init("Server Internal Error");

/* Forwards it to `hop`; on failure tm replies. */
static int relay(struct sip_msg *msg, struct cpm_str request_uri, struct cpm_str hop)
{
	str uri = cpm_to_str(request_uri), place = cpm_to_str(hop);

	if(set_dst_uri(msg, &place) == 0 && set_ruri(msg, &uri) == 0 && cpm_tm.t_relay(msg, NULL, NULL) > 0)
		return 1;
	cpm_tm.t_reply(msg, 500, &internal_error);
	return 0;
}

/* 0, or -1 after a reply. `changes`: those for a second step, or NULL. */
static int watch(struct sip_msg *msg, struct changes *changes)
{
	if(cpm_tm.register_tmcb(
			   msg, NULL, TMCB_RESPONSE_IN, responded, changes, changes != NULL ? release_changes : NULL)
			>= 0)
		return 0;
	LM_ERR("a disposition notification could not be sent on: no memory, callid=%.*s\n", CPM_CALL_ID(msg));
	cpm_tm.t_reply(msg, 500, &internal_error);
	return -1;
}

int cpm_forward(void *context, const struct cpm_forwarding *forwarding, struct cpm_str hop)
{
	struct sip_msg *msg = context;

	if(msg == NULL || watch(msg, NULL) < 0)
		return 0;
	if(cpm_headers_replace(msg, forwarding->dropped, forwarding->headers) < 0) {
		LM_ERR("a disposition notification could not be sent on: no memory, callid=%.*s\n", CPM_CALL_ID(msg));
		cpm_tm.t_reply(msg, 500, &internal_error);
		return 0;
	}
	return relay(msg, forwarding->request_uri, hop);
}

uint64_t cpm_forward_suspend(void *context, const struct cpm_forwarding *forwarding, unsigned milliseconds)
{
	struct sip_msg *msg = context;
	struct cell *t = cpm_tm.t_gett();
	size_t dropped = forwarding->dropped.len, headers = forwarding->headers.len;
	struct changes *changes;
	uint64_t number;

	if(msg == NULL || t == NULL || t == T_UNDEFINED)
		return 0;
	changes = shm_malloc(sizeof(*changes) + dropped + headers);
	if(changes == NULL)
		return 0;
	changes->dropped = dropped;
	changes->headers = headers;
	memcpy(changes->bytes, forwarding->dropped.s, dropped);
	memcpy(changes->bytes + dropped, forwarding->headers.s, headers);
	number = cpm_number_of(t->hash_index, t->label);
	if(cpm_tm.register_tmcb(msg, NULL, TMCB_RESPONSE_IN, responded, changes, release_changes) < 0) {
		shm_free(changes);
		return 0;
	}
	return cpm_transaction_keep_open(msg, number, milliseconds) ? number : 0;
}

/* The changes that the first step has stored for the second. */
static const struct changes *changes_of(struct cell *t)
{
	struct tm_callback *callback;

	for(callback = t->tmcb_hl.first; callback != NULL; callback = callback->next) {
		if(callback->callback == responded)
			return callback->param;
	}
	return NULL;
}

/* Forwards the received request, as tm has kept it, as if a worker had just received it. */
static int go_on(struct cell *t, const struct changes *changes, struct cpm_str request_uri, struct cpm_str hop)
{
	const struct sip_msg *received = t->uas.request;
	struct cpm_str text = {received->buf, received->len};
	struct cpm_str dropped = {changes->bytes, changes->dropped};
	struct cpm_str headers = {changes->bytes + changes->dropped, changes->headers};
	struct sip_msg *msg = cpm_message_over(text, &received->rcv);
	int is_sent = 0;

	if(msg == NULL)
		return 0;
	if(cpm_headers_replace(msg, dropped, headers) == 0)
		is_sent = relay(msg, request_uri, hop);
	else
		cpm_tm.t_reply(msg, 500, &internal_error);
	cpm_message_free(msg);
	return is_sent;
}

int cpm_forward_resume(
		uint64_t transaction, struct cpm_str request_uri, struct cpm_str hop, const struct cpm_reply *reply)
{
	const struct changes *changes;
	struct cell *t;
	context_p context;
	int outer_type, is_sent = 0;

	if(reply != NULL) {
		cpm_transaction_reply(NULL, transaction, reply, 0);
		return 0;
	}
	t = cpm_transaction_find(transaction);
	changes = t != NULL ? changes_of(t) : NULL;
	if(changes == NULL) {
		LM_INFO("the transaction of a disposition notification has ended before its name was found\n");
		if(t != NULL)
			cpm_tm.unref_cell(t);
		return 0;
	}
	/* A worker has a context for each message; this process has none. */
	context = context_alloc(CONTEXT_GLOBAL);
	if(context != NULL) {
		memset(context, 0, context_size(CONTEXT_GLOBAL));
		set_global_context(context);
		swap_route_type(outer_type, REQUEST_ROUTE);
		cpm_tm.t_sett(t);
		is_sent = go_on(t, changes, request_uri, hop);
		cpm_tm.t_sett(T_UNDEFINED);
		set_route_type(outer_type);
		context_destroy(CONTEXT_GLOBAL, context);
		context_free(context);
		set_global_context(NULL);
	}
	cpm_tm.unref_cell(t);
	return is_sent;
}

/* The reply that follows ends the transaction. */
void cpm_forward_unsuspend(uint64_t transaction)
{
	(void)transaction;
}
