/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/cfg/cfg.h"
#include "core/globals.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "core/tcp_conn.h"
#include "core/tcp_options.h"
#include "modules/tm/ut.h"

#include "cpm_request.h"
#include "cpm_send.h"
#include "cpm_host.h"
#include "cpm_outgoing.h"
#include "cpm_size.h"
#include "cpm_transaction.h"
#include "cpm_uri.h"

size_t cpm_send_free_memory(size_t *total)
{
	*total = shm_mem_size;
	return shm_available();
}

/* Whether a URI has an IP address, as tm reads it: for anything else tm would query a name
 * server. */
static int has_address(const struct sip_uri *uri)
{
	return (uri->type == SIP_URI_T || uri->type == SIPS_URI_T)
		   && (str2ip((str *)&uri->host) != NULL || str2ip6((str *)&uri->host) != NULL);
}

/* The destination of such a URI. 0, or -1: the proxy cannot send there. */
int cpm_send_destination(struct sip_uri *uri, struct socket_info *socket, struct dest_info *destination)
{
	if(!has_address(uri))
		return -1;
	init_dest_info(destination);
	destination->proto = uri->type == SIPS_URI_T ? PROTO_TLS : uri->proto == PROTO_NONE ? PROTO_UDP : uri->proto;
	if(sip_hostport2su(&destination->to, &uri->host, uri->port_no, &destination->proto) != 0)
		return -1;
	destination->send_sock = get_send_socket2(socket, &destination->to, destination->proto, NULL);
	return destination->send_sock != NULL ? 0 : -1;
}

/* Whether a connection has no room for `size` more bytes. Kamailio would drop the connection, with
 * everything queued for it. */
int cpm_send_is_full(union sockaddr_union *to, size_t size)
{
	struct tcp_connection *connection;
	struct ip_addr ip;
	size_t queued;

	su2ip_addr(&ip, to);
	connection = tcpconn_get(0, &ip, su_getport(to), NULL, 0);
	if(connection == NULL)
		return 0;
	queued = connection->wbuf_q.queued;
	tcpconn_put(connection);
	return queued > 0 && queued + size > cfg_get(tcp, tcp_cfg, tcpconn_wq_max);
}

enum cpm_way cpm_send_way(const struct cpm_outgoing *o, struct cpm_str hop)
{
	str uri = cpm_to_str(hop);
	struct dest_info destination;
	struct sip_uri parsed;

	if(hop.s == NULL)
		return cpm_size_exceeds_datagram(o, NULL) ? CPM_WAY_TOO_LONG : CPM_WAY_CLEAR;
	/* Nearly every hop is a plain sip: URI in which the core has found an IP address; without
	 * parameters tm cannot read it differently, so it need not be parsed. It means UDP. */
	if(uri.len > 4 && memcmp(uri.s, "sip:", 4) == 0 && memchr(uri.s, ';', uri.len) == NULL)
		return cpm_size_exceeds_datagram(o, &uri) ? CPM_WAY_TOO_LONG : CPM_WAY_CLEAR;
	if(parse_uri(uri.s, uri.len, &parsed) < 0 || !has_address(&parsed))
		return CPM_WAY_NONE;
	if(cpm_send_destination(&parsed, (struct socket_info *)(uintptr_t)o->socket, &destination) < 0)
		return CPM_WAY_NONE;
	if(destination.proto == PROTO_UDP)
		return cpm_size_exceeds_datagram(o, &uri) ? CPM_WAY_TOO_LONG : CPM_WAY_CLEAR;
	return cpm_send_is_full(&destination.to, cpm_size_at_most(o)) ? CPM_WAY_FULL : CPM_WAY_CLEAR;
}

/* The end of an outgoing request, and the responses to an INVITE before it. Runs in the worker that
 * received the response, or in a timer process. */
static void answered(struct cell *t, int type, struct tmcb_params *params)
{
	int has_response = params->rpl != NULL && params->rpl != FAKED_REPLY;
	struct dest_info *sent_to;
	struct cpm_outcome outcome;
	char place[CPM_URI_PLACE_BYTES];

	if(type & TMCB_DESTROY) {
		shm_free(*params->param);
		return;
	}
	memset(&outcome, 0, sizeof(outcome));
	if(has_response) {
		outcome.response.s = params->rpl->buf;
		outcome.response.len = params->rpl->len;
		outcome.reason = cpm_of_str(&params->rpl->first_line.u.reply.reason);
	}
	if(type & TMCB_LOCAL_RESPONSE_IN) {
		if(params->code < 300 && has_response)
			cpm_core_api->responded(cpm_service, outcome.response);
		return;
	}
	/* Each 2xx to an INVITE has been reported when it arrived. */
	if(t->uac[0].request.buffer == NULL || (is_invite(t) && params->code < 300))
		return;
	outcome.code = params->code;
	outcome.is_cancelled = (t->flags & T_CANCELED) != 0;
	outcome.token = cpm_outgoing_token_of(*params->param);
	outcome.request.s = t->uac[0].request.buffer;
	outcome.request.len = t->uac[0].request.buffer_len;
	sent_to = &t->uac[0].request.dst;
	if(params->code >= 300)
		outcome.place = cpm_uri_place(place, &sent_to->to, sent_to->proto);
	cpm_core_api->ended(cpm_service, &outcome);
}

/* The callbacks wanted of tm for a request. For an INVITE each response, and no ACK for a 2xx,
 * which waits for the originator's. */
static int wanted_of(const struct cpm_outgoing *o)
{
	if(cpm_outgoing_is(o, "ACK"))
		return 0;
	return cpm_outgoing_is(o, "INVITE") ? TMCB_LOCAL_RESPONSE_IN | TMCB_LOCAL_COMPLETED | TMCB_DONT_ACK : TMCB_LOCAL_COMPLETED;
}

enum cpm_sent cpm_send(const struct cpm_outgoing *o, struct cpm_str hop, uint64_t *transaction)
{
	str method = cpm_to_str(o->method);
	str headers = cpm_to_str(o->headers_with_max_forwards);
	str body = cpm_to_str(o->body);
	int wanted = wanted_of(o);
	void *token;
	unsigned hash_index, label;
	uac_req_t request;
	dlg_t dialog;
	int result;

	if(cpm_outgoing_keep_token(&o->token, &token) < 0)
		return CPM_SENT_FAILED;
	if(cpm_outgoing_is_in_memory(token))
		wanted |= TMCB_DESTROY;
	memset(&dialog, 0, sizeof(dialog));
	dialog.state = DLG_CONFIRMED;
	dialog.id.call_id = cpm_to_str(o->call_id);
	dialog.id.loc_tag = cpm_to_str(o->from_tag);
	dialog.id.rem_tag = cpm_to_str(o->to_tag);
	dialog.loc_uri = cpm_to_str(o->from.whole);
	dialog.rem_uri = cpm_to_str(o->to.whole);
	dialog.rem_target = cpm_to_str(o->request_uri);
	/* The route set is among the header lines: given separately, tm would look up its names. */
	dialog.dst_uri = cpm_to_str(hop);
	dialog.loc_seq.value = o->cseq;
	dialog.loc_seq.is_set = 1;
	dialog.send_sock = (struct socket_info *)(uintptr_t)o->socket;
	set_uac_req(&request, &method, &headers, body.len > 0 ? &body : NULL, &dialog, wanted,
			wanted ? answered : NULL, token);
	result = CPM_WITHOUT_SIGNATURE(cpm_tm.t_uac_with_ids(&request, &hash_index, &label));
	if(result <= 0 && cpm_outgoing_is_in_memory(token)) /* no transaction has come about that would release it */
		shm_free(token);
	*transaction = result > 0 ? cpm_number_of(hash_index, label) : 0;
	/* event_route[tm:local-request] may drop it. */
	return result < 0 ? CPM_SENT_FAILED : result == 0 ? CPM_SENT_DROPPED : CPM_SENT;
}

/* Whether tm waits for this response: it has the transaction, and no final response yet. */
static int is_awaited(int is_found, int branch)
{
	const struct cell *t = is_found ? cpm_tm.t_gett() : NULL;

	return t != NULL && t != T_UNDEFINED && (branch < 0 || branch >= t->nr_of_outgoings
			|| t->uac[branch].last_received < 200);
}

/* A 2xx for which tm no longer has a transaction: retransmitted, forked, or very late. This runs
 * before tm or after it, depending on the order of loadmodule. */
int cpm_send_response(sip_msg_t *msg)
{
	struct cpm_str whole = {msg->buf, msg->len};
	int is_message, is_of_session, is_found;
	int branch = -1;
	int is_final = msg->first_line.u.reply.statuscode / 100 == 2;

	if((!cpm_has_sessions && !is_final) || parse_headers(msg, HDR_CALLID_F | HDR_CSEQ_F, 0) < 0 || msg->callid == NULL
			|| msg->cseq == NULL)
		return 1;
	is_message = is_final && get_cseq(msg)->method_id == METHOD_MESSAGE;
	is_of_session = cpm_has_sessions && cpm_core_api->is_session_name(cpm_service, cpm_of_str(&msg->callid->body));
	if(!is_message && !is_of_session)
		return 1;
	is_found = cpm_tm.t_check(msg, &branch) != 0;
	/* tm keeps a transaction for a while after its end, such as a timeout. */
	if(is_message ? is_awaited(is_found, branch) : is_found)
		return 1;
	if(is_message || (is_final && get_cseq(msg)->method_id == METHOD_INVITE))
		cpm_core_api->responded(cpm_service, whole);
	return is_of_session ? 0 : 1;
}
