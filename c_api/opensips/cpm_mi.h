/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of the management interface.
 */
#ifndef CPM_MI_H
#define CPM_MI_H

#include "mi/mi.h"

#include "cpm_shim.h"

extern const mi_export_t cpm_mi_commands[];

/* cpm_mi_info.c: cpm_config, cpm_stats, and the parameters that change while the proxy runs. */
mi_response_t *cpm_mi_config(const mi_params_t *params, struct mi_handler *asynchronous);
mi_response_t *cpm_mi_stats(const mi_params_t *params, struct mi_handler *asynchronous);
mi_response_t *cpm_mi_set(const mi_params_t *params, struct mi_handler *asynchronous);
mi_response_t *cpm_mi_get(const mi_params_t *params, struct mi_handler *asynchronous);
mi_response_t *cpm_mi_get_all(const mi_params_t *params, struct mi_handler *asynchronous);

#endif
