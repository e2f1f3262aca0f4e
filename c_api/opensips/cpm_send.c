/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "forward.h"
#include "globals.h"
#include "net/net_tcp.h"
#include "net/trans.h"
#include "parser/parse_cseq.h"
#include "parser/parse_uri.h"
#include "route.h"
#include "timer.h"

#include "cpm_request.h"
#include "cpm_send.h"
#include "cpm_host.h"
#include "cpm_outgoing.h"
#include "cpm_size.h"
#include "cpm_transaction.h"
#include "cpm_uri.h"

/* Whether so little is free that it matters how much exactly, and in which pieces. */
static int is_scarce(size_t free, size_t total)
{
	return free < total / 100 * cpm_core_api->limits.scarce_memory_percent;
}

size_t cpm_send_free_memory(size_t *total)
{
	size_t free;

	*total = shm_get_size(0);
	free = shm_get_free(0);
	/* While a process cuts its piece off the large rest, all of the rest counts as taken. */
	if(is_scarce(free, *total)) {
		shm_lock();
		free = shm_get_free(0);
		shm_unlock();
	}
	return free;
}

/* Whether there is memory for a request in one piece. The rest may be in many small ones, since
 * OpenSIPS joins them only when there is nothing else. */
static int has_piece(const struct cpm_outgoing *o)
{
	static utime_t none_until = 0;
	size_t free, total;
	void *piece;

	free = cpm_send_free_memory(&total);
	if(!is_scarce(free, total))
		return 1;
	if(get_uticks() < none_until)
		return 0;
	piece = shm_malloc(cpm_size_at_most(o) + CPM_TRANSACTION_BYTES);
	if(piece == NULL) {
		none_until = get_uticks() + (utime_t)cpm_core_api->limits.memory_retry_ms * 1000;
		return 0;
	}
	shm_free(piece);
	return 1;
}

/* For a name, tm would query a name server. */
int cpm_send_place(const str *uri, const struct socket_info *socket, struct cpm_place *place)
{
	struct sip_uri parsed;
	struct ip_addr *ip;

	if(parse_uri(uri->s, uri->len, &parsed) < 0 || (parsed.type != SIP_URI_T && parsed.type != SIPS_URI_T))
		return -1;
	ip = str2ip(&parsed.host);
	if(ip == NULL)
		ip = str2ip6(&parsed.host);
	if(ip == NULL)
		return -1;
	place->ip = *ip;
	place->proto = parsed.type == SIPS_URI_T ? PROTO_TLS : parsed.proto == PROTO_NONE ? PROTO_UDP : parsed.proto;
	if(place->proto >= PROTO_LAST || protos[place->proto].id == PROTO_NONE)
		return -1;
	init_su(&place->address, &place->ip,
			parsed.port_no > 0 ? parsed.port_no : place->proto == PROTO_TLS ? SIPS_PORT : SIP_PORT);
	place->socket = socket != NULL && socket->proto == place->proto
							? socket
							: get_send_socket(NULL, &place->address, place->proto);
	return place->socket != NULL ? 0 : -1;
}

/* Whether a connection has no room for one more request that can wait. If more than async_chunks
 * are queued, OpenSIPS drops the connection, with all of it. */
static int is_connection_full(struct cpm_place *place)
{
	struct tcp_connection *connection = NULL;
	int is_full;

	if(tcp_conn_get(0, &place->ip, su_getport(&place->address), place->proto, NULL, &connection,
#ifdef CPM_HAS_CONNECTION_FD
			   NULL,
#endif
			   place->socket)
			!= 1)
		return 0;
	is_full = connection->async != NULL
			  && (size_t)connection->async->pending * 100
						 >= protos[place->proto].net.stream.async_chunks * cpm_core_api->limits.queue_percent;
	tcp_conn_release(connection, 0);
	return is_full;
}

enum cpm_way cpm_send_way(const struct cpm_outgoing *o, struct cpm_str hop)
{
	str uri = cpm_to_str(hop);
	struct cpm_place place;

	if(hop.s == NULL)
		return cpm_size_exceeds_datagram(o, NULL) ? CPM_WAY_TOO_LONG : CPM_WAY_CLEAR;
	if(cpm_send_place(&uri, (const struct socket_info *)(uintptr_t)o->socket, &place) < 0)
		return CPM_WAY_NONE;
	if(!has_piece(o))
		return CPM_WAY_FULL;
	if(place.proto == PROTO_UDP)
		return cpm_size_exceeds_datagram(o, place.socket) ? CPM_WAY_TOO_LONG : CPM_WAY_CLEAR;
	return is_connection_full(&place) ? CPM_WAY_FULL : CPM_WAY_CLEAR;
}

static void release_token(void *kept)
{
	shm_free(kept);
}

/* All responses to an outgoing request but 100. Runs in the worker that received the response, or
 * in a timer process. */
static void answered(struct cell *t, int type, struct tmcb_params *params)
{
	int has_response = params->rpl != NULL && params->rpl != FAKED_REPLY;
	struct retr_buf *sent = &cpm_branch_of(t)->request;
	struct cpm_outcome outcome;
	char place[CPM_URI_PLACE_BYTES];

	(void)type;
	memset(&outcome, 0, sizeof(outcome));
	if(has_response) {
		outcome.response.s = params->rpl->buf;
		outcome.response.len = params->rpl->len;
		outcome.reason = cpm_of_str(&params->rpl->first_line.u.reply.reason);
	}
	if(is_invite(t) && params->code < 300) {
		/* Before tm makes a CANCEL from it. */
		cpm_transaction_mend(t);
		if(has_response)
			cpm_core_api->responded(cpm_service, outcome.response);
		return;
	}
	if(params->code < 200 || sent->buffer.s == NULL)
		return;
	outcome.code = params->code;
	outcome.is_cancelled = was_cancelled(t) != 0;
	outcome.token = cpm_outgoing_token_of(*params->param);
	outcome.request = cpm_of_str(&sent->buffer);
	if(params->code >= 300)
		outcome.place = cpm_uri_place(place, &sent->dst.to, sent->dst.proto);
	cpm_core_api->ended(cpm_service, &outcome);
}

/* Called with the transaction that tm has created for a request, before it is sent. */
static void created(struct cell *t, void *number)
{
	*(uint64_t *)number = cpm_number_of(t->hash_index, t->label);
}

enum cpm_sent cpm_send(const struct cpm_outgoing *o, struct cpm_str hop, uint64_t *transaction)
{
	str method = cpm_to_str(o->method);
	str headers = cpm_to_str(o->headers);
	str body = cpm_to_str(o->body);
	int is_ack = cpm_outgoing_is(o, "ACK");
	void *token;
	dlg_t dialog;
	int result;

	if(sroutes == NULL) {
		/* tm would run its local_route. */
		LM_CRIT("this process has no script: it was started without PROC_FLAG_NEEDS_SCRIPT\n");
		return CPM_SENT_FAILED;
	}
	if(cpm_outgoing_keep_token(&o->token, &token) < 0)
		return CPM_SENT_FAILED;
	memset(&dialog, 0, sizeof(dialog));
	dialog.state = DLG_CONFIRMED;
	dialog.id.call_id = cpm_to_str(o->call_id);
	dialog.id.loc_tag = cpm_to_str(o->from_tag);
	dialog.id.rem_tag = cpm_to_str(o->to_tag);
	dialog.loc_dname = cpm_to_str(o->from.display);
	dialog.loc_uri = cpm_to_str(o->from.uri);
	dialog.rem_dname = cpm_to_str(o->to.display);
	dialog.rem_uri = cpm_to_str(o->to.uri);
	dialog.rem_target = cpm_to_str(o->request_uri);
	/* The route set is among the header lines: given separately, tm would look up its names. */
	dialog.obp = cpm_to_str(hop);
	/* tm increments it, except for an ACK. */
	dialog.loc_seq.value = is_ack ? o->cseq : o->cseq - 1;
	dialog.loc_seq.is_set = 1;
	dialog.mf_enforced = 1;
	dialog.mf_value = (unsigned short)o->max_forwards;
	dialog.send_sock = (const struct socket_info *)(uintptr_t)o->socket;
	/* For an INVITE each response, and no ACK for a 2xx, which waits for the originator's. */
	dialog.T_flags = T_NO_DNS_FAILOVER_FLAG;
	if(cpm_outgoing_is(o, "INVITE"))
		dialog.T_flags |= T_NO_AUTOACK_FLAG | T_PASS_PROVISIONAL_FLAG;
	*transaction = 0;
	dialog.t_created_cb = created;
	dialog.t_created_cb_param = transaction;
	result = CPM_WITHOUT_SIGNATURE(cpm_tm.t_request_within(&method, &headers, body.len > 0 ? &body : NULL, &dialog,
			is_ack ? NULL : answered, token, cpm_outgoing_is_in_memory(token) ? release_token : NULL));
	if(result > 0)
		return CPM_SENT;
	if(cpm_outgoing_is_in_memory(token)) /* no transaction has come about that would release it */
		shm_free(token);
	*transaction = 0;
	return CPM_SENT_FAILED;
}

/* Whether tm still has the transaction of a response: the branch of its Via, as tm writes it
 * (branch_builder), identifies it. */
static int is_known(struct sip_msg *msg, int *is_over)
{
	const struct via_param *branch = msg->via1 != NULL ? msg->via1->branch : NULL;
	unsigned int hash_index, label;
	char *at, *dot, *end;
	struct cell *t;

	if(branch == NULL || branch->value.len <= (int)MCOOKIE_LEN)
		return 0;
	at = branch->value.s + MCOOKIE_LEN;
	end = branch->value.s + branch->value.len;
	dot = memchr(at, '.', end - at);
	if(dot == NULL || reverse_hex2int(at, dot - at, &hash_index) < 0)
		return 0;
	at = dot + 1;
	dot = memchr(at, '.', end - at);
	if(dot == NULL || reverse_hex2int(at, dot - at, &label) < 0)
		return 0;
	t = cpm_transaction_find(cpm_number_of(hash_index, label));
	if(t == NULL)
		return 0;
	*is_over = t->nr_of_outgoings > 0 && cpm_branch_of(t)->last_received >= 200;
	cpm_tm.unref_cell(t);
	return 1;
}

/* A 2xx for which tm no longer has a transaction: retransmitted, forked, or very late. This runs
 * before tm or after it, depending on the order of loadmodule. */
int cpm_send_response(struct sip_msg *msg)
{
	struct cpm_str whole = {msg->buf, msg->len};
	int is_message, is_of_session, is_found;
	int is_over = 0;
	int is_final = msg->first_line.u.reply.statuscode / 100 == 2;

	if((!cpm_has_sessions && !is_final) || parse_headers(msg, HDR_CALLID_F | HDR_CSEQ_F, 0) < 0
			|| msg->callid == NULL || msg->cseq == NULL)
		return 1;
	is_message = is_final && get_cseq(msg)->method_id == METHOD_MESSAGE;
	is_of_session =
			cpm_has_sessions && cpm_core_api->is_session_name(cpm_service, cpm_of_str(&msg->callid->body));
	if(!is_message && !is_of_session)
		return 1;
	is_found = is_known(msg, &is_over);
	/* tm keeps a transaction for a while after its end, such as a timeout. */
	if(is_found && !(is_message && is_over))
		return 1;
	if(is_message || (is_final && get_cseq(msg)->method_id == METHOD_INVITE))
		cpm_core_api->responded(cpm_service, whole);
	return is_of_session ? 0 : 1;
}
