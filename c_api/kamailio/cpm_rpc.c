/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RPC commands.
 */
#include <string.h>

#include "core/mem/shm_mem.h"
#include "core/rpc.h"
#include "core/rpc_lookup.h"

#include "cpm_kamailio.h"

static const char *groups_flush_doc[] = {
	"Forgets the cached pre-defined groups: each is read again when it is next sent to.", 0};

static void groups_flush(rpc_t *rpc, void *context)
{
	if(cpm_groups_forget() < 0)
		rpc->fault(context, 400, "There are no pre-defined groups: group_source is not set");
}

/* Adds the fields of a line, "name=value" with tabs between, to a structure: numbers as numbers. */
static void add_fields(rpc_t *rpc, void *structure, char *line, char *end)
{
	char *field = line;

	while(field < end) {
		char *next = memchr(field, '\t', end - field);
		char *value;
		str text;
		int number;

		if(next == NULL)
			next = end;
		value = memchr(field, '=', next - field);
		if(value != NULL) {
			*value++ = '\0';
			text.s = value;
			text.len = (int)(next - value);
			if(text.len < 10 && str2sint(&text, &number) == 0)
				rpc->struct_add(structure, "d", field, number);
			else
				rpc->struct_add(structure, "S", field, &text);
		}
		field = next + 1;
	}
}

/* Asks the sessions, and has each line of the answer made a structure: the first one, or all; what begins with "leg=" goes
 * into an array of the structure before. */
static void ask(rpc_t *rpc, void *context, enum cpm_question question, const str *session)
{
	static const char leg[] = "leg=";
	void *structure = NULL, *legs = NULL, *into;
	char *line, *end, *next;
	str answer;
	int result = cpm_sessions_ask(question, session, &answer);

	if(result < 0)
		return rpc->fault(context, 500, "No answer: large message mode is off (msrp_listen is not set), or busy");
	if(result == 0)
		return rpc->fault(context, 404, "There is no such session");
	if(answer.s == NULL)
		return;
	end = answer.s + answer.len;
	for(line = answer.s; line < end; line = next + 1) {
		next = memchr(line, '\n', end - line);
		if(next == NULL)
			next = end;
		if((size_t)(next - line) > sizeof(leg) && memcmp(line, leg, sizeof(leg) - 1) == 0 && structure != NULL) {
			if(legs == NULL && rpc->struct_add(structure, "[", "legs", &legs) < 0)
				break;
			if(rpc->array_add(legs, "{", &into) < 0)
				break;
		} else {
			legs = NULL;
			if(rpc->add(context, "{", &structure) < 0)
				break;
			into = structure;
		}
		add_fields(rpc, into, line, next);
	}
	shm_free(answer.s);
}

static const char *sessions_doc[] = {
	"The large message sessions: state, recipients, bytes received.", 0};

static void sessions(rpc_t *rpc, void *context)
{
	ask(rpc, context, CPM_ASK_SESSIONS, NULL);
}

static const char *session_doc[] = {
	"One large message session, by its id, with each of its legs: state, outcome, bytes delivered of all.", 0};

static void one_session(rpc_t *rpc, void *context, enum cpm_question question)
{
	str id;

	if(rpc->scan(context, "S", &id) < 1)
		return rpc->fault(context, 400, "Which session? Its id, as cpm.sessions shows it");
	ask(rpc, context, question, &id);
}

static void session(rpc_t *rpc, void *context)
{
	one_session(rpc, context, CPM_ASK_SESSION);
}

static const char *end_doc[] = {
	"Ends a large message session, by its id: its message is given up, and everybody in it gets BYE or CANCEL.", 0};

static void end_session(rpc_t *rpc, void *context)
{
	one_session(rpc, context, CPM_ASK_END);
}

static const char *relay_doc[] = {
	"What the MSRP relay holds: connections, content in memory and in spool files.", 0};

static void relay(rpc_t *rpc, void *context)
{
	ask(rpc, context, CPM_ASK_RELAY, NULL);
}

static rpc_export_t commands[] = {
	{"cpm.config", cpm_rpc_config, cpm_rpc_config_doc, 0},
	{"cpm.groups_flush", groups_flush, groups_flush_doc, 0},
	{"cpm.sessions", sessions, sessions_doc, RET_ARRAY},
	{"cpm.session", session, session_doc, 0},
	{"cpm.end", end_session, end_doc, 0},
	{"cpm.relay", relay, relay_doc, 0},
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
