/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core asks the operator's script, which named routes answer, and what it tells, which the
 * event interface of OpenSIPS spreads: that runs an event_route in another process, later, where
 * nothing can be changed or dropped any more.
 */
#ifndef CPM_ROUTE_H
#define CPM_ROUTE_H

#include "cpm_running.h"

/* Looks the routes up and publishes the events. 0, or -1 after a log line. */
int cpm_routes_lookup(void);

/* These are members of struct cpm_host. */
int cpm_route_wants(uint32_t event);
int cpm_route_authorize(void *context, struct cpm_request *request);
enum cpm_routed cpm_route_recipient_request(
		const struct cpm_outgoing *outgoing, struct cpm_str text, struct cpm_changed *changed);
void cpm_route_event(uint32_t event, int code, struct cpm_str reason, struct cpm_str text,
		const struct cpm_about *about);

#endif
