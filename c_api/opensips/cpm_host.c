/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpm_counters.h"
#include "cpm_db.h"
#include "cpm_express.h"
#include "cpm_forward.h"
#include "cpm_host.h"
#include "cpm_host_common.h"
#include "cpm_processes.h"
#include "cpm_route.h"
#include "cpm_send.h"
#include "cpm_transaction.h"

const struct cpm_host cpm_opensips_host = {
	.abi = CPM_ABI,
	.transaction_bytes = CPM_TRANSACTION_BYTES,
	.logs = cpm_host_logs,
	.log = cpm_host_log,
	.share = cpm_host_share,
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
