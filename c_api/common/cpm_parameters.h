/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The proxy's table of module parameters.
 */
#ifndef CPM_PARAMETERS_H
#define CPM_PARAMETERS_H

#include "cpm_shim.h"

extern param_export_t cpm_parameters[];
/* Fills it from the core's parameters, followed by the `own` (1 at most) of the shim. 0, or -1
 * after one log line. */
int cpm_parameters_register(const param_export_t *own_parameters, size_t own);

#endif
