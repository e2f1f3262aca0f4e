/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transactions of received requests: made, kept open for another process, replied in.
 */
#ifndef CPM_TRANSACTION_H
#define CPM_TRANSACTION_H

#include "modules/tm/tm_load.h"

#include "cpm_shim.h"

/* tm's functions, once cpm_tm_load has found them. */
extern struct tm_binds cpm_tm;
int cpm_tm_load(void);

/* A transaction in one number, which is not 0, and the other way round. */
uint64_t cpm_number_of(unsigned hash_index, unsigned label);

/* The transaction with this number. NULL: it is gone. The reference to it is to be given back. */
struct cell *cpm_transaction_find(uint64_t number);

/* Answers a transaction with 408 if nobody has replied in it. */
void cpm_transaction_time_out(uint64_t number);

/* The one branch of an outgoing request. */
static inline struct ua_client *cpm_branch_of(struct cell *t)
{
#ifdef TM_BRANCH
	return &TM_BRANCH(t, 0);
#else
	return &t->uac[0];
#endif
}

/* Gives an outgoing request's To its true length. Where that has a display name, tm counts a byte
 * too little, and would begin a line of the CANCEL in the middle of a line end. */
void cpm_transaction_mend(struct cell *t);

#endif
