/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event routes. An outgoing request is shown to the script as a message of its own, so that everything the
 * script can do to a request ($ru, $du, append_hf, remove_hf, drop, ...) works on it.
 */
#include <string.h>

#include "core/dset.h"
#include "core/fmsg.h"
#include "core/globals.h"
#include "core/kemi.h"
#include "core/mem/mem.h"
#include "core/msg_translator.h"
#include "core/route.h"
#include "core/receive.h"

#include "cpm_kamailio.h"

const struct cpm_event *cpm_current_event = NULL;

enum { AUTHORIZE, RECIPIENT_REQUEST, RECIPIENT_FAILED, RECIPIENT_DELIVERED, SESSION_END, ROUTES };

static struct {
	const char *name;
	int index; /* in event_rt; -1: the script has none */
} routes[ROUTES] = {
	{"cpm:authorize", -1},
	{"cpm:recipient-request", -1},
	{"cpm:recipient-failed", -1},
	{"cpm:recipient-delivered", -1},
	{"cpm:session-end", -1},
};

str cpm_event_callback = STR_NULL;

/* The engine of the KEMI script, where events go to its callback. NULL: they go to the routes. */
static sr_kemi_eng_t *callback_engine;

int cpm_routes_lookup(void)
{
	int i;

	if(cpm_event_callback.len > 0) {
		callback_engine = sr_kemi_eng_get();
		if(callback_engine == NULL) {
			LM_ERR("parameter event_callback: \"%.*s\" needs a script in a language of its own (cfgengine)\n",
					cpm_event_callback.len, cpm_event_callback.s);
			return -1;
		}
	}

	for(i = 0; i < ROUTES; i++) {
		routes[i].index = route_lookup(&event_rt, (char *)routes[i].name);
		if(routes[i].index >= 0 && event_rt.rlist[routes[i].index] == NULL)
			routes[i].index = -1; /* an empty route */
	}
	return 0;
}

static int is_wanted(int route)
{
	return callback_engine != NULL || routes[route].index >= 0;
}

/* 1: the route ran to its end, 0: it said drop. */
static int run(int route, sip_msg_t *msg, const struct cpm_event *event)
{
	const struct cpm_event *outer = cpm_current_event;
	int route_type = get_route_type();
	struct run_act_ctx context;
	str name;

	cpm_current_event = event;
	set_route_type(EVENT_ROUTE);
	init_run_actions_ctx(&context);
	if(callback_engine != NULL) {
		name.s = (char *)routes[route].name;
		name.len = (int)strlen(name.s);
		if(sr_kemi_ctx_route(callback_engine, &context, msg, EVENT_ROUTE, &cpm_event_callback, &name) < 0)
			LM_ERR("%.*s failed for %s, callid=%.*s\n", cpm_event_callback.len, cpm_event_callback.s, name.s,
					CPM_CALL_ID(msg));
	} else {
		run_top_route(event_rt.rlist[routes[route].index], msg, &context);
	}
	set_route_type(route_type);
	cpm_current_event = outer;
	return !(context.run_flags & DROP_R_F);
}

int cpm_route_authorize(sip_msg_t *msg)
{
	struct cpm_event event;

	if(!is_wanted(AUTHORIZE))
		return 1;
	memset(&event, 0, sizeof(event));
	event.request = cpm_current_request(msg);
	return run(AUTHORIZE, msg, &event);
}

/* The text of an outgoing request as a script sees it: what the proxy adds only when it sends (Via) is not there
 * yet. The header lines of the core begin behind CSeq. In pkg memory, NULL when there is none. */
char *cpm_route_text(const struct cpm_outgoing *o, int *len)
{
	static const char layout[] = " SIP/2.0\r\nTo: \r\nFrom: ;tag=\r\nCall-ID: \r\nCSeq: 4294967295 \r\n"
								 "Content-Length: 4294967295\r\n\r\n";
	size_t room = sizeof(layout) + 1 + 2 * o->method.len + o->request_uri.len + o->to.len + o->from.len
				  + o->from_tag.len + o->call_id.len + o->headers.len + o->body.len;
	char *text = pkg_malloc(room);
	int n;

	if(text == NULL) {
		PKG_MEM_ERROR;
		return NULL;
	}
	n = snprintf(text, room,
			"%.*s %.*s SIP/2.0\r\nTo: %.*s\r\nFrom: %.*s;tag=%.*s\r\nCall-ID: %.*s\r\nCSeq: %u %.*s\r\n",
			(int)o->method.len, o->method.s, (int)o->request_uri.len, o->request_uri.s, (int)o->to.len, o->to.s,
			(int)o->from.len, o->from.s, (int)o->from_tag.len, o->from_tag.s, (int)o->call_id.len, o->call_id.s,
			(unsigned)o->cseq, (int)o->method.len, o->method.s);
	memcpy(text + n, o->headers.s, o->headers.len);
	n += (int)o->headers.len;
	n += snprintf(text + n, room - n, "Content-Length: %u\r\n\r\n", (unsigned)o->body.len);
	memcpy(text + n, o->body.s, o->body.len);
	n += (int)o->body.len;
	text[n] = '\0';
	*len = n;
	return text;
}

/* A message over `text` for an event route. 0, or -1. To be released with free_sip_msg. */
static int parse(sip_msg_t *msg, char *text, int len)
{
	struct socket_info *own = udp_listen != NULL ? udp_listen : tcp_listen;

	if(build_sip_msg_from_buf(msg, text, len, inc_msg_no()) < 0)
		return -1;
	/* It came from ourselves. */
	msg->rcv.proto = PROTO_UDP;
	if(own != NULL) {
		msg->rcv.bind_address = own;
		msg->rcv.src_ip = own->address;
		msg->rcv.src_port = own->port_no;
		msg->rcv.dst_ip = own->address;
		msg->rcv.dst_port = own->port_no;
	}
	return 0;
}

/* Takes header lines and body out of a request text that began as cpm_route_text() makes it. */
static int take_apart(char *text, int len, struct cpm_outgoing *o)
{
	static const char length_name[] = "Content-Length:";
	char *end = text + len;
	char *line = text;
	char *write;
	int i;

	for(i = 0; i < 5; i++) { /* start line, To, From, Call-ID, CSeq */
		line = memchr(line, '\n', end - line);
		if(line == NULL)
			return -1;
		line++;
	}
	o->headers.s = write = line;
	while(line < end && *line != '\r') {
		char *next = memchr(line, '\n', end - line);

		if(next == NULL)
			return -1;
		next++;
		/* tm writes its own. */
		if((size_t)(next - line) < sizeof(length_name) || strncasecmp(line, length_name, sizeof(length_name) - 1) != 0) {
			memmove(write, line, next - line);
			write += next - line;
		}
		line = next;
	}
	if(end - line < 2)
		return -1;
	o->headers.len = write - o->headers.s;
	o->body.s = line + 2;
	o->body.len = end - (line + 2);
	return 0;
}

/* The request's text with all changes applied, in pkg memory; NULL: error. */
static char *build_request(sip_msg_t *msg, unsigned int *len, struct dest_info *destination, unsigned int mode)
{
#ifdef CPM_HAS_BUILD_STATE
	return build_req_buf_from_sip_req(msg, len, destination, mode, NULL);
#else
	return build_req_buf_from_sip_req(msg, len, destination, mode);
#endif
}

int cpm_route_recipient_request(const struct cpm_outgoing *outgoing, struct cpm_routed *routed)
{
	struct cpm_event event;
	struct dest_info destination;
	sip_msg_t msg;
	char *text, *rebuilt;
	unsigned int rebuilt_len;
	int len;
	int result = -1;

	memset(routed, 0, sizeof(*routed));
	routed->outgoing = *outgoing;
	if(!is_wanted(RECIPIENT_REQUEST))
		return 1;

	text = cpm_route_text(outgoing, &len);
	if(text == NULL)
		return -1;
	if(parse(&msg, text, len) < 0) {
		pkg_free(text);
		return -1;
	}
	memset(&event, 0, sizeof(event));
	event.outgoing = outgoing;
	event.recipient = cpm_to_str(outgoing->request_uri);
	if(run(RECIPIENT_REQUEST, &msg, &event) == 0) {
		result = 0;
		goto done;
	}

	/* One block of memory holds all that the route can have changed. */
	memset(&destination, 0, sizeof(destination));
	destination.proto = PROTO_UDP;
	destination.send_sock = msg.rcv.bind_address;
	rebuilt = build_request(&msg, &rebuilt_len, &destination, BUILD_NO_LOCAL_VIA | BUILD_NO_VIA1_UPDATE);
	if(rebuilt == NULL)
		goto done;
	routed->text = pkg_malloc(rebuilt_len + msg.new_uri.len + msg.dst_uri.len + 1);
	if(routed->text == NULL) {
		PKG_MEM_ERROR;
		pkg_free(rebuilt);
		goto done;
	}
	memcpy(routed->text, rebuilt, rebuilt_len);
	pkg_free(rebuilt);
	if(take_apart(routed->text, rebuilt_len, &routed->outgoing) < 0)
		goto done;
	if(msg.new_uri.s != NULL && msg.new_uri.len > 0) {
		routed->outgoing.request_uri.s = memcpy(routed->text + rebuilt_len, msg.new_uri.s, msg.new_uri.len);
		routed->outgoing.request_uri.len = msg.new_uri.len;
	}
	if(msg.dst_uri.s != NULL && msg.dst_uri.len > 0) {
		routed->outgoing.next_hop.s =
				memcpy(routed->text + rebuilt_len + msg.new_uri.len, msg.dst_uri.s, msg.dst_uri.len);
		routed->outgoing.next_hop.len = msg.dst_uri.len;
	}
	routed->socket = msg.force_send_socket;
	result = 1;
done:
	if(result != 1 && routed->text != NULL) {
		pkg_free(routed->text);
		routed->text = NULL;
	}
	free_sip_msg(&msg);
	pkg_free(text);
	return result;
}

/* `about`: what is known of the received request, or NULL. */
static void run_outcome(
		int route, int code, const str *reason, char *text, int len, const struct cpm_outgoing *about)
{
	struct cpm_event event;
	sip_msg_t msg;

	if(parse(&msg, text, len) < 0)
		return;
	memset(&event, 0, sizeof(event));
	event.outgoing = about;
	event.code = code;
	event.reason = *reason;
	event.recipient = msg.first_line.u.request.uri;
	run(route, &msg, &event);
	free_sip_msg(&msg);
}

void cpm_route_recipient_outcome(enum cpm_fate fate, int code, const str *reason, const str *request)
{
	int route;
	char *copy;

	if(fate == CPM_FATE_FAILED)
		route = RECIPIENT_FAILED;
	else if(fate == CPM_FATE_DELIVERED)
		route = RECIPIENT_DELIVERED;
	else
		return;
	if(!is_wanted(route))
		return;
	/* The parser keeps pointers into the text, which is the transaction's. */
	copy = pkg_malloc(request->len + 1);
	if(copy == NULL) {
		PKG_MEM_ERROR;
		return;
	}
	memcpy(copy, request->s, request->len);
	copy[request->len] = '\0';
	run_outcome(route, code, reason, copy, request->len, NULL);
	pkg_free(copy);
}

/* Runs a route over a request that is not sent. */
static void run_about(int route, int code, const str *reason, const struct cpm_outgoing *outgoing)
{
	char *text;
	int len;

	if(!is_wanted(route))
		return;
	text = cpm_route_text(outgoing, &len);
	if(text == NULL)
		return;
	run_outcome(route, code, reason, text, len, outgoing);
	pkg_free(text);
}

void cpm_route_recipient_unsent(int code, const str *reason, const struct cpm_outgoing *outgoing)
{
	run_about(RECIPIENT_FAILED, code, reason, outgoing);
}

void cpm_route_session_event(
		void *context, enum cpm_session_event event, int code, const struct cpm_outgoing *about)
{
	static const int routes_of[] = {
		[CPM_SESSION_RECIPIENT_DELIVERED] = RECIPIENT_DELIVERED,
		[CPM_SESSION_RECIPIENT_FAILED] = RECIPIENT_FAILED,
		[CPM_SESSION_END] = SESSION_END,
	};
	str reason = STR_NULL;

	(void)context;
	run_about(routes_of[event], code, &reason, about);
}
