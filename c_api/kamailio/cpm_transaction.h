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

#endif
