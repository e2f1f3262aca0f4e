/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>

#include "core/counters.h"

#include "cpm_counters.h"

static counter_handle_t counters[CPM_COUNTERS];

/* What there is at the moment; `param` is the place in struct cpm_gauges. */
static counter_val_t gauge(counter_handle_t handle, void *param)
{
	struct cpm_gauges now;

	(void)handle;
	cpm_core_api->gauges(cpm_service, &now);
	return (counter_val_t) * (const uint64_t *)((const char *)&now + (size_t)param);
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

void cpm_count(enum cpm_counter counter, uint32_t n)
{
	if((unsigned)counter < CPM_COUNTERS)
		counter_add(counters[counter], (int)n);
}
