/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/rpc_lookup.h"

#include "cpm_express.h"
#include "cpm_rpc.h"

/* An RPC reply being filled: each record is a structure, its parts an array in it. */
struct answer {
	rpc_t *rpc;
	void *context;
	void *record, *parts;
	void *into; /* what fields go to */
};

static int add_record(void *to)
{
	struct answer *answer = to;

	answer->parts = NULL;
	if(answer->rpc->add(answer->context, "{", &answer->record) < 0)
		return -1;
	answer->into = answer->record;
	return 0;
}

static int add_part(void *to)
{
	struct answer *answer = to;

	if(answer->parts == NULL && answer->rpc->struct_add(answer->record, "[", "legs", &answer->parts) < 0)
		return -1;
	return answer->rpc->array_add(answer->parts, "{", &answer->into) < 0 ? -1 : 0;
}

static int add_text(void *to, const char *name, struct cpm_str value)
{
	struct answer *answer = to;
	str text = cpm_to_str(value);

	return answer->rpc->struct_add(answer->into, "S", (char *)name, &text) < 0 ? -1 : 0;
}

static int add_number(void *to, const char *name, uint64_t value)
{
	struct answer *answer = to;

	return answer->rpc->struct_add(answer->into, "d", (char *)name, (int)value) < 0 ? -1 : 0;
}

static void ask(rpc_t *rpc, void *context, enum cpm_query query, const str *argument)
{
	static const struct cpm_answer_visitor visitor = {add_record, add_part, add_text, add_number};
	struct cpm_str none = {NULL, 0};
	struct answer answer = {.rpc = rpc, .context = context};
	enum cpm_query_result result;
	struct cpm_fault fault;

	result = cpm_core_api->query(
			cpm_service, query, argument != NULL ? cpm_of_str(argument) : none, &visitor, &answer);
	fault = cpm_core_api->fault(query, result);
	if(fault.code != 0)
		rpc->fault(context, fault.code, "%s", fault.text);
}

static void ask_about(rpc_t *rpc, void *context, enum cpm_query query)
{
	str id;

	if(rpc->scan(context, "S", &id) < 1)
		return rpc->fault(context, 400, "Which session? Its id, as cpm.sessions shows it");
	ask(rpc, context, query, &id);
}

/* The words behind the command, separated by spaces. */
static void ask_for(rpc_t *rpc, void *context, enum cpm_query query)
{
	char text[CPM_QUERY_BYTES];
	str words = {text, 0};
	str word;

	while(rpc->scan(context, "*S", &word) == 1) {
		if(word.len + 1 > (int)sizeof(text) - words.len) {
			rpc->fault(context, 400, "Too many words");
			return;
		}
		memcpy(text + words.len, word.s, word.len);
		words.len += word.len;
		text[words.len++] = ' ';
	}
	ask(rpc, context, query, &words);
}

static void ask_about_message(rpc_t *rpc, void *context, enum cpm_query query)
{
	str id;

	if(rpc->scan(context, "S", &id) < 1)
		return rpc->fault(context, 400, "Which message? Its Message-ID, Contribution-ID, Call-ID or session");
	ask(rpc, context, query, &id);
}

static void ask_about_recipient(rpc_t *rpc, void *context, enum cpm_query query)
{
	str uri;

	if(rpc->scan(context, "S", &uri) < 1)
		return rpc->fault(context, 400, "Which recipient? Its URI");
	ask(rpc, context, query, &uri);
}

/* A command that queries the core: its C name, how to ask, the query, and its help text. */
#define QUERY(name, how, query, text)                                 \
	static const char *name##_doc[] = {text, 0};                      \
	static void name(rpc_t *rpc, void *context)                       \
	{                                                                 \
		how(rpc, context, query);                                     \
	}
#define ASK(rpc, context, query) ask(rpc, context, query, NULL)

QUERY(groups_flush, ASK, CPM_QUERY_FORGET_GROUPS,
		"Forgets the cached pre-defined groups: each is read again when a message is next sent to it.")
QUERY(sessions, ASK, CPM_QUERY_SESSIONS, "The large message sessions: state, recipients, bytes received.")
QUERY(session, ask_about, CPM_QUERY_SESSION,
		"One large message session, by its id, with each of its legs: state, outcome, bytes delivered of all.")
QUERY(end_session, ask_about, CPM_QUERY_END,
		"Ends a large message session, by its id: its message is abandoned, and all its peers get BYE or CANCEL.")
QUERY(relay, ASK, CPM_QUERY_RELAY, "The state of the MSRP relay: connections, content in memory and in spool files.")

QUERY(reload, ASK, CPM_QUERY_RELOAD,
		"Reads parameter_file and the certificate for MSRP again, for all processes. If anything cannot be used, all stays as it "
		"was.")

QUERY(messages, ask_for, CPM_QUERY_MESSAGES,
		"The last messages, newest first, then what the store has besides: state, ids, recipients by outcome. Select them with "
		"originator=URI, recipient=URI (of the store: what waits for it), state=STATE, most=NUMBER, skip=NUMBER.")
QUERY(message, ask_about_message, CPM_QUERY_MESSAGE,
		"What became of one message, by its Message-ID, Contribution-ID, Call-ID or session: state, code and time for each "
		"recipient.")

QUERY(retry, ask_about_message, CPM_QUERY_RETRY,
		"Sends a message that waits for recipients to them now, by its Message-ID, Contribution-ID or Call-ID; with the URI of "
		"a recipient, all that waits for it.")
QUERY(expire, ask_about_message, CPM_QUERY_EXPIRE,
		"Gives a message up for the recipients that it waits for, by its Message-ID, Contribution-ID or Call-ID; with the URI "
		"of a recipient, all that waits for it.")
QUERY(available, ask_about_recipient, CPM_QUERY_AVAILABLE,
		"A recipient is available, by its URI: what waits for it is sent in a moment.")

static const char *express_doc[] = {
	"What is outstanding in the express lane: for each message its recipients, how many of them have not ended or wait.", 0};

static void express(rpc_t *rpc, void *context)
{
	if(cpm_express_closed() != NULL)
		rpc->fault(context, 500, "The express lane is closed: %s", cpm_express_closed());
	else
		ask(rpc, context, CPM_QUERY_EXPRESS, NULL);
}

static const char *drain_doc[] = {
	"Accepts no new message from now on, or with off accepts them again. Says how much is under way.", 0};

static void drain(rpc_t *rpc, void *context)
{
	str word;

	ask(rpc, context, CPM_QUERY_DRAIN, rpc->scan(context, "*S", &word) == 1 ? &word : NULL);
}

static rpc_export_t commands[] = {
	{"cpm.config", cpm_rpc_config, cpm_rpc_config_doc, 0},
	{"cpm.express", express, express_doc, RET_ARRAY},
	{"cpm.drain", drain, drain_doc, 0},
	{"cpm.groups_flush", groups_flush, groups_flush_doc, 0},
	{"cpm.sessions", sessions, sessions_doc, RET_ARRAY},
	{"cpm.session", session, session_doc, 0},
	{"cpm.end", end_session, end_session_doc, 0},
	{"cpm.messages", messages, messages_doc, RET_ARRAY},
	{"cpm.message", message, message_doc, 0},
	{"cpm.retry", retry, retry_doc, 0},
	{"cpm.expire", expire, expire_doc, 0},
	{"cpm.available", available, available_doc, 0},
	{"cpm.relay", relay, relay_doc, 0},
	{"cpm.reload", reload, reload_doc, 0},
	{"cpm.stats", cpm_rpc_stats, cpm_rpc_stats_doc, 0},
	{0, 0, 0, 0}
};

int cpm_rpc_register(void)
{
	if(rpc_register_array(commands) != 0) {
		LM_ERR("the RPC commands could not be registered\n");
		return -1;
	}
	return 0;
}
