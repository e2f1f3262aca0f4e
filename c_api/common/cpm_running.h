/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subject of a route that runs for an event of the core: the source of the variables' values
 * while it runs.
 */
#ifndef CPM_RUNNING_H
#define CPM_RUNNING_H

#include "cpm_shim.h"

struct cpm_running {
	struct cpm_request *request;   /* or NULL */
	const struct cpm_about *about; /* or NULL */
	int code;                      /* 0: none */
	str reason;
	str recipient; /* Request-URI of the outgoing request */
};
/* The route running in this process, or NULL. */
extern const struct cpm_running *cpm_running;

#endif
