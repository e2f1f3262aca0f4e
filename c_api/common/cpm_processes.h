/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core's own processes, the same for every proxy: a queue for each kind, and one loop.
 */
#ifndef CPM_PROCESSES_H
#define CPM_PROCESSES_H

#include "cpm_shim.h"

/* Creates the queue of a process. Before the fork. 0, or -1 after a log line. */
int cpm_process_open(enum cpm_process process, const struct cpm_process_plan *plan);

/* cpm_host.post. */
int cpm_process_post(enum cpm_process process, struct cpm_str entry);

/* The main loop of the process, until it ends. 0, or -1 after a log line: it cannot continue. */
int cpm_process_run(enum cpm_process process, const struct cpm_process_plan *plan);

#endif
