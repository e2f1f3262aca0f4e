/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A safety net for requests that another process answers. OpenSIPS runs no timer on a transaction
 * that is neither forwarded nor replied to: if no process replied, it would exist for ever, and its
 * sender would never get an answer.
 */
#ifndef CPM_KEPT_H
#define CPM_KEPT_H

#include "cpm_shim.h"

/* Before the fork. `end` is called for each transaction whose deadline has passed, replied to or
 * not. 0, or -1 after a log line. */
int cpm_kept_init(void (*end)(uint64_t transaction));

/* Ends a transaction after this many milliseconds, unless it is removed before. NULL: there is no
 * memory. */
struct kept *cpm_kept_add(uint64_t transaction, unsigned milliseconds);
/* Removes it, whether it has been ended or not. */
void cpm_kept_remove(void *kept);

#endif
