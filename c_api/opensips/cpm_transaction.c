/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "data_lump_rpl.h"
#include "globals.h"

#include "cpm_kept.h"
#include "cpm_transaction.h"
#include "cpm_headers.h"
#include "cpm_host.h"

struct tm_binds cpm_tm;

int cpm_tm_load(void)
{
	/* tm's own function for this does not say what is missing. */
	load_tm_f load = (load_tm_f)(void (*)(void))find_export("load_tm", 0);

	if(load == NULL || load(&cpm_tm) < 0) {
		LM_ERR("cpm sends through tm: the script needs loadmodule \"tm.so\"\n");
		return -1;
	}
	return 0;
}

uint64_t cpm_number_of(unsigned hash_index, unsigned label)
{
	return ((uint64_t)hash_index << 32 | label) + 1;
}

struct cell *cpm_transaction_find(uint64_t number)
{
	struct cell *t;

	number--;
	return cpm_tm.t_lookup_ident(&t, (unsigned)(number >> 32), (unsigned)number) < 0 ? NULL : t;
}

void cpm_transaction_mend(struct cell *t)
{
	str *to = &t->to;

	if(to->len > 0 && to->s[to->len - 1] == '\r' && to->s[to->len] == '\n')
		to->len++;
}

/* Marks a transaction that is kept open; the entry of the safety net goes with it. */
static void is_ours(struct cell *t, int type, struct tmcb_params *params)
{
	(void)t;
	(void)type;
	(void)params;
}

static struct cell *current_transaction(void)
{
	struct cell *t = cpm_tm.t_gett();

	return t == T_UNDEFINED ? NULL : t;
}

enum cpm_opened cpm_transaction_open(void *context, uint64_t *transaction)
{
	struct sip_msg *msg = context;
	struct cell *t = current_transaction();
	int result = 1;

	if(msg == NULL)
		return CPM_OPENED_NOT;
	/* tm sends 100 to an INVITE as soon as it has a transaction, which permits a CANCEL: the mark
	 * is set before. */
	if(msg->REQ_METHOD == METHOD_INVITE
			&& cpm_tm.register_tmcb(msg, t, TMCB_TRANS_DELETED, is_ours, NULL, NULL) < 0)
		return CPM_OPENED_NOT;
	if(t == NULL) {
		result = cpm_tm.t_newtran(msg);
		if(result == 0)
			return CPM_OPENED_ABSORBED;
		t = current_transaction();
	}
	if(result < 0 || t == NULL) {
		LM_ERR("no transaction for the request (%d), callid=%.*s\n", result, CPM_CALL_ID(msg));
		return CPM_OPENED_NOT;
	}
	*transaction = cpm_number_of(t->hash_index, t->label);
	return CPM_OPENED;
}

int cpm_transaction_keep_open(void *context, uint64_t transaction, unsigned milliseconds)
{
	struct cell *t = current_transaction();
	struct kept *kept;

	if(context == NULL || t == NULL)
		return 0;
	kept = cpm_kept_add(transaction, milliseconds);
	if(kept == NULL)
		return 0;
	if(cpm_tm.register_tmcb(context, t, TMCB_TRANS_DELETED, is_ours, kept, cpm_kept_remove) < 0) {
		cpm_kept_remove(kept);
		return 0;
	}
	/* Else tm would replace parts of the received request when the script ends, among them the lines
	 * for a reply that another process is just writing. */
	if(t->uas.request != NULL)
		t->uas.request->msg_flags |= FL_SHM_UPDATED;
	/* When the script ends, tm keeps a transaction that it takes for forwarded. */
	cpm_tm.t_setkr(REQ_FWDED);
	return 1;
}

/* Replies with a tag of tm's own. */
static int reply_untagged(struct sip_msg *msg, const struct cpm_reply *reply, const str *reason)
{
	str headers = cpm_to_str(reply->headers);

	if(headers.len > 0 && add_lump_rpl(msg, headers.s, headers.len, LUMP_RPL_HDR) == NULL)
		return -1;
	return CPM_WITHOUT_SIGNATURE(cpm_tm.t_reply(msg, (unsigned)reply->code, reason));
}

int cpm_transaction_reply(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep)
{
	struct sip_msg *msg = context;
	str headers = cpm_to_str(reply->headers);
	str body = cpm_to_str(reply->body);
	str to_tag = cpm_to_str(reply->to_tag);
	str reason;
	struct cell *t;
	char *made;
	int result;

	reason.s = (char *)reply->reason;
	reason.len = (int)strlen(reply->reason);
	if(to_tag.s == NULL && msg != NULL) {
		result = reply_untagged(msg, reply, &reason);
		if(result < 0)
			LM_ERR("the reply %d could not be sent, callid=%.*s\n", reply->code, CPM_CALL_ID(msg));
		return result >= 0;
	}
	t = cpm_transaction_find(transaction);
	if(t == NULL) {
		LM_INFO("the transaction of a request has ended before its reply %d\n", reply->code);
		return 0;
	}
	if(t->uas.status >= 200) {
		/* The safety net was faster (cpm_kept.h): tm would take the transaction to its end twice. */
		cpm_tm.unref_cell(t);
		LM_INFO("a request has been answered before its reply %d\n", reply->code);
		return 0;
	}
	if(keep)
		t->fr_timeout = cpm_core_api->limits.ack_seconds;
	result = cpm_headers_add_script_lines(msg, &headers, &made);
	if(result == 0)
		result = CPM_WITHOUT_SIGNATURE(
				cpm_tm.t_reply_with_body(t, (unsigned)reply->code, &reason, &body, &headers, &to_tag));
	if(made != NULL)
		pkg_free(made);
	cpm_tm.unref_cell(t);
	return result >= 0;
}

/* tm itself keeps a transaction with a final response until its ACK has arrived. */
void cpm_transaction_release(uint64_t transaction)
{
	(void)transaction;
}

void cpm_transaction_absorb(void *context)
{
	struct cell *t = context != NULL ? current_transaction() : NULL;

	if(t != NULL)
		cpm_tm.t_release_trans(t);
}

uint64_t cpm_transaction_cancelled(void *context)
{
	struct sip_msg *msg = context;
	struct tm_callback *callback;
	struct cell *t;

	if(parse_headers(msg, HDR_EOH_F, 0) < 0 || msg->callid == NULL || msg->cseq == NULL)
		return 0;
	/* The reference is tm's, which releases it when the script ends. */
	t = cpm_tm.t_lookup_original_t(msg);
	if(t == NULL || t == T_UNDEFINED)
		return 0;
	for(callback = t->tmcb_hl.first; callback != NULL; callback = callback->next) {
		if(callback->callback == is_ours)
			return cpm_number_of(t->hash_index, t->label);
	}
	return 0;
}

int cpm_transaction_acknowledged(void *context, int of_session)
{
	struct sip_msg *msg = context;
	struct cell *t;

	if(of_session)
		return cpm_tm.t_newtran(msg) == 0;
	/* A transaction that is not ours must not be changed here. */
	if(cpm_tm.t_check_trans(msg) != 1)
		return 0;
	t = current_transaction();
	if(t == NULL)
		return 0;
	cpm_tm.t_release_trans(t);
	return 1;
}

void cpm_transaction_cancel(uint64_t transaction)
{
	struct cell *t = cpm_transaction_find(transaction);

	if(t == NULL)
		return; /* it has just been answered */
	/* Retransmission of the INVITE continues, so that its final response still arrives. */
	cpm_transaction_mend(t);
	t->flags |= T_WAS_CANCELLED_FLAG;
	cpm_tm.t_cancel_trans(t, NULL);
	cpm_tm.unref_cell(t);
}

void cpm_transaction_time_out(uint64_t number)
{
	static const struct cpm_reply timeout = {.code = 408, .reason = "Request Timeout"};
	struct cell *t = cpm_transaction_find(number);
	int is_open;

	if(t == NULL)
		return;
	is_open = t->uas.status < 200;
	if(is_open && cpm_transaction_reply(NULL, number, &timeout, 0))
		LM_NOTICE("a request that another process had taken was not answered in time, callid=%.*s\n",
				CPM_CALL_ID(t->uas.request));
	cpm_tm.unref_cell(t);
}
