/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters and gauges as statistics of Kamailio.
 */
#ifndef CPM_COUNTERS_H
#define CPM_COUNTERS_H

#include "cpm_kamailio.h"

int cpm_counters_register(void);
/* cpm_host.count */
void cpm_count(uint32_t counter, uint32_t n);

#endif
