/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>

#include "cpm_host.h"
#include "cpm_processes.h"

const struct cpm_core *cpm_core_api = NULL;
struct cpm_service *cpm_service = NULL;

static int logs(enum cpm_log_level level)
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

/* Not the proxy's shared memory, whose size the operator has chosen for other purposes: pages that
 * are never written take no memory here. Anonymous, so it is zeroed, and released with the last
 * process. */
static void *share_memory(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared != MAP_FAILED ? shared : NULL;
}

static const struct cpm_host host = {
	.abi = CPM_ABI,
	.transaction_bytes = CPM_TRANSACTION_BYTES,
	.logs = logs,
	.log = cpm_log,
	.share = share_memory,
	.free_memory = cpm_send_free_memory,
	.count = cpm_count,
	.counted = cpm_counted,
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
	.ask = cpm_route_ask,
	.wants = cpm_route_wants,
	.recipient_request = cpm_route_recipient_request,
	.event = cpm_route_event,
	.group_document = cpm_group_document,
	.has_database = cpm_db_has_module,
};

int cpm_ensure_service(void)
{
	if(cpm_service == NULL)
		cpm_service = cpm_core_api->service_new(&host);
	if(cpm_service == NULL) {
		LM_ERR("the Controlling Function could not be set up\n");
		return -1;
	}
	return 0;
}
