/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is counted, as statistics of OpenSIPS.
 */
#ifndef CPM_COUNTERS_H
#define CPM_COUNTERS_H

#include "cpm_shim.h"

int cpm_counters_register(void);
/* The sum of all processes, of the counter with this number. */
unsigned long cpm_counter_value(size_t counter);

#endif
