/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>

#include "cpm_counters.h"
#include "cpm_db.h"
#include "cpm_express.h"
#include "cpm_forward.h"
#include "cpm_host.h"
#include "cpm_processes.h"
#include "cpm_route.h"
#include "cpm_send.h"
#include "cpm_transaction.h"

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

/* Not Kamailio's shared memory, whose size the operator has chosen for other purposes: pages that
 * are never written take no memory here. Anonymous, so it is zeroed, and released with the last
 * process. */
static void *host_share(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared != MAP_FAILED ? shared : NULL;
}

const struct cpm_host cpm_kamailio_host = {
	.abi = CPM_ABI,
	.transaction_bytes = CPM_TRANSACTION_BYTES,
	.logs = host_logs,
	.log = host_log,
	.share = host_share,
	.free_memory = cpm_send_free_memory,
	.count = cpm_count,
	.post = cpm_process_post,
	.open = cpm_transaction_open,
	.keep_open = cpm_transaction_keep_open,
	.reply = cpm_transaction_reply,
	.release = cpm_transaction_release,
	.absorb = cpm_transaction_absorb,
	.cancelled = cpm_transaction_cancelled,
	.acknowledged = cpm_transaction_acknowledged,
	.way = cpm_send_way,
	.send = cpm_send,
	.express_way = cpm_express_way,
	.express_send = cpm_express_send,
	.cancel = cpm_transaction_cancel,
	.forward = cpm_forward,
	.suspend = cpm_forward_suspend,
	.resume = cpm_forward_resume,
	.unsuspend = cpm_forward_unsuspend,
	.authorize = cpm_route_authorize,
	.wants = cpm_route_wants,
	.recipient_request = cpm_route_recipient_request,
	.event = cpm_route_event,
	.group_document = cpm_db_group_document,
	.has_database = cpm_db_has_module,
};
