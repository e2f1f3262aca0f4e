/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the Kamailio shim share. The shim holds what is native to Kamailio: tables,
 * variables, event routes, transactions. Every decision is the core's (c_api/cpm.h).
 */
#ifndef CPM_KAMAILIO_H
#define CPM_KAMAILIO_H

#include <string.h>

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/str.h"
#include "core/pvar.h"
#include "core/rpc.h"
#include "core/parser/msg_parser.h"

#include "../cpm.h"

/* The core's table, and this process's copy of the configured service (made before the fork). */
extern const struct cpm_core *cpm_core_api;
extern struct cpm_service *cpm_service;
/* Makes the service, unless it is there: the first parameter comes before mod_init. 0, or -1 after one log line. */
int cpm_ensure_service(void);

/* cpm_parameters.c: Kamailio's table of module parameters. */
extern param_export_t cpm_parameters[];
/* Fills it from the core's. 0, or -1 after one log line. */
int cpm_parameters_register(void);
/* A copy in pkg memory that lives as long as the module, ended by NUL. NULL: there is no memory. */
char *cpm_chars_of(struct cpm_str text);

/* cpm_host.c */
extern const struct cpm_host cpm_kamailio_host;
int cpm_counters_register(void);
void cpm_count(enum cpm_counter counter, uint32_t n);

/* cpm_kemi.c: the functions under the names of the native script and of KEMI. */
int w_cpm_classify(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_check(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_reply(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_fanout(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_handle(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_forward_imdn(sip_msg_t *msg, char *p1, char *p2);
int cpm_kemi_register(void);

/* cpm_script.c: what these functions do, and the request that is being worked on. 1: yes, -1: no, 0: the script has
 * nothing more to do with the request and should end, which a native script then does by itself. */
int ki_cpm_classify(sip_msg_t *msg);
int ki_cpm_check(sip_msg_t *msg);
int ki_cpm_reply(sip_msg_t *msg);
int ki_cpm_fanout(sip_msg_t *msg);
int ki_cpm_handle(sip_msg_t *msg);
int ki_cpm_forward_imdn(sip_msg_t *msg);
/* The request that belongs to `msg`, or NULL. Owned by cpm_script.c, gone when the script has ended. */
struct cpm_request *cpm_current_request(const sip_msg_t *msg);
int cpm_script_init(void);

/* The same for a request that another process has begun: it is current until the next call (NULL: none). */
struct cpm_request *cpm_script_adopt(const sip_msg_t *msg, struct cpm_request *request);
/* What cpm_fanout() and cpm_reply() do, once there is a transaction. */
int cpm_script_fan_out(sip_msg_t *msg, struct cpm_request *request);
int cpm_script_reply(sip_msg_t *msg, const struct cpm_request *request);

/* cpm_route.c: event routes. */
struct cpm_event {
	const struct cpm_request *request;   /* that the route is about, or NULL */
	const struct cpm_outgoing *outgoing; /* that the route is about, or NULL */
	int code;                          /* 0: none */
	str reason;
	str recipient; /* Request-URI of the outgoing request */
};
/* The event whose route is running in this process, or NULL. */
extern const struct cpm_event *cpm_current_event;
/* Function of the KEMI script that is called with the name of each event in place of the routes. Empty: none. */
extern str cpm_event_callback;
int cpm_routes_lookup(void);
/* 1: go on, 0: vetoed by the operator's event_route[cpm:authorize]. */
int cpm_route_authorize(sip_msg_t *msg);
/* An outgoing request after the operator's event_route[cpm:recipient-request] has seen it. */
struct cpm_routed {
	struct cpm_outgoing outgoing; /* points into `text` where the route changed something */
	struct socket_info *socket;   /* NULL: automatic */
	char *text;                   /* pkg memory, to be freed by the caller; may be NULL */
};
/* The text of an outgoing request, without Via, in pkg memory; NULL: there is none. */
char *cpm_route_text(const struct cpm_outgoing *outgoing, int *len);
/* 1: go on with routed->outgoing, 0: dropped by the script, -1: out of memory. */
int cpm_route_recipient_request(const struct cpm_outgoing *outgoing, struct cpm_routed *routed);
/* Runs event_route[cpm:recipient-failed] or [cpm:recipient-delivered] over the outgoing request. */
void cpm_route_recipient_outcome(enum cpm_fate fate, int code, const str *reason, const str *request);
/* The same for a request that never was sent. */
void cpm_route_recipient_unsent(int code, const str *reason, const struct cpm_outgoing *outgoing);
/* Runs the event route of a session. */
void cpm_route_session_event(
		void *context, enum cpm_session_event event, int code, const struct cpm_outgoing *about);

/* cpm_tm.c: transactions. */
int cpm_tm_load(void);
/* 1: the request has a transaction, 0: a retransmission that tm has absorbed, or a request that no parser takes, which has
 * its reply; -1: error. */
int cpm_tm_transaction(sip_msg_t *msg);
int cpm_tm_reply(sip_msg_t *msg, const struct cpm_reply *reply);
/* Lets the transaction of the request go without a reply: for a while, tm absorbs what is repeated. */
void cpm_tm_absorb(sip_msg_t *msg);
enum cpm_sent cpm_tm_send(void *context, const struct cpm_outgoing *outgoing);
enum cpm_sending { CPM_SENDING_MESSAGE, CPM_SENDING_INVITE };
/* Sends a request that the script has seen to the first of these places that can be sent to; `tried` others have been before. */
enum cpm_sent cpm_tm_transmit(const struct cpm_outgoing *outgoing, enum cpm_sending sending, struct socket_info *socket,
		const struct cpm_places *places, unsigned tried, unsigned *hash_index, unsigned *label);
/* Where a next hop is: `*place` is its URI with an IP address, or itself where it has no name. Valid until the next call. */
enum cpm_located cpm_tm_locate(const struct cpm_str *uri, str *place);
/* The first of these places that can be sent to. 0, or -1: there is none. Valid until the next call. */
int cpm_tm_choose(const struct cpm_places *places, str *place);
/* A stretch of sending begins; after `budget_ms` cpm_tm_send says that it has been enough. */
void cpm_tm_begin(unsigned budget_ms);
int cpm_tm_budget_spent(void);
/* Whether shared memory holds a transaction of this size and still leaves some for everybody else. */
int cpm_tm_has_room(size_t size);
/* From now on cpm_tm_send sends nothing and lets every recipient fail. */
void cpm_tm_give_up(int give_up);
/* Names the transaction of `msg` and keeps it open for another process to reply. An INVITE gets 100. */
int cpm_tm_leave_open(sip_msg_t *msg, unsigned *hash_index, unsigned *label);
/* Until it is called with zeros, replies and cpm_tm_leave_open are about this transaction, which another process has
 * left open. */
void cpm_tm_adopt(unsigned hash_index, unsigned label);
/* Replies in a transaction that was left open. 0, or -1: it is gone. */
int cpm_tm_reply_to(unsigned hash_index, unsigned label, const struct cpm_reply *reply);

/* cpm_size.c: how long an outgoing request will be. */
/* Whether it is too long for a datagram, or for what the core's udp_mtu says, on its way to `hop`, which has an IP address. NULL: it
 * has no way yet, and the first line that depends on it does not count. `socket`: NULL: automatic. */
int cpm_size_exceeds_datagram(const struct cpm_outgoing *outgoing, str *hop, struct socket_info *socket);
/* No request is longer, whatever tm writes. */
size_t cpm_size_at_most(const struct cpm_outgoing *outgoing);

/* cpm_unparsed.c: replies to a request that Kamailio's parser refuses. */
void cpm_unparsed_refuse(sip_msg_t *msg);
int cpm_unparsed_init(void);

/* A pipe between processes holds so many bytes, which is some hundred pointers: what waits in it takes shared
 * memory. */
#define CPM_PIPE_BYTES 4096
/* The fan-out process takes what waits for names out of its pipe at once. */
#define CPM_FAN_OUT_PIPE_BYTES 65536

/* cpm_process.c: the process that works off long fan-outs. */
int cpm_process_init(void);
int cpm_process_child_init(int rank);
int cpm_process_hand_over(void *context, struct cpm_str job);
/* Has a request wait for the name of its next hop, in that process. CPM_SENT; CPM_SENT_NO_ROOM or CPM_SENT_BUSY: not now. */
enum cpm_sent cpm_process_wait_for_name(const struct cpm_outgoing *outgoing, enum cpm_sending sending,
		struct socket_info *socket, struct cpm_str hop);
/* Whether that may be possible. */
int cpm_process_can_wait(const struct cpm_outgoing *outgoing);

/* cpm_waiting.c */
uint64_t cpm_now_ms(void);

/* cpm_forward.c */
/* Sends a request on in its transaction, which is there already, and counts it. 1: it has gone, or waits for a name; -1: it could
 * not be sent, and has been answered. */
int cpm_forward(sip_msg_t *msg, const struct cpm_forwarding *forwarding);
/* Goes on with one that waited for a name. NULL: it has no place. */
void cpm_forward_on(
		unsigned hash_index, unsigned label, struct cpm_str request_uri, const struct cpm_places *places);

/* cpm_groups.c: the processes that look pre-defined groups up. */
#define CPM_MAX_GROUP_PROCESSES 64
extern int cpm_group_processes;
int cpm_groups_init(void);
int cpm_groups_child_init(int rank);
/* Has every group process forget what it has cached. -1: there are none. */
int cpm_groups_forget(void);
/* 0: a group process finishes the request, -1: none can take it. */
int cpm_groups_hand_over(sip_msg_t *msg, const struct cpm_request *request);

/* cpm_sessions.c: the process that has all large message sessions. */
int cpm_sessions_init(void);
int cpm_sessions_child_init(int rank);
/* Passes on what this process has seen. 0, or -1: it cannot be taken now. */
int cpm_sessions_see(enum cpm_seen_kind kind, uint64_t transaction, int code, const char *message, size_t len);
/* Asks the sessions. 1: `*answer` is in shared memory, to be freed by the caller (NULL: empty); 0: there is no such session;
 * -1: there are no sessions, or no answer came in time. */
int cpm_sessions_ask(enum cpm_question question, const str *session, str *answer);

/* What there is at the moment, as the process of the sessions has last said; in shared memory. NULL: there are none. */
extern struct cpm_gauges *cpm_sessions_gauges;

/* cpm_dialogs.c: what tm and the sessions have to do with each other. */
/* A request that belongs to a session: 1: dealt with, 0: a retransmission that tm has absorbed, -1: not ours. */
int cpm_dialogs_request(sip_msg_t *msg);
/* Every reply that the proxy receives, before tm or after it. */
int cpm_dialogs_response(sip_msg_t *msg);
int cpm_dialogs_begin_session(void *context, struct cpm_str invite);
enum cpm_sent cpm_dialogs_invite(void *context, const struct cpm_outgoing *invite, uint64_t *transaction);
void cpm_dialogs_cancel(void *context, uint64_t transaction);
int cpm_dialogs_request_within(void *context, const struct cpm_dialog_request *request);
/* Tells the process of the sessions in which transaction another process has sent an INVITE; zeros: it could not. */
void cpm_dialogs_invited(const struct cpm_outgoing *invite, unsigned hash_index, unsigned label);
/* Sends a request inside of a dialog to the first of these places that can be sent to. 1, or 0: not sent. */
int cpm_dialogs_send(const struct cpm_dialog_request *request, const struct cpm_places *places);
/* Tells the process of the sessions that this was not possible. */
void cpm_dialogs_unsent(const struct cpm_dialog_request *request);
int cpm_dialogs_reply(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep);
void cpm_dialogs_release(void *context, uint64_t transaction);
/* cpm_cfg.c: parameters that can change while the proxy runs. After service_start. */
int cpm_cfg_declare(void);

/* cpm_rpc.c */
int cpm_rpc_register(void);

/* cpm_rpc_info.c: the commands cpm.config and cpm.stats. */
extern const char *cpm_rpc_config_doc[];
void cpm_rpc_config(rpc_t *rpc, void *context);
extern const char *cpm_rpc_stats_doc[];
void cpm_rpc_stats(rpc_t *rpc, void *context);

/* cpm_db.c: cpm_host.group_document. */
#define CPM_MAX_DATABASES 8
int cpm_db_has_module(const char *module);
int cpm_db_group_document(void *context, struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);

/* cpm_var.c: $cpm(...) */
int cpm_var_parse_name(pv_spec_t *spec, str *name);
int cpm_var_get(sip_msg_t *msg, pv_param_t *param, pv_value_t *value);
int cpm_var_set(sip_msg_t *msg, pv_param_t *param, int op, pv_value_t *value);

/* What ties a log line to a request or response: its Call-ID, cut where somebody made it endless. CPM_CALL_ID is for
 * "callid=%.*s" in a format. */
#define CPM_MAX_LOGGED_CALL_ID 128
#define CPM_CALL_ID(msg) cpm_call_id(msg).len, cpm_call_id(msg).s
static inline str cpm_call_id(sip_msg_t *msg)
{
	str call_id = str_init("-");

	if(parse_headers(msg, HDR_CALLID_F, 0) == 0 && msg->callid != NULL)
		call_id = msg->callid->body;
	if(call_id.len > CPM_MAX_LOGGED_CALL_ID)
		call_id.len = CPM_MAX_LOGGED_CALL_ID;
	return call_id;
}

/* Kamailio's str over borrowed bytes of the contract, and back. Kamailio does not write through it. */
static inline str cpm_to_str(struct cpm_str text)
{
	str s;
	s.s = (char *)text.s;
	s.len = (int)text.len;
	return s;
}

static inline struct cpm_str cpm_of_str(const str *s)
{
	struct cpm_str text;
	text.s = s->s;
	text.len = s->len > 0 ? (size_t)s->len : 0;
	return text;
}

static inline struct cpm_str cpm_of_chars(const char *s)
{
	struct cpm_str text = {s, strlen(s)};
	return text;
}

#endif
