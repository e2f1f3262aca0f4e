/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kamailio's table of module parameters.
 */
#ifndef CPM_PARAMETERS_H
#define CPM_PARAMETERS_H

#include "cpm_kamailio.h"

extern param_export_t cpm_parameters[];
/* Fills it from the core's parameters. 0, or -1 after one log line. */
int cpm_parameters_register(void);

#endif
