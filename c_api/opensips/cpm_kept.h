/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The safety net below what another process is to answer. OpenSIPS runs no timer on a transaction
 * that is neither forwarded nor replied in: where nobody replies, it would be there for ever, and
 * its sender would never hear.
 */
#ifndef CPM_KEPT_H
#define CPM_KEPT_H

#include "cpm_shim.h"

/* Before the fork. `end` is called for each transaction whose time has come, replied in or not. 0,
 * or -1 after a log line. */
int cpm_kept_init(void (*end)(uint64_t transaction));

/* Has a transaction ended in so many milliseconds. 0, or -1: there is no memory. */
int cpm_kept_add(uint64_t transaction, unsigned milliseconds);

#endif
