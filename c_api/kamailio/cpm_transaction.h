/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transactions of received requests: creating them, keeping them open for another process,
 * replying.
 */
#ifndef CPM_TRANSACTION_H
#define CPM_TRANSACTION_H

#include "modules/tm/tm_load.h"

#include "cpm_kamailio.h"

/* tm's functions, once cpm_tm_load has found them. */
extern struct tm_binds cpm_tm;
int cpm_tm_load(void);

/* A transaction as one number, which is not 0, and back. */
uint64_t cpm_number_of(unsigned hash_index, unsigned label);
void cpm_ident_of(uint64_t number, unsigned *hash_index, unsigned *label);

/* Switches the proxy's Server and User-Agent off around a call of tm, since the core's own header
 * lines have them (OMA CPM Appendix D). Returns the result of the call. */
#define CPM_WITHOUT_SIGNATURE(call)                \
	({                                             \
		int was_signature = server_signature;      \
		int call_result;                           \
		server_signature = 0;                      \
		call_result = (call);                      \
		server_signature = was_signature;          \
		call_result;                               \
	})

/* These are members of struct cpm_host. */
enum cpm_opened cpm_transaction_open(void *context, uint64_t *transaction);
int cpm_transaction_keep_open(void *context, uint64_t transaction, unsigned milliseconds);
int cpm_transaction_reply(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep);
void cpm_transaction_release(uint64_t transaction);
void cpm_transaction_absorb(void *context);
uint64_t cpm_transaction_cancelled(void *context);
int cpm_transaction_acknowledged(void *context, int of_session);
void cpm_transaction_cancel(uint64_t transaction);

#endif
