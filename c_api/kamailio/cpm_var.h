/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pseudo-variable $cpm(name).
 */
#ifndef CPM_VAR_H
#define CPM_VAR_H

#include "core/pvar.h"

#include "cpm_kamailio.h"

int cpm_var_parse_name(pv_spec_t *spec, str *name);
int cpm_var_get(sip_msg_t *msg, pv_param_t *param, pv_value_t *value);
int cpm_var_set(sip_msg_t *msg, pv_param_t *param, int op, pv_value_t *value);

#endif
