/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processes of the core's own, the same for every proxy: a queue for each kind of them, and one
 * loop.
 */
#ifndef CPM_PROCESSES_H
#define CPM_PROCESSES_H

#include "cpm_shim.h"

/* Makes the queue of a process. Before the fork. 0, or -1 after a log line. */
int cpm_process_open(enum cpm_process process, const struct cpm_process_plan *plan);

/* cpm_host.post. */
int cpm_process_post(enum cpm_process process, struct cpm_str entry);

/* What the process does, to its end. 0, or -1 after a log line: it cannot go on. */
int cpm_process_run(enum cpm_process process, const struct cpm_process_plan *plan);

#endif
