/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions: the received request's own, the reply in it, and one for each outgoing request.
 */
#include <string.h>

#include "core/data_lump_rpl.h"
#include "core/globals.h"
#include "core/mem/mem.h"
#include "modules/tm/tm_load.h"

#include "cpm_kamailio.h"

static struct tm_binds tm;

int cpm_tm_load(void)
{
	if(load_tm_api(&tm) < 0) {
		LM_ERR("cpm sends through tm: put loadmodule \"tm.so\" before loadmodule \"cpm.so\"\n");
		return -1;
	}
	return 0;
}

int cpm_tm_transaction(sip_msg_t *msg)
{
	struct cell *t = tm.t_gett();
	int result;

	if(t != NULL && t != T_UNDEFINED)
		return 1;
	result = tm.t_newtran(msg);
	if(result < 0)
		LM_ERR("no transaction for the request (%d)\n", result);
	return result < 0 ? -1 : result > 0;
}

/* Server and User-Agent name the release of the Controlling Function (OMA CPM Appendix D) and stand among the
 * core's own header lines; the proxy's signature would be a second one. */
static int signature_off(void)
{
	int was = server_signature;

	server_signature = 0;
	return was;
}

int cpm_tm_reply(sip_msg_t *msg, const struct cpm_reply *reply)
{
	str headers = cpm_to_str(reply->headers);
	int signature;
	int result;

	if(headers.len > 0 && add_lump_rpl2(msg, headers.s, headers.len, LUMP_RPL_HDR) == NULL) {
		LM_ERR("no memory for the header fields of a reply\n");
		return -1;
	}
	signature = signature_off();
	result = tm.t_reply(msg, reply->code, (char *)reply->reason);
	server_signature = signature;
	if(result < 0)
		LM_ERR("the reply %d could not be sent\n", reply->code);
	return result < 0 ? -1 : 1;
}

/* The end of an outgoing request. Runs in the worker that got the reply or in a timer process. */
static void completed(struct cell *t, int type, struct tmcb_params *params)
{
	struct cpm_outcome outcome;
	enum cpm_fate fate;
	str reason = STR_NULL;
	str request;

	(void)type;
	request.s = t->uac[0].request.buffer;
	request.len = t->uac[0].request.buffer_len;
	if(request.s == NULL)
		return;
	outcome.code = params->code;
	outcome.attempt = (uint32_t)(unsigned long)*params->param;
	outcome.request = cpm_of_str(&request);
	fate = cpm_core_api->outcome(cpm_service, &outcome, NULL);
	if(params->rpl != NULL && params->rpl != FAKED_REPLY)
		reason = params->rpl->first_line.u.reply.reason;
	cpm_route_recipient_outcome(fate, params->code, &reason, &request);
}

int cpm_tm_send(void *context, const struct cpm_outgoing *outgoing)
{
	struct cpm_routed routed;
	uac_req_t request;
	dlg_t dialog;
	str method, headers, body;
	int signature;
	int result;

	/* Without a context the request went on to the ISF from a transaction's end: its request is gone. */
	result = cpm_route_recipient_request(
			context != NULL ? cpm_current_request((sip_msg_t *)context) : NULL, outgoing, &routed);
	if(result <= 0)
		return result;

	method = cpm_to_str(routed.outgoing.method);
	headers = cpm_to_str(routed.outgoing.headers);
	body = cpm_to_str(routed.outgoing.body);
	memset(&dialog, 0, sizeof(dialog));
	dialog.state = DLG_CONFIRMED;
	dialog.id.call_id = cpm_to_str(routed.outgoing.call_id);
	dialog.id.loc_tag = cpm_to_str(routed.outgoing.from_tag);
	dialog.loc_uri = cpm_to_str(routed.outgoing.from);
	dialog.rem_uri = cpm_to_str(routed.outgoing.to);
	dialog.rem_target = cpm_to_str(routed.outgoing.request_uri);
	dialog.dst_uri = cpm_to_str(routed.outgoing.next_hop);
	dialog.loc_seq.value = routed.outgoing.cseq;
	dialog.loc_seq.is_set = 1;
	dialog.send_sock = routed.socket;
	set_uac_req(&request, &method, &headers, &body, &dialog, TMCB_LOCAL_COMPLETED, completed,
			(void *)(unsigned long)outgoing->attempt);

	signature = signature_off();
	result = tm.t_uac(&request);
	server_signature = signature;
	if(result < 0) {
		str reason = str_init("Not Sendable");
		cpm_route_recipient_unsent(503, &reason, &routed.outgoing);
	}
	if(routed.text != NULL)
		pkg_free(routed.text);
	/* 0 is a drop by event_route[tm:local-request]. */
	return result < 0 ? -1 : result > 0;
}
