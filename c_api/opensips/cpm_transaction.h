/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transactions of received requests: creating them, keeping them open for another process,
 * replying.
 */
#ifndef CPM_TRANSACTION_H
#define CPM_TRANSACTION_H

#include "modules/tm/tm_load.h"

#include "cpm_shim.h"

/* tm's functions, once cpm_tm_load has found them. */
extern struct tm_binds cpm_tm;
int cpm_tm_load(void);

/* A transaction as one number, which is not 0. */
uint64_t cpm_number_of(unsigned hash_index, unsigned label);

/* The transaction with this number. NULL: it no longer exists. The caller must release the
 * reference. */
struct cell *cpm_transaction_find(uint64_t number);

/* Answers a transaction with 408 if it has no final response yet. */
void cpm_transaction_time_out(uint64_t number);

/* The only branch of an outgoing request. */
static inline struct ua_client *cpm_branch_of(struct cell *t)
{
#ifdef TM_BRANCH
	return &TM_BRANCH(t, 0);
#else
	return &t->uac[0];
#endif
}

/* Corrects the length of an outgoing request's To: if it has a display name, tm counts one byte too
 * few, and would begin a line of the CANCEL in the middle of a line end. */
void cpm_transaction_mend(struct cell *t);

#endif
