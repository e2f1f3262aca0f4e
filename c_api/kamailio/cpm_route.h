/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event routes. A request is shown to the script as a message of its own, so that all functions of
 * the script for requests ($ru, $du, append_hf, remove_hf, drop, ...) work on it.
 */
#ifndef CPM_ROUTE_H
#define CPM_ROUTE_H

#include "cpm_kamailio.h"
#include "cpm_running.h"

/* Function of the KEMI script that is called with the name of each event instead of the routes.
 * Empty: none. */
extern str cpm_event_callback;
int cpm_routes_lookup(void);

#endif
