/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions: the received request's own, the reply in it, and one for each outgoing request.
 */
#include <string.h>
#include <time.h>

#include "core/data_lump_rpl.h"
#include "core/cfg/cfg.h"
#include "core/globals.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_uri.h"
#include "core/tcp_conn.h"
#include "core/tcp_options.h"
#include "modules/tm/ut.h"

#include "cpm_tm.h"

struct tm_binds cpm_tm;

int cpm_tm_load(void)
{
	if(load_tm_api(&cpm_tm) < 0) {
		LM_ERR("cpm sends through tm: put loadmodule \"tm.so\" before loadmodule \"cpm.so\"\n");
		return -1;
	}
	return 0;
}

int cpm_tm_transaction(sip_msg_t *msg)
{
	struct cell *t = cpm_tm.t_gett();
	int result;

	if(t != NULL && t != T_UNDEFINED)
		return 1;
	if(parse_headers(msg, HDR_EOH_F, 0) < 0) {
		cpm_unparsed_refuse(msg);
		return 0;
	}
	result = cpm_tm.t_newtran(msg);
	if(result < 0)
		LM_ERR("no transaction for the request (%d), callid=%.*s\n", result, CPM_CALL_ID(msg));
	return result < 0 ? -1 : result > 0;
}

/* Server and User-Agent name the release of the Controlling Function (OMA CPM Appendix D) and stand among the
 * core's own header lines; the proxy's signature would be a second one. */
int cpm_tm_signature_off(void)
{
	int was = server_signature;

	server_signature = 0;
	return was;
}

/* The transaction that another process has left open. */
static struct {
	unsigned hash_index;
	unsigned label;
	int is_set;
} adopted;

void cpm_tm_adopt(unsigned hash_index, unsigned label)
{
	adopted.hash_index = hash_index;
	adopted.label = label;
	adopted.is_set = hash_index != 0 || label != 0;
}

/* Replies in the current transaction with a To tag of the core's own, so that a repetition which another process or a later
 * transaction answers gets the same; tm's own reply takes no tag. What the script has added to the reply goes with it. */
static int reply_with_tag(sip_msg_t *msg, const struct cpm_reply *reply)
{
	struct cpm_reply whole = *reply;
	struct lump_rpl *lump;
	unsigned hash_index, label;
	char *headers = NULL;
	size_t len = reply->headers.len;
	int result;

	if(cpm_tm.t_get_trans_ident(msg, &hash_index, &label) < 0)
		return -1;
	for(lump = msg->reply_lump; lump != NULL; lump = lump->next) {
		if(lump->flags & LUMP_RPL_HDR)
			len += lump->text.len;
	}
	if(len > reply->headers.len) {
		headers = pkg_malloc(len);
		if(headers == NULL) {
			PKG_MEM_ERROR;
			return -1;
		}
		memcpy(headers, reply->headers.s, reply->headers.len);
		len = reply->headers.len;
		for(lump = msg->reply_lump; lump != NULL; lump = lump->next) {
			if(!(lump->flags & LUMP_RPL_HDR))
				continue;
			memcpy(headers + len, lump->text.s, lump->text.len);
			len += lump->text.len;
		}
		whole.headers.s = headers;
		whole.headers.len = len;
	}
	result = cpm_tm_reply_to(hash_index, label, &whole);
	if(headers != NULL)
		pkg_free(headers);
	return result;
}

void cpm_tm_absorb(sip_msg_t *msg)
{
	if(!adopted.is_set)
		cpm_tm.t_release(msg);
}

int cpm_tm_reply(sip_msg_t *msg, const struct cpm_reply *reply)
{
	str headers = cpm_to_str(reply->headers);
	int signature;
	int result;

	if(adopted.is_set)
		return cpm_tm_reply_to(adopted.hash_index, adopted.label, reply) < 0 ? -1 : 1;
	if(reply->to_tag.len > 0) {
		result = reply_with_tag(msg, reply);
		if(result < 0)
			LM_ERR("the reply %d could not be sent, callid=%.*s\n", reply->code, CPM_CALL_ID(msg));
		return result < 0 ? -1 : 1;
	}
	if(headers.len > 0 && add_lump_rpl2(msg, headers.s, headers.len, LUMP_RPL_HDR) == NULL) {
		LM_ERR("no memory for the header fields of a reply, callid=%.*s\n", CPM_CALL_ID(msg));
		return -1;
	}
	signature = cpm_tm_signature_off();
	result = cpm_tm.t_reply(msg, reply->code, (char *)reply->reason);
	server_signature = signature;
	if(result < 0)
		LM_ERR("the reply %d could not be sent, callid=%.*s\n", reply->code, CPM_CALL_ID(msg));
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
	outcome.attempt = (uintptr_t)*params->param;
	outcome.request = cpm_of_str(&request);
	fate = cpm_core_api->outcome(cpm_service, &outcome, NULL);
	if(params->rpl != NULL && params->rpl != FAKED_REPLY)
		reason = params->rpl->first_line.u.reply.reason;
	cpm_route_recipient_outcome(fate, params->code, &reason, &request);
}

/* Shared memory that a transaction takes beside the request itself: its cell (with room for as many branches as the
 * core's max_branches, 12 unless told), timers and hash entry. */
#define TRANSACTION_BYTES (10 * 1024)

/* The share of shared memory that fan-outs leave to everybody else. */
#define RESERVED_SHARE 16

static struct {
	struct timespec begin;
	unsigned budget_ms;
	int give_up;
} stretch;

void cpm_tm_begin(unsigned budget_ms)
{
	clock_gettime(CLOCK_MONOTONIC, &stretch.begin);
	stretch.budget_ms = budget_ms;
}

void cpm_tm_give_up(int give_up)
{
	stretch.give_up = give_up;
}

int cpm_tm_budget_spent(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - stretch.begin.tv_sec) * 1000 + (now.tv_nsec - stretch.begin.tv_nsec) / 1000000
		   >= (long)stretch.budget_ms;
}

int cpm_tm_has_room(size_t size)
{
	return shm_available() > shm_mem_size / RESERVED_SHARE + TRANSACTION_BYTES + size;
}

/* Where the request goes. What is too large for a datagram goes to the same hop over TCP (RFC 3261 18.1.1): tm looks at the
 * URI of the next hop only, and `room` holds the one that says so. */
static str next_hop(const struct cpm_outgoing *o, struct socket_info *socket, char *room, size_t room_len)
{
	static const char tcp[] = ";transport=tcp";
	str hop = cpm_to_str(o->next_hop.s != NULL ? o->next_hop : o->request_uri);
	struct sip_uri parsed;
	str copy;

	if(!cpm_size_exceeds_datagram(o, hop, socket) || (size_t)hop.len + sizeof(tcp) > room_len
			|| parse_uri(hop.s, hop.len, &parsed) < 0 || parsed.type != SIP_URI_T || parsed.transport_val.len > 0
			|| parsed.headers.len > 0)
		return hop;
	memcpy(room, hop.s, hop.len);
	memcpy(room + hop.len, tcp, sizeof(tcp) - 1);
	copy.s = room;
	copy.len = hop.len + (int)sizeof(tcp) - 1;
	return copy;
}

static enum cpm_sent unsent(struct cpm_routed *routed, int events)
{
	str reason = str_init("Not Sendable");

	/* Of recipients of a large message their session tells. */
	if(!(events & TMCB_DONT_ACK))
		cpm_route_recipient_unsent(503, &reason, &routed->outgoing);
	if(routed->text != NULL)
		pkg_free(routed->text);
	return CPM_SENT_FAILED;
}

/* Whether the connection towards `hop` could not take `size` bytes more. Kamailio would give up the connection,
 * with all that is queued for it. */
static int is_connection_full(str *hop, size_t size)
{
	struct tcp_connection *connection;
	struct dest_info destination;
	struct ip_addr ip;
	struct sip_uri parsed;
	snd_flags_t flags;
	size_t queued;

	/* Nearly every hop is a plain sip: URI, which means UDP: not worth a parser. */
	if(memchr(hop->s, ';', hop->len) == NULL && (hop->len < 5 || strncasecmp(hop->s, "sips:", 5) != 0))
		return 0;
	if(parse_uri(hop->s, hop->len, &parsed) < 0
			|| (parsed.type != SIPS_URI_T && parsed.proto != PROTO_TCP && parsed.proto != PROTO_TLS))
		return 0;
	SND_FLAGS_INIT(&flags);
	if(uri2dst2(NULL, &destination, NULL, flags, hop, PROTO_NONE) == NULL)
		return 0;
	su2ip_addr(&ip, &destination.to);
	connection = tcpconn_get(0, &ip, su_getport(&destination.to), NULL, 0);
	if(connection == NULL)
		return 0;
	queued = connection->wbuf_q.queued;
	tcpconn_put(connection);
	return queued > 0 && queued + size > cfg_get(tcp, tcp_cfg, tcpconn_wq_max);
}

/* Sends a request in a transaction whose `events` `callback` gets. */
static enum cpm_sent send_request(const struct cpm_outgoing *outgoing, int events, transaction_cb callback, void *param,
		unsigned *hash_index, unsigned *label)
{
	struct cpm_routed routed;
	uac_req_t request;
	dlg_t dialog;
	str method, headers, body, hop;
	char room[MAX_URI_SIZE + 32];
	size_t size = cpm_size_at_most(outgoing);
	int signature;
	int result;

	if(!stretch.give_up) {
		if(!cpm_tm_has_room(size))
			return CPM_SENT_NO_ROOM;
		hop = next_hop(outgoing, NULL, room, sizeof(room));
		if(is_connection_full(&hop, size))
			return CPM_SENT_BUSY;
	}
	result = cpm_route_recipient_request(outgoing, &routed);
	if(result <= 0)
		return result == 0 ? CPM_SENT_DROPPED : CPM_SENT_FAILED;
	if(stretch.give_up)
		return unsent(&routed, events);

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
	dialog.dst_uri = next_hop(&routed.outgoing, routed.socket, room, sizeof(room));
	dialog.loc_seq.value = routed.outgoing.cseq;
	dialog.loc_seq.is_set = 1;
	dialog.send_sock = routed.socket;
	set_uac_req(&request, &method, &headers, &body, &dialog, events, callback, param);

	signature = cpm_tm_signature_off();
	result = cpm_tm.t_uac_with_ids(&request, hash_index, label);
	server_signature = signature;
	if(result < 0)
		return unsent(&routed, events);
	if(routed.text != NULL)
		pkg_free(routed.text);
	if(result == 0) /* dropped by event_route[tm:local-request] */
		return CPM_SENT_DROPPED;
	return cpm_tm_budget_spent() ? CPM_SENT_ENOUGH : CPM_SENT;
}

enum cpm_sent cpm_tm_send(void *context, const struct cpm_outgoing *outgoing)
{
	unsigned hash_index, label;

	(void)context;
	return send_request(outgoing, TMCB_LOCAL_COMPLETED, completed, (void *)(uintptr_t)outgoing->attempt, &hash_index,
			&label);
}

enum cpm_sent cpm_tm_invite(
		const struct cpm_outgoing *invite, transaction_cb callback, unsigned *hash_index, unsigned *label)
{
	return send_request(invite, CPM_TM_INVITE_EVENTS, callback, NULL, hash_index, label);
}

/* How long another process may take to reply, in milliseconds. Senders give up on anything but an INVITE after 32 s (RFC
 * 3261 timer F); an INVITE is answered within 160 s, and tm ends it after 180 s. */
#define REPLY_MS 30000
#define INVITE_REPLY_MS 170000

/* Marks a transaction that is left open. */
static void left_open(struct cell *t, int type, struct tmcb_params *params)
{
	(void)t;
	(void)type;
	(void)params;
}

int cpm_tm_is_left_open(const struct cell *t)
{
	volatile struct tm_callback *callback = t->tmcb_hl.first;

	while(callback != NULL && callback->callback != left_open)
		callback = callback->next;
	return callback != NULL;
}

int cpm_tm_leave_open(sip_msg_t *msg, unsigned *hash_index, unsigned *label)
{
	int is_invite = msg->REQ_METHOD == METHOD_INVITE;
	unsigned ms = is_invite ? INVITE_REPLY_MS : REPLY_MS;

	if(adopted.is_set) { /* it is open already */
		*hash_index = adopted.hash_index;
		*label = adopted.label;
		return 0;
	}
	if(cpm_tm.t_get_trans_ident(msg, hash_index, label) < 0)
		return -1;
	/* Before the 100, which permits a CANCEL: another worker may have that at once. */
	if(cpm_tm.register_tmcb(msg, NULL, TMCB_DESTROY, left_open, NULL, NULL) < 0)
		return -1;
	if(is_invite && cpm_tm.t_reply(msg, 100, "Trying") < 0)
		LM_INFO("100 could not be sent\n");
	if(cpm_tm.set_fr(msg, ms, ms) < 0)
		return -1;
	/* A branch that goes nowhere keeps the transaction when the script ends. */
	return cpm_tm.t_addblind() < 0 ? -1 : 0;
}

int cpm_tm_reply_to(unsigned hash_index, unsigned label, const struct cpm_reply *reply)
{
	struct cell *current = cpm_tm.t_gett();
	int branch = cpm_tm.t_gett_branch();
	struct cell *t;
	str reason;
	str body = cpm_to_str(reply->body);
	str headers = cpm_to_str(reply->headers);
	str to_tag = cpm_to_str(reply->to_tag);
	int signature;
	int result;

	if(cpm_tm.t_lookup_ident(&t, hash_index, label) < 0) {
		LM_INFO("the transaction of a request has ended before its reply %d\n", reply->code);
		return -1;
	}
	reason.s = (char *)reply->reason;
	reason.len = (int)strlen(reply->reason);
	signature = cpm_tm_signature_off();
	/* Gives back the reference that the look-up took. */
	result = cpm_tm.t_reply_with_body(t, reply->code, &reason, &body, &headers, &to_tag);
	server_signature = signature;
	/* The look-up has made it this process's current one. */
	cpm_tm.t_sett(current, branch);
	return result;
}
