/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters and gauges as statistics of OpenSIPS.
 */
#ifndef CPM_COUNTERS_H
#define CPM_COUNTERS_H

#include "cpm_shim.h"

int cpm_counters_register(void);

#endif
