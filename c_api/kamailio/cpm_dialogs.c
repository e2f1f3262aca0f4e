/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tm and the large message sessions have to do with each other. Workers and tm's callbacks copy what they see and pass
 * it on (cpm_sessions.c); the process of the sessions replies, invites, acknowledges and cancels.
 */
#include <string.h>
#include <unistd.h>

#include "core/globals.h"
#include "core/parser/parse_rr.h"
#include "core/parser/parse_to.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"

#include "cpm_tm.h"

/* Names a transaction in one number, which is not 0. */
static uint64_t name_of(unsigned hash_index, unsigned label)
{
	return ((uint64_t)hash_index << 32 | label) + 1;
}

static struct cell *find(uint64_t name)
{
	struct cell *t;

	name--;
	return cpm_tm.t_lookup_ident(&t, (unsigned)(name >> 32), (unsigned)name) < 0 ? NULL : t;
}

/* A look-up makes the transaction this process's current one, which nothing else here is about. */
static void forget_current(void)
{
	cpm_tm.t_sett(T_UNDEFINED, T_BR_UNDEFINED);
}

/* The originator's side, in workers. */

int cpm_dialogs_begin_session(void *context, struct cpm_str invite)
{
	sip_msg_t *msg = context;
	unsigned hash_index, label;

	if(msg == NULL || !cpm_tm_has_room(invite.len))
		return 0;
	if(cpm_tm_leave_open(msg, &hash_index, &label) < 0)
		return 0;
	return cpm_sessions_see(CPM_SEEN_INVITE, name_of(hash_index, label), 0, invite.s, invite.len) == 0;
}

/* A CANCEL belongs to the transaction of its INVITE, hop by hop. */
static int cancelled(sip_msg_t *msg)
{
	struct cell *t = cpm_tm.t_lookup_original(msg);
	uint64_t invite;
	int result;

	if(t == NULL || t == T_UNDEFINED)
		return -1;
	if(!cpm_tm_is_left_open(t)) {
		cpm_tm.unref_cell(t);
		return -1;
	}
	invite = name_of(t->hash_index, t->label);
	cpm_tm.unref_cell(t);
	result = cpm_tm_transaction(msg);
	if(result <= 0)
		return result == 0 ? 0 : 1;
	if(cpm_tm.t_reply(msg, 200, "OK") < 0)
		LM_ERR("the reply to a CANCEL could not be sent, callid=%.*s\n", CPM_CALL_ID(msg));
	cpm_sessions_see(CPM_SEEN_CANCEL, invite, 0, NULL, 0);
	return 1;
}

/* An ACK to a refusal of ours ends the repetition of that, whatever the script does with ACKs: 0, or -1: it is none. */
static int refusal_acknowledged(sip_msg_t *msg)
{
	static cmd_function check_transaction = NULL;

	if(check_transaction == NULL)
		check_transaction = find_export("t_check_trans", 0, 0);
	return check_transaction != NULL && check_transaction(msg, NULL, NULL) == 0 ? 0 : -1;
}

int cpm_dialogs_request(sip_msg_t *msg)
{
	static const struct cpm_reply busy = {.code = 503, .reason = "Service Unavailable"};
	unsigned hash_index, label;
	int result;

	if(msg->first_line.type != SIP_REQUEST || !cpm_core_api->uses_sessions(cpm_service))
		return -1;
	if(msg->REQ_METHOD == METHOD_CANCEL)
		return cancelled(msg);
	if(parse_to_header(msg) < 0 || get_to(msg)->tag_value.len == 0
			|| !cpm_core_api->names_session(cpm_service, cpm_of_str(&get_to(msg)->tag_value)))
		return msg->REQ_METHOD == METHOD_ACK ? refusal_acknowledged(msg) : -1;
	if(msg->REQ_METHOD == METHOD_ACK) {
		/* Where tm still has the transaction, it stops repeating the 2xx. */
		cpm_tm.t_newtran(msg);
		cpm_sessions_see(CPM_SEEN_REQUEST, 0, 0, msg->buf, msg->len);
		return 1;
	}
	result = cpm_tm_transaction(msg);
	if(result <= 0)
		return result == 0 ? 0 : 1;
	if(cpm_tm_leave_open(msg, &hash_index, &label) < 0
			|| cpm_sessions_see(CPM_SEEN_REQUEST, name_of(hash_index, label), 0, msg->buf, msg->len) < 0)
		cpm_tm_reply(msg, &busy);
	return 1;
}

/* The recipients' side, in workers and timer processes. */

static void seen_response(const sip_msg_t *rpl)
{
	cpm_sessions_see(CPM_SEEN_RESPONSE, 0, 0, rpl->buf, rpl->len);
}

/* The final response to a request of ours, or that there is none. */
static void seen_end(const struct cell *t, const struct tmcb_params *params)
{
	if(params->rpl != NULL && params->rpl != FAKED_REPLY)
		seen_response(params->rpl);
	else if(t->uac[0].request.buffer != NULL)
		cpm_sessions_see(CPM_SEEN_NO_RESPONSE, 0, params->code, t->uac[0].request.buffer,
				t->uac[0].request.buffer_len);
}

/* Of an INVITE: provisional responses and each 2xx as they come in, failures when tm has acknowledged them. */
static void invite_answered(struct cell *t, int type, struct tmcb_params *params)
{
	if(type & TMCB_LOCAL_RESPONSE_IN) {
		if(params->code < 300 && params->rpl != NULL && params->rpl != FAKED_REPLY)
			seen_response(params->rpl);
	} else if(params->code >= 300) {
		seen_end(t, params);
	}
}

static void request_answered(struct cell *t, int type, struct tmcb_params *params)
{
	(void)type;
	seen_end(t, params);
}

/* A 2xx that comes when tm has no transaction for it any more: repeated, forked, or very late. This runs before tm or after
 * it, as the modules were loaded. */
int cpm_dialogs_response(sip_msg_t *msg)
{
	int branch;

	if(!cpm_core_api->uses_sessions(cpm_service) || parse_headers(msg, HDR_CALLID_F | HDR_CSEQ_F, 0) < 0
			|| msg->callid == NULL || msg->cseq == NULL
			|| !cpm_core_api->names_session(cpm_service, cpm_of_str(&msg->callid->body)))
		return 1;
	if(cpm_tm.t_check(msg, &branch) != 0)
		return 1;
	if(msg->first_line.u.reply.statuscode / 100 == 2 && get_cseq(msg)->method_id == METHOD_INVITE)
		seen_response(msg);
	return 0;
}

/* Whether the host of a URI is a name, which may take long to resolve: that must not hold up all sessions. */
static int is_name(struct cpm_str uri)
{
	struct sip_uri parsed;

	if(parse_uri((char *)uri.s, (int)uri.len, &parsed) < 0)
		return 0;
	return str2ip(&parsed.host) == NULL && str2ip6(&parsed.host) == NULL;
}

static enum cpm_sent send_invite(const struct cpm_outgoing *invite, uint64_t *transaction)
{
	unsigned hash_index = 0, label = 0;
	enum cpm_sent sent = cpm_tm_invite(invite, invite_answered, &hash_index, &label);

	*transaction = name_of(hash_index, label);
	return sent;
}

/* Between two looks for room. */
#define ROOM_RETRY_MS 20

void cpm_dialogs_send_invite(const struct cpm_outgoing *invite, int may_wait_ms)
{
	uint64_t transaction;
	enum cpm_sent sent = send_invite(invite, &transaction);

	while((sent == CPM_SENT_NO_ROOM || sent == CPM_SENT_BUSY) && (may_wait_ms -= ROOM_RETRY_MS) > 0) {
		usleep(ROOM_RETRY_MS * 1000);
		sent = send_invite(invite, &transaction);
	}
	if(sent != CPM_SENT && sent != CPM_SENT_ENOUGH)
		transaction = 0;
	cpm_sessions_see(CPM_SEEN_INVITED, transaction, 0, invite->call_id.s, invite->call_id.len);
}

/* In the process of the sessions. */

enum cpm_sent cpm_dialogs_invite(void *context, const struct cpm_outgoing *invite, uint64_t *transaction)
{
	(void)context;
	if(!is_name(invite->next_hop.s != NULL ? invite->next_hop : invite->request_uri))
		return send_invite(invite, transaction);
	*transaction = 0;
	return cpm_process_invite(invite) ? CPM_SENT : CPM_SENT_NO_ROOM;
}

void cpm_dialogs_cancel(void *context, uint64_t transaction)
{
	struct cell *t = find(transaction);

	(void)context;
	if(t == NULL)
		return; /* it has just been answered */
	/* The INVITE is repeated on, so that its final response still comes. */
	cpm_tm.cancel_all_uacs(t, F_CANCEL_B_FORCE_RETR);
	cpm_tm.unref_cell(t);
	forget_current();
}

static int is_method(const struct cpm_dialog_request *r, const char *method)
{
	return r->method.len == strlen(method) && memcmp(r->method.s, method, r->method.len) == 0;
}

/* The core's own bounds have it that no route set has more. */
#define MAX_ROUTES 32

/* Takes the first route out of a list of lines "<URI>": -1: there is none. */
static int next_route(struct cpm_str *routes, struct cpm_str *route)
{
	const char *end = routes->len > 0 ? memchr(routes->s, '\n', routes->len) : NULL;

	if(end == NULL || end - routes->s < 2)
		return -1;
	route->s = routes->s;
	route->len = (size_t)(end - routes->s);
	routes->s = end + 1;
	routes->len -= route->len + 1;
	return 0;
}

/* The URI between the brackets. */
static struct cpm_str uri_of(struct cpm_str route)
{
	return (struct cpm_str){.s = route.s + 1, .len = route.len - 2};
}

/* A route set as tm wants it, in `set`: its first element, or NULL. Nothing is parsed here: the core has done so. */
static rr_t *route_set(struct cpm_str routes, rr_t set[MAX_ROUTES])
{
	struct cpm_str route;
	int n;

	memset(set, 0, MAX_ROUTES * sizeof(set[0]));
	for(n = 0; n < MAX_ROUTES && next_route(&routes, &route) == 0; n++) {
		set[n].nameaddr.name.s = (char *)route.s;
		set[n].nameaddr.uri = cpm_to_str(uri_of(route));
		set[n].nameaddr.len = set[n].len = (int)route.len;
		if(n > 0)
			set[n - 1].next = &set[n];
	}
	return n > 0 ? set : NULL;
}

int cpm_dialogs_send(const struct cpm_dialog_request *r)
{
	int is_ack = is_method(r, "ACK"), is_invite = is_method(r, "INVITE");
	str method = cpm_to_str(r->method);
	str headers = cpm_to_str(r->headers);
	str body = cpm_to_str(r->body);
	rr_t routes[MAX_ROUTES];
	uac_req_t request;
	dlg_t dialog;
	int signature;
	int result;

	memset(&dialog, 0, sizeof(dialog));
	dialog.state = DLG_CONFIRMED;
	dialog.id.call_id = cpm_to_str(r->call_id);
	dialog.id.loc_tag = cpm_to_str(r->from_tag);
	dialog.id.rem_tag = cpm_to_str(r->to_tag);
	dialog.loc_uri = cpm_to_str(r->from);
	dialog.rem_uri = cpm_to_str(r->to);
	dialog.rem_target = cpm_to_str(r->target);
	dialog.route_set = route_set(r->routes, routes);
	/* tm counts on by itself, but for an ACK. */
	dialog.loc_seq.value = is_ack ? r->cseq : r->cseq - 1;
	dialog.loc_seq.is_set = 1;
	if(is_invite)
		set_uac_req(&request, &method, &headers, &body, &dialog, CPM_TM_INVITE_EVENTS, invite_answered, NULL);
	else
		set_uac_req(&request, &method, &headers, body.len > 0 ? &body : NULL, &dialog,
				is_ack ? 0 : TMCB_LOCAL_COMPLETED, is_ack ? NULL : request_answered, NULL);
	signature = cpm_tm_signature_off();
	result = cpm_tm.t_request_within(&request);
	server_signature = signature;
	return result > 0;
}

int cpm_dialogs_request_within(void *context, const struct cpm_dialog_request *request)
{
	struct cpm_str routes = request->routes;
	struct cpm_str first;
	int named;

	(void)context;
	named = is_name(next_route(&routes, &first) == 0 ? uri_of(first) : request->target);
	return named ? cpm_process_dialog_request(request) : cpm_dialogs_send(request);
}

int cpm_dialogs_reply(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep)
{
	struct cell *held = keep ? find(transaction) : NULL;
	int result;

	(void)context;
	if(keep && held == NULL)
		return 0;
	transaction--;
	result = cpm_tm_reply_to((unsigned)(transaction >> 32), (unsigned)transaction, reply);
	if(result < 0 && held != NULL)
		cpm_tm.unref_cell(held);
	forget_current();
	return result >= 0;
}

void cpm_dialogs_release(void *context, uint64_t transaction)
{
	struct cell *t = find(transaction);

	(void)context;
	if(t == NULL)
		return;
	/* The reference that the look-up took, and the one that was kept. */
	cpm_tm.unref_cell(t);
	cpm_tm.unref_cell(t);
	forget_current();
}
