/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/data_lump_rpl.h"
#include "core/globals.h"
#include "core/mem/mem.h"

#include "cpm_transaction.h"
#include "cpm_headers.h"
#include "cpm_host.h"
#include "cpm_unparsed.h"

struct tm_binds cpm_tm;

int cpm_tm_load(void)
{
	if(load_tm_api(&cpm_tm) < 0) {
		LM_ERR("cpm sends through tm: put loadmodule \"tm.so\" before loadmodule \"cpm.so\"\n");
		return -1;
	}
	return 0;
}

uint64_t cpm_number_of(unsigned hash_index, unsigned label)
{
	return ((uint64_t)hash_index << 32 | label) + 1;
}

void cpm_ident_of(uint64_t number, unsigned *hash_index, unsigned *label)
{
	number--;
	*hash_index = (unsigned)(number >> 32);
	*label = (unsigned)number;
}

/* A look-up makes the transaction this process's current one: `current` and `branch` must be
 * restored. NULL: the transaction no longer exists. */
static struct cell *find(uint64_t number, struct cell **current, int *branch)
{
	unsigned hash_index, label;
	struct cell *t;

	*current = cpm_tm.t_gett();
	*branch = cpm_tm.t_gett_branch();
	cpm_ident_of(number, &hash_index, &label);
	return cpm_tm.t_lookup_ident(&t, hash_index, label) < 0 ? NULL : t;
}

enum cpm_opened cpm_transaction_open(void *context, uint64_t *transaction)
{
	sip_msg_t *msg = context;
	struct cell *t = cpm_tm.t_gett();
	int result = 1;

	if(msg == NULL)
		return CPM_OPENED_NOT;
	if(t == NULL || t == T_UNDEFINED) {
		if(parse_headers(msg, HDR_EOH_F, 0) < 0) {
			cpm_unparsed_refuse(msg);
			return CPM_OPENED_ABSORBED;
		}
		result = cpm_tm.t_newtran(msg);
		if(result == 0)
			return CPM_OPENED_ABSORBED;
		t = cpm_tm.t_gett();
	}
	if(result < 0 || t == NULL || t == T_UNDEFINED) {
		LM_ERR("no transaction for the request (%d), callid=%.*s\n", result, CPM_CALL_ID(msg));
		return CPM_OPENED_NOT;
	}
	*transaction = cpm_number_of(t->hash_index, t->label);
	return CPM_OPENED;
}

/* Marks a transaction that is kept open. */
static void kept_open(struct cell *t, int type, struct tmcb_params *params)
{
	(void)t;
	(void)type;
	(void)params;
}

int cpm_transaction_keep_open(void *context, uint64_t transaction, unsigned milliseconds)
{
	sip_msg_t *msg = context;

	(void)transaction;
	/* Before the 100, which permits a CANCEL: another worker may receive that at once. */
	if(msg == NULL || cpm_tm.register_tmcb(msg, NULL, TMCB_DESTROY, kept_open, NULL, NULL) < 0)
		return 0;
	if(msg->REQ_METHOD == METHOD_INVITE && cpm_tm.t_reply(msg, 100, "Trying") < 0)
		LM_INFO("100 could not be sent\n");
	/* A branch without a destination keeps the transaction when the script ends, and ends it when
	 * the time is up. */
	return cpm_tm.set_fr(msg, milliseconds, milliseconds) >= 0 && cpm_tm.t_addblind() >= 0;
}

/* Replies with a tag of tm's own. */
static int reply_untagged(sip_msg_t *msg, const struct cpm_reply *reply)
{
	str headers = cpm_to_str(reply->headers);

	if(headers.len > 0 && add_lump_rpl2(msg, headers.s, headers.len, LUMP_RPL_HDR) == NULL)
		return -1;
	return CPM_WITHOUT_SIGNATURE(cpm_tm.t_reply(msg, reply->code, (char *)reply->reason));
}

int cpm_transaction_reply(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep)
{
	sip_msg_t *msg = context;
	str headers = cpm_to_str(reply->headers);
	str body = cpm_to_str(reply->body);
	str to_tag = cpm_to_str(reply->to_tag);
	struct cell *current, *t, *held;
	char *made;
	str reason;
	int branch, result;

	if(to_tag.s == NULL && msg != NULL) {
		result = reply_untagged(msg, reply);
		if(result < 0)
			LM_ERR("the reply %d could not be sent, callid=%.*s\n", reply->code, CPM_CALL_ID(msg));
		return result >= 0;
	}
	held = keep ? find(transaction, &current, &branch) : NULL;
	if(keep)
		cpm_tm.t_sett(current, branch);
	t = find(transaction, &current, &branch);
	if(t == NULL) {
		LM_INFO("the transaction of a request has ended before its reply %d\n", reply->code);
		return 0;
	}
	reason.s = (char *)reply->reason;
	reason.len = (int)strlen(reply->reason);
	result = cpm_headers_add_script_lines(msg, &headers, &made);
	/* Releases the reference that the look-up took. */
	if(result == 0)
		result = CPM_WITHOUT_SIGNATURE(
				cpm_tm.t_reply_with_body(t, reply->code, &reason, &body, &headers, &to_tag));
	else
		cpm_tm.unref_cell(t);
	if(made != NULL)
		pkg_free(made);
	if(result < 0 && held != NULL)
		cpm_tm.unref_cell(held);
	cpm_tm.t_sett(current, branch);
	return result >= 0;
}

void cpm_transaction_release(uint64_t transaction)
{
	struct cell *current, *t;
	int branch;

	t = find(transaction, &current, &branch);
	if(t == NULL)
		return;
	/* The reference that the look-up took, and the one that was kept. */
	cpm_tm.unref_cell(t);
	cpm_tm.unref_cell(t);
	cpm_tm.t_sett(current, branch);
}

void cpm_transaction_absorb(void *context)
{
	if(context != NULL)
		cpm_tm.t_release((sip_msg_t *)context);
}

uint64_t cpm_transaction_cancelled(void *context)
{
	struct cell *t = cpm_tm.t_lookup_original((sip_msg_t *)context);
	volatile struct tm_callback *callback;
	uint64_t number = 0;

	if(t == NULL || t == T_UNDEFINED)
		return 0;
	for(callback = t->tmcb_hl.first; callback != NULL; callback = callback->next) {
		if(callback->callback == kept_open)
			number = cpm_number_of(t->hash_index, t->label);
	}
	cpm_tm.unref_cell(t);
	return number;
}

int cpm_transaction_acknowledged(void *context, int of_session)
{
	static cmd_function check_transaction = NULL;

	if(of_session)
		return cpm_tm.t_newtran((sip_msg_t *)context) == 0;
	if(check_transaction == NULL)
		check_transaction = find_export("t_check_trans", 0, 0);
	return check_transaction != NULL && check_transaction((sip_msg_t *)context, NULL, NULL) == 0;
}

void cpm_transaction_cancel(uint64_t transaction)
{
	struct cell *current, *t;
	int branch;

	t = find(transaction, &current, &branch);
	if(t == NULL)
		return; /* it has just been answered */
	/* Retransmission of the INVITE continues, so that its final response still arrives. */
	cpm_tm.cancel_all_uacs(t, F_CANCEL_B_FORCE_RETR);
	cpm_tm.unref_cell(t);
	cpm_tm.t_sett(current, branch);
}
