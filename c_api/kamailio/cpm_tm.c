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

/* What belongs to the transaction of a request outside of a dialog, in shared memory as long as that lives. */
struct about {
	uint64_t attempt;
	uint32_t name; /* that it was sent by; 0: none */
	unsigned tried; /* how many places of it have been tried before */
};

/* Places of one name that are tried after the first. */
#define MAX_TRIED 7

static const struct about *about_of(const struct tmcb_params *params)
{
	static const struct about nothing;

	return *params->param != NULL ? *params->param : &nothing;
}

int cpm_tm_is_gone(int type, struct tmcb_params *params)
{
	if(!(type & TMCB_DESTROY))
		return 0;
	if(*params->param != NULL)
		shm_free(*params->param);
	return 1;
}

int cpm_tm_another_place(struct cell *t, const struct tmcb_params *params, enum cpm_sending sending)
{
	const struct about *about = about_of(params);
	struct dest_info *sent_to = &t->uac[0].request.dst;
	int is_unanswered = params->code == 408 && (params->rpl == NULL || params->rpl == FAKED_REPLY);
	struct cpm_outgoing again;
	struct cpm_places places;
	char uri[CPM_PLACE_BYTES];
	struct ip_addr ip;
	struct cpm_str tried_place, request;
	unsigned hash_index, label;

	/* What has been cancelled is not begun again. */
	if(about->name == 0 || about->tried == MAX_TRIED || (t->flags & T_CANCELED) || !(is_unanswered || params->code == 503))
		return 0;
	su2ip_addr(&ip, &sent_to->to);
	tried_place.s = uri;
	tried_place.len = snprintf(uri, sizeof(uri), ip.af == AF_INET6 ? "sip:[%s]:%u;transport=%s" : "sip:%s:%u;transport=%s",
			ip_addr2a(&ip), su_getport(&sent_to->to),
			sent_to->proto == PROTO_UDP ? "udp" : sent_to->proto == PROTO_TCP ? "tcp" : "tls");
	request.s = t->uac[0].request.buffer;
	request.len = t->uac[0].request.buffer_len;
	if(cpm_core_api->another_place(cpm_service, about->name, tried_place, request, &again, &places) != 1)
		return 0;
	again.attempt = about->attempt;
	if(cpm_tm_transmit(&again, sending, NULL, &places, about->tried + 1, &hash_index, &label) != CPM_SENT)
		return 0;
	if(sending == CPM_SENDING_INVITE)
		cpm_dialogs_invited(&again, hash_index, label);
	return 1;
}

/* The end of an outgoing request. Runs in the worker that got the reply or in a timer process. */
static void completed(struct cell *t, int type, struct tmcb_params *params)
{
	struct cpm_outcome outcome;
	enum cpm_fate fate;
	str reason = STR_NULL;
	str request;

	if(cpm_tm_is_gone(type, params))
		return;
	request.s = t->uac[0].request.buffer;
	request.len = t->uac[0].request.buffer_len;
	if(request.s == NULL || cpm_tm_another_place(t, params, CPM_SENDING_MESSAGE))
		return;
	outcome.code = params->code;
	outcome.attempt = about_of(params)->attempt;
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

/* Requests of one stretch that may wait for names, before the rest is handed over whole. */
#define MAX_WAITING_PER_STRETCH 32

static struct {
	struct timespec begin;
	unsigned budget_ms;
	unsigned waiting;
	int give_up;
} stretch;

void cpm_tm_begin(unsigned budget_ms)
{
	clock_gettime(CLOCK_MONOTONIC, &stretch.begin);
	stretch.budget_ms = budget_ms;
	stretch.waiting = 0;
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

/* `hop` over TCP, in `room`: what is too large for a datagram goes there so (RFC 3261 18.1.1). A hop that names its transport
 * itself stays as it is. */
static str over_tcp(str hop, char *room, size_t room_len)
{
	static const char tcp[] = ";transport=tcp";
	struct sip_uri parsed;
	str copy;

	if((size_t)hop.len + sizeof(tcp) > room_len || parse_uri(hop.s, hop.len, &parsed) < 0 || parsed.type != SIP_URI_T
			|| parsed.transport_val.len > 0 || parsed.headers.len > 0)
		return hop;
	memcpy(room, hop.s, hop.len);
	memcpy(room + hop.len, tcp, sizeof(tcp) - 1);
	copy.s = room;
	copy.len = hop.len + (int)sizeof(tcp) - 1;
	return copy;
}

static enum cpm_sent failed(void)
{
	return cpm_tm_budget_spent() ? CPM_SENT_FAILED_ENOUGH : CPM_SENT_FAILED;
}

static enum cpm_sent unsent(struct cpm_routed *routed, enum cpm_sending sending)
{
	str reason = str_init("Not Sendable");

	/* Of recipients of a large message their session tells. */
	if(sending == CPM_SENDING_MESSAGE)
		cpm_route_recipient_unsent(503, &reason, &routed->outgoing);
	return failed();
}

/* Whether a URI leads somewhere by an IP address, as tm reads it: of anything else tm would ask a name server. */
static int has_address(const str *uri)
{
	struct sip_uri parsed;

	return parse_uri(uri->s, uri->len, &parsed) == 0 && (parsed.type == SIP_URI_T || parsed.type == SIPS_URI_T)
		   && (str2ip(&parsed.host) != NULL || str2ip6(&parsed.host) != NULL);
}

/* Where a URI with an IP address leads to. 0, or -1: it has none, or the proxy cannot send there. */
static int destination_of(str *uri, struct socket_info *socket, struct dest_info *destination)
{
	struct sip_uri parsed;

	init_dest_info(destination);
	if(parse_uri(uri->s, uri->len, &parsed) < 0)
		return -1;
	destination->proto = parsed.type == SIPS_URI_T ? PROTO_TLS : parsed.proto == PROTO_NONE ? PROTO_UDP : parsed.proto;
	if((str2ip(&parsed.host) == NULL && str2ip6(&parsed.host) == NULL)
			|| sip_hostport2su(&destination->to, &parsed.host, parsed.port_no, &destination->proto) != 0)
		return -1;
	destination->send_sock = get_send_socket2(socket, &destination->to, destination->proto, NULL);
	return destination->send_sock != NULL ? 0 : -1;
}

/* Whether the connection towards `hop` could not take `size` bytes more. Kamailio would give up the connection,
 * with all that is queued for it. */
static int is_connection_full(str *hop, size_t size)
{
	struct tcp_connection *connection;
	struct dest_info destination;
	struct ip_addr ip;
	size_t queued;

	/* Nearly every hop is a plain sip: URI, which means UDP: not worth a parser. */
	if(memchr(hop->s, ';', hop->len) == NULL && (hop->len < 5 || strncasecmp(hop->s, "sips:", 5) != 0))
		return 0;
	if(destination_of(hop, NULL, &destination) < 0
			|| (destination.proto != PROTO_TCP && destination.proto != PROTO_TLS))
		return 0;
	su2ip_addr(&ip, &destination.to);
	connection = tcpconn_get(0, &ip, su_getport(&destination.to), NULL, 0);
	if(connection == NULL)
		return 0;
	queued = connection->wbuf_q.queued;
	tcpconn_put(connection);
	return queued > 0 && queued + size > cfg_get(tcp, tcp_cfg, tcpconn_wq_max);
}

/* The next hop of a request. */
struct hop {
	str uri; /* with an IP address, or `name`d */
	uint32_t name;
	struct cpm_places places;
	char room[MAX_URI_SIZE + 32];
};

/* The first of the places to which the proxy can send (it may have no TLS, or no IPv6). `o`: what is to go there, or NULL where its
 * size does not matter. */
static enum cpm_located choose(struct hop *hop, const struct cpm_outgoing *o, struct socket_info *socket)
{
	static const char udp[] = "udp";
	struct dest_info destination;
	char *transport;
	size_t i;

	for(i = 0; i < hop->places.n; i++) {
		hop->uri.s = hop->places.uri[i];
		hop->uri.len = (int)strlen(hop->uri.s);
		hop->name = hop->places.name;
		if(destination_of(&hop->uri, socket, &destination) < 0)
			continue;
		transport = hop->uri.s + hop->uri.len - (sizeof(udp) - 1);
		if(o != NULL && memcmp(transport, udp, sizeof(udp) - 1) == 0
				&& cpm_size_exceeds_datagram(o, &hop->uri, socket))
			memcpy(transport, "tcp", sizeof(udp) - 1);
		return CPM_LOCATED;
	}
	return CPM_LOCATED_NOWHERE;
}

/* Where a request goes. Never waits for a name. */
static enum cpm_located locate(const struct cpm_outgoing *o, struct socket_info *socket, struct hop *hop)
{
	str wanted = cpm_to_str(o->next_hop.s != NULL ? o->next_hop : o->request_uri);
	enum cpm_located located;

	hop->name = 0;
	/* As far as its size is known without the way there. */
	hop->uri = cpm_size_exceeds_datagram(o, NULL, NULL) ? over_tcp(wanted, hop->room, sizeof(hop->room)) : wanted;
	located = cpm_core_api->locate(cpm_service, cpm_of_str(&hop->uri), &hop->places);
	if(located == CPM_LOCATED_ITSELF && !has_address(&wanted))
		return CPM_LOCATED_NOWHERE;
	if(located == CPM_LOCATED_ITSELF && cpm_size_exceeds_datagram(o, &wanted, socket))
		hop->uri = over_tcp(wanted, hop->room, sizeof(hop->room));
	return located == CPM_LOCATED ? choose(hop, o, socket) : located;
}

enum cpm_located cpm_tm_locate(const struct cpm_str *uri, str *place)
{
	static struct hop hop;
	enum cpm_located located = cpm_core_api->locate(cpm_service, *uri, &hop.places);

	if(located == CPM_LOCATED)
		located = choose(&hop, NULL, NULL);
	*place = located == CPM_LOCATED ? hop.uri : cpm_to_str(*uri);
	if(located == CPM_LOCATED_ITSELF && !has_address(place))
		return CPM_LOCATED_NOWHERE;
	return located;
}

int cpm_tm_choose(const struct cpm_places *places, str *place)
{
	static struct hop hop;

	hop.places = *places;
	if(choose(&hop, NULL, NULL) != CPM_LOCATED)
		return -1;
	*place = hop.uri;
	return 0;
}

/* Hands a request whose next hop is known to tm. */
static enum cpm_sent transmit(const struct cpm_outgoing *o, enum cpm_sending sending, struct socket_info *socket,
		const struct hop *hop, unsigned tried, unsigned *hash_index, unsigned *label)
{
	str method = cpm_to_str(o->method);
	str headers = cpm_to_str(o->headers);
	str body = cpm_to_str(o->body);
	struct about *about = shm_malloc(sizeof(*about));
	uac_req_t request;
	dlg_t dialog;
	int signature;
	int result;

	if(about == NULL)
		return CPM_SENT_NO_ROOM;
	about->attempt = o->attempt;
	about->name = hop->name;
	about->tried = tried;
	memset(&dialog, 0, sizeof(dialog));
	dialog.state = DLG_CONFIRMED;
	dialog.id.call_id = cpm_to_str(o->call_id);
	dialog.id.loc_tag = cpm_to_str(o->from_tag);
	dialog.loc_uri = cpm_to_str(o->from);
	dialog.rem_uri = cpm_to_str(o->to);
	dialog.rem_target = cpm_to_str(o->request_uri);
	dialog.dst_uri = hop->uri;
	dialog.loc_seq.value = o->cseq;
	dialog.loc_seq.is_set = 1;
	dialog.send_sock = socket;
	set_uac_req(&request, &method, &headers, &body, &dialog,
			(sending == CPM_SENDING_MESSAGE ? TMCB_LOCAL_COMPLETED : CPM_TM_INVITE_EVENTS) | TMCB_DESTROY,
			sending == CPM_SENDING_MESSAGE ? completed : cpm_dialogs_invite_answered, about);
	signature = cpm_tm_signature_off();
	result = cpm_tm.t_uac_with_ids(&request, hash_index, label);
	server_signature = signature;
	if(result <= 0) /* no transaction has come about that would release it */
		shm_free(about);
	if(result < 0)
		return CPM_SENT_FAILED;
	return result == 0 ? CPM_SENT_DROPPED /* by event_route[tm:local-request] */ : CPM_SENT;
}

enum cpm_sent cpm_tm_transmit(const struct cpm_outgoing *o, enum cpm_sending sending, struct socket_info *socket,
		const struct cpm_places *places, unsigned tried, unsigned *hash_index, unsigned *label)
{
	struct hop hop;

	hop.places = *places;
	if(choose(&hop, o, socket) != CPM_LOCATED)
		return CPM_SENT_FAILED;
	if(!cpm_tm_has_room(cpm_size_at_most(o)))
		return CPM_SENT_NO_ROOM;
	if(is_connection_full(&hop.uri, cpm_size_at_most(o)))
		return CPM_SENT_BUSY;
	return transmit(o, sending, socket, &hop, tried, hash_index, label);
}

/* Once the script has seen the request: sends it, or has it wait for the name of its next hop. */
static enum cpm_sent send_routed(
		struct cpm_routed *routed, enum cpm_sending sending, unsigned *hash_index, unsigned *label)
{
	enum cpm_located located;
	enum cpm_sent sent;
	struct hop hop;
	str wanted;

	if(stretch.give_up)
		return unsent(routed, sending);
	located = locate(&routed->outgoing, routed->socket, &hop);
	if(located == CPM_LOCATED_NOWHERE)
		return unsent(routed, sending);
	if(located == CPM_LOCATED_LATER) {
		wanted = hop.uri;
		sent = cpm_process_wait_for_name(&routed->outgoing, sending, routed->socket, cpm_of_str(&wanted));
		/* What was handed over is another process's burden, but this one's memory till then. */
		if(sent == CPM_SENT && ++stretch.waiting >= MAX_WAITING_PER_STRETCH)
			sent = CPM_SENT_ENOUGH;
	} else {
		sent = transmit(&routed->outgoing, sending, routed->socket, &hop, 0, hash_index, label);
	}
	if(sent == CPM_SENT_FAILED)
		return unsent(routed, sending);
	return sent == CPM_SENT && cpm_tm_budget_spent() ? CPM_SENT_ENOUGH : sent;
}

static enum cpm_sent send_request(
		const struct cpm_outgoing *outgoing, enum cpm_sending sending, unsigned *hash_index, unsigned *label)
{
	struct cpm_routed routed;
	enum cpm_located located;
	enum cpm_sent sent;
	struct hop hop;
	int result;

	/* Before the script sees it, which it does once. */
	if(!stretch.give_up) {
		if(!cpm_tm_has_room(cpm_size_at_most(outgoing)))
			return CPM_SENT_NO_ROOM;
		located = locate(outgoing, NULL, &hop);
		if(located > CPM_LOCATED_LATER && is_connection_full(&hop.uri, cpm_size_at_most(outgoing)))
			return CPM_SENT_BUSY;
		if(located == CPM_LOCATED_LATER && !cpm_process_can_wait(outgoing))
			return CPM_SENT_BUSY;
	}
	result = cpm_route_recipient_request(outgoing, &routed);
	if(result <= 0)
		return result == 0 ? CPM_SENT_DROPPED : failed();
	sent = send_routed(&routed, sending, hash_index, label);
	if(routed.text != NULL)
		pkg_free(routed.text);
	return sent;
}

enum cpm_sent cpm_tm_send(void *context, const struct cpm_outgoing *outgoing)
{
	unsigned hash_index, label;

	(void)context;
	return send_request(outgoing, CPM_SENDING_MESSAGE, &hash_index, &label);
}

enum cpm_sent cpm_tm_invite(const struct cpm_outgoing *invite, unsigned *hash_index, unsigned *label)
{
	*hash_index = *label = 0;
	return send_request(invite, CPM_SENDING_INVITE, hash_index, label);
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
