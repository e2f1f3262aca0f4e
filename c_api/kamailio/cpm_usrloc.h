/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who registers with this proxy: the core hears of each contact that is new or refreshed.
 */
#ifndef CPM_USRLOC_H
#define CPM_USRLOC_H

/* Before the fork, once all modules have started. 0, or -1 after a log line. Does nothing unless
 * the core wants to hear of contacts. */
int cpm_usrloc_init(void);

#endif
