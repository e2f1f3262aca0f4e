/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core needs of its host: log, counters, the operator's veto, transactions.
 */
#include <stddef.h>
#include <sys/mman.h>

#include "core/counters.h"

#include "cpm_kamailio.h"

static counter_handle_t counters[CPM_COUNTERS];

/* What there is at the moment; `param` is the place in struct cpm_gauges. */
static counter_val_t gauge(counter_handle_t handle, void *param)
{
	(void)handle;
	if(cpm_sessions_gauges == NULL)
		return 0;
	return (counter_val_t)__atomic_load_n(
			(uint64_t *)((char *)cpm_sessions_gauges + (size_t)param), __ATOMIC_RELAXED);
}

#define GAUGE(member) gauge, (void *)offsetof(struct cpm_gauges, member)

static counter_def_t counter_table[] = {
	{&counters[CPM_COUNT_REQUESTS], "requests", 0, 0, 0, "requests addressed to the Controlling Function"},
	{&counters[CPM_COUNT_ACCEPTED], "accepted", 0, 0, 0, "requests that were accepted and fanned out"},
	{&counters[CPM_COUNT_REFUSED], "refused", 0, 0, 0, "requests that were refused"},
	{&counters[CPM_COUNT_RECIPIENTS], "recipients", 0, 0, 0, "outgoing requests handed to the transaction layer"},
	{&counters[CPM_COUNT_DELIVERED], "delivered", 0, 0, 0, "outgoing requests that were answered 2xx"},
	{&counters[CPM_COUNT_FAILED], "failed", 0, 0, 0, "recipients that finally failed"},
	{&counters[CPM_COUNT_INTERWORKED], "interworked", 0, 0, 0,
			"requests sent to the Interworking Selection Function"},
	{&counters[CPM_COUNT_LOOPS], "loops", 0, 0, 0, "own addresses dropped from recipient lists"},
	{&counters[CPM_COUNT_IMDN_FORWARDED], "imdn_forwarded", 0, 0, 0,
			"disposition notifications forwarded to the sender of the message"},
	{&counters[CPM_COUNT_IMDN_UNKNOWN], "imdn_unknown", 0, 0, 0,
			"disposition notifications about a message whose sender is not known"},
	{&counters[CPM_COUNT_REPEATED], "repeated", 0, 0, 0,
			"requests that came again after they had been taken, and were not fanned out again"},
	{&counters[CPM_COUNT_MERGED], "merged", 0, 0, 0,
			"requests that were taken already and came by another branch, refused with 482"},
	{&counters[CPM_COUNT_FORGOTTEN], "forgotten", 0, 0, 0,
			"requests that were forgotten before their time, for want of room (request_records)"},
	{&counters[CPM_COUNT_SHARES], "shares", 0, 0, 0, "requests refused because a share was used up"},
	{0, "sessions", 0, GAUGE(sessions), "large message sessions at the moment"},
	{0, "msrp_connections", 0, GAUGE(connections), "MSRP connections at the moment"},
	{0, "msrp_memory", 0, GAUGE(memory), "bytes of large messages in memory at the moment"},
	{0, "msrp_spool", 0, GAUGE(spool), "bytes of large messages in spool files at the moment"},
	{0, "msrp_held_back", 0, GAUGE(held_back),
			"large message sessions whose sender is held back at the moment"},
	{0, 0, 0, 0, 0, 0}
};

int cpm_counters_register(void)
{
	if(counter_register_array("cpm", counter_table) < 0) {
		LM_ERR("the counters could not be registered\n");
		return -1;
	}
	return 0;
}

static int host_logs(enum cpm_log_level level)
{
	switch(level) {
		case CPM_LOG_CRITICAL:
			return is_printable(L_CRIT);
		case CPM_LOG_ERROR:
			return is_printable(L_ERR);
		case CPM_LOG_NOTICE:
			return is_printable(L_NOTICE);
		default:
			return is_printable(L_DBG);
	}
}

static void host_log(enum cpm_log_level level, struct cpm_str text)
{
	int len = (int)text.len;

	switch(level) {
		case CPM_LOG_CRITICAL:
			LM_CRIT("%.*s\n", len, text.s);
			break;
		case CPM_LOG_ERROR:
			LM_ERR("%.*s\n", len, text.s);
			break;
		case CPM_LOG_NOTICE:
			LM_NOTICE("%.*s\n", len, text.s);
			break;
		default:
			LM_DBG("%.*s\n", len, text.s);
			break;
	}
}

/* Not Kamailio's shared memory, whose size the operator has chosen for other things: pages of it that are never written to take
 * no room. Anonymous, so that it is zeroed, and gone with the last process. */
static void *host_share(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared != MAP_FAILED ? shared : NULL;
}

void cpm_count(enum cpm_counter counter, uint32_t n)
{
	if((unsigned)counter < CPM_COUNTERS)
		counter_add(counters[counter], (int)n);
}

static int host_authorize(void *context, struct cpm_request *request)
{
	(void)request;
	return cpm_route_authorize((sip_msg_t *)context);
}

const struct cpm_host cpm_kamailio_host = {
	.abi = CPM_ABI,
	.logs = host_logs,
	.log = host_log,
	.share = host_share,
	.count = cpm_count,
	.authorize = host_authorize,
	.send = cpm_tm_send,
	.hand_over = cpm_process_hand_over,
	.begin_session = cpm_dialogs_begin_session,
	.session_invite = cpm_dialogs_invite,
	.session_cancel = cpm_dialogs_cancel,
	.session_request = cpm_dialogs_request_within,
	.session_reply = cpm_dialogs_reply,
	.session_release = cpm_dialogs_release,
	.session_event = cpm_route_session_event,
	.group_document = cpm_db_group_document,
	.has_database = cpm_db_has_module,
};
