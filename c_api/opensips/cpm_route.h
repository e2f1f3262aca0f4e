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

#endif
