/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cpm_express.h"
#include "cpm_mi.h"

/* An answer on its way into the result of a command: each record is an object, its parts an array
 * in it. */
struct answer {
	mi_item_t *records; /* an array for several records, or NULL: the result is the one record */
	mi_item_t *record, *parts;
	mi_item_t *into; /* what fields go to */
};

static int add_record(void *to)
{
	struct answer *answer = to;

	answer->parts = NULL;
	if(answer->records != NULL)
		answer->record = add_mi_object(answer->records, NULL, 0);
	answer->into = answer->record;
	return answer->record != NULL ? 0 : -1;
}

static int add_part(void *to)
{
	struct answer *answer = to;

	if(answer->parts == NULL)
		answer->parts = add_mi_array(answer->record, MI_SSTR("legs"));
	if(answer->parts == NULL)
		return -1;
	answer->into = add_mi_object(answer->parts, NULL, 0);
	return answer->into != NULL ? 0 : -1;
}

static int add_text(void *to, const char *name, struct cpm_str value)
{
	struct answer *answer = to;

	return add_mi_string(answer->into, (char *)name, (int)strlen(name), (char *)value.s, (int)value.len);
}

static int add_number(void *to, const char *name, uint64_t value)
{
	struct answer *answer = to;

	return add_mi_number(answer->into, (char *)name, (int)strlen(name), (double)value);
}

static mi_response_t *ask(enum cpm_query query, struct cpm_str argument, int is_list)
{
	static const struct cpm_answer_visitor visitor = {add_record, add_part, add_text, add_number};
	struct answer answer = {NULL, NULL, NULL, NULL};
	mi_response_t *response =
			is_list ? init_mi_result_array(&answer.records) : init_mi_result_object(&answer.record);
	enum cpm_query_result result;
	struct cpm_fault fault;

	if(response == NULL)
		return NULL;
	result = cpm_core_api->query(cpm_service, query, argument, &visitor, &answer);
	fault = cpm_core_api->fault(query, result);
	if(fault.code == 0)
		return response;
	free_mi_response(response);
	return init_mi_error(fault.code, fault.text, (int)strlen(fault.text));
}

static mi_response_t *ask_about(const mi_params_t *params, const char *name, enum cpm_query query, int is_list)
{
	char *id;
	int len;
	struct cpm_str argument;

	if(get_mi_string_param(params, (char *)name, &id, &len) < 0)
		return init_mi_param_error();
	argument.s = id;
	argument.len = (size_t)len;
	return ask(query, argument, is_list);
}

/* A command that asks the core. */
#define QUERY(name, how)                                                                        \
	static mi_response_t *name(const mi_params_t *params, struct mi_handler *asynchronous) \
	{                                                                                           \
		(void)params;                                                                           \
		(void)asynchronous;                                                                     \
		return how;                                                                             \
	}
static const struct cpm_str none = {NULL, 0};
QUERY(groups_flush, ask(CPM_QUERY_FORGET_GROUPS, none, 0))
QUERY(sessions, ask(CPM_QUERY_SESSIONS, none, 1))
QUERY(session, ask_about(params, "id", CPM_QUERY_SESSION, 0))
QUERY(end_session, ask_about(params, "id", CPM_QUERY_END, 0))
QUERY(messages, ask(CPM_QUERY_MESSAGES, none, 1))
QUERY(some_messages, ask_about(params, "words", CPM_QUERY_MESSAGES, 1))
QUERY(message, ask_about(params, "id", CPM_QUERY_MESSAGE, 0))
QUERY(relay, ask(CPM_QUERY_RELAY, none, 0))
QUERY(retry, ask_about(params, "id", CPM_QUERY_RETRY, 0))
QUERY(expire, ask_about(params, "id", CPM_QUERY_EXPIRE, 0))
QUERY(available, ask_about(params, "uri", CPM_QUERY_AVAILABLE, 0))
QUERY(reload, ask(CPM_QUERY_RELOAD, none, 0))
QUERY(drain, ask(CPM_QUERY_DRAIN, none, 0))
QUERY(drain_word, ask_about(params, "word", CPM_QUERY_DRAIN, 0))

static mi_response_t *express(const mi_params_t *params, struct mi_handler *asynchronous)
{
	const char *closed = cpm_express_closed();
	char text[CPM_EXPRESS_TEXT_BYTES];
	int len;

	(void)params;
	(void)asynchronous;
	if(closed == NULL)
		return ask(CPM_QUERY_EXPRESS, none, 1);
	len = snprintf(text, sizeof(text), "The express lane is closed: %s", closed);
	return init_mi_error(500, text, len);
}

#define COMMAND(command, text, ...) {.name = command, .help = text, .recipes = {__VA_ARGS__, {EMPTY_MI_RECIPE}}}
const mi_export_t cpm_mi_commands[] = {
	COMMAND("cpm_config", "Lists every parameter with the value in force. Secrets are not told.",
			{cpm_mi_config, {0}}),
	COMMAND("cpm_get",
			"Lists the parameters that can change while OpenSIPS runs, or one of them by its name: value and range.",
			{cpm_mi_get_all, {0}}, {cpm_mi_get, {"name", 0}}),
	COMMAND("cpm_set", "Changes a parameter that can change while OpenSIPS runs, for all processes.",
			{cpm_mi_set, {"name", "value", 0}}),
	COMMAND("cpm_drain",
			"Accepts no new message from now on, or with off accepts them again. Says how much is under way.",
			{drain, {0}}, {drain_word, {"word", 0}}),
	COMMAND("cpm_groups_flush",
			"Forgets the cached pre-defined groups: each is read again when it is next sent to.", {groups_flush, {0}}),
	COMMAND("cpm_sessions", "The large message sessions: state, recipients, bytes received.", {sessions, {0}}),
	COMMAND("cpm_session",
			"One large message session, by its id, with each of its legs: state, outcome, bytes delivered of all.",
			{session, {"id", 0}}),
	COMMAND("cpm_end",
			"Ends a large message session, by its id: its message is given up, and everybody in it gets BYE or CANCEL.",
			{end_session, {"id", 0}}),
	COMMAND("cpm_messages",
			"The last messages, newest first, then what the store has besides: state, ids, recipients by outcome. "
			"Select them with words such as originator=URI, recipient=URI (of the store: what waits for it), "
			"state=STATE, most=NUMBER, skip=NUMBER.",
			{messages, {0}}, {some_messages, {"words", 0}}),
	COMMAND("cpm_message",
			"What became of one message, by its Message-ID, Contribution-ID, Call-ID or session: state, code and time for each "
			"recipient.",
			{message, {"id", 0}}),
	COMMAND("cpm_retry",
			"Sends a message that waits for recipients to them now, by its Message-ID, Contribution-ID or Call-ID; "
			"with the URI of a recipient, all that waits for it.",
			{retry, {"id", 0}}),
	COMMAND("cpm_expire",
			"Gives a message up for the recipients that it waits for, by its Message-ID, Contribution-ID or "
			"Call-ID; with the URI of a recipient, all that waits for it.",
			{expire, {"id", 0}}),
	COMMAND("cpm_available", "A recipient is available, by its URI: what waits for it is sent in a moment.",
			{available, {"uri", 0}}),
	COMMAND("cpm_relay", "What the MSRP relay holds: connections, content in memory and in spool files.",
			{relay, {0}}),
	COMMAND("cpm_reload",
			"Reads parameter_file and the certificate for MSRP again, for all processes. If anything cannot be used, all stays as "
			"it was.",
			{reload, {0}}),
	COMMAND("cpm_express",
			"What is outstanding in the express lane: for each message its recipients, how many of them have not ended or "
			"wait.",
			{express, {0}}),
	COMMAND("cpm_stats", "Lists the module's counters with their values, the sum of all processes.",
			{cpm_mi_stats, {0}}),
	{.name = NULL}
};
