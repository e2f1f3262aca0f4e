/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The struct cpm_host of every shim. Its members are documented in cpm.h; these are the functions
 * that a shim defines.
 */
#ifndef CPM_HOST_H
#define CPM_HOST_H

#include "cpm_shim.h"

/* cpm_log.c */
void cpm_log(enum cpm_log_level level, const struct cpm_log_place *place, struct cpm_str text);

/* cpm_counters.c */
void cpm_count(uint32_t counter, uint32_t n);
uint64_t cpm_counted(uint32_t counter);

/* cpm_transaction.c */
enum cpm_opened cpm_transaction_open(void *context, uint64_t *transaction);
int cpm_transaction_keep_open(void *context, uint64_t transaction, unsigned milliseconds);
int cpm_transaction_reply(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep);
void cpm_transaction_release(uint64_t transaction);
void cpm_transaction_absorb(void *context);
uint64_t cpm_transaction_cancelled(void *context);
int cpm_transaction_acknowledged(void *context, int of_session);
void cpm_transaction_cancel(uint64_t transaction);

/* cpm_send.c */
size_t cpm_send_free_memory(size_t *total);
enum cpm_way cpm_send_way(const struct cpm_outgoing *outgoing, struct cpm_str hop);
enum cpm_sent cpm_send(const struct cpm_outgoing *outgoing, struct cpm_str hop, uint64_t *transaction);

/* cpm_express.c */
int cpm_express_way(const struct cpm_outgoing *outgoing, struct cpm_str hop, struct cpm_express_way *way);
size_t cpm_express_send(const struct cpm_express_batch *batch);

/* cpm_forward.c */
int cpm_forward(void *context, const struct cpm_forwarding *forwarding, struct cpm_str hop);
uint64_t cpm_forward_suspend(void *context, const struct cpm_forwarding *forwarding, unsigned milliseconds);
int cpm_forward_resume(
		uint64_t transaction, struct cpm_str request_uri, struct cpm_str hop, const struct cpm_reply *reply);
void cpm_forward_unsuspend(uint64_t transaction);

/* cpm_route.c */
int cpm_route_ask(void *context, uint32_t event, struct cpm_request *request, struct cpm_str text);
int cpm_route_wants(uint32_t event);
enum cpm_routed cpm_route_recipient_request(
		const struct cpm_outgoing *outgoing, struct cpm_str text, struct cpm_changed *changed);
void cpm_route_event(uint32_t event, int code, struct cpm_str reason, struct cpm_str text,
		const struct cpm_about *about);

/* cpm_db.c */
int cpm_db_has_module(const char *module);

/* cpm_group_document.c, the same for every proxy. */
enum cpm_document cpm_group_document(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);

#endif
