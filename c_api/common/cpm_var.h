/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pseudo-variable $cpm(name).
 */
#ifndef CPM_VAR_H
#define CPM_VAR_H

#include "cpm_shim.h"

/* The name of a field in scripts. NULL: it has none. */
const char *cpm_var_field_name(int field);

/* A number of bytes as text in `room`; absent if it is unknown. */
void cpm_var_write_bytes(uint64_t bytes, char room[CPM_NUMBER_BYTES], str *text);

/* The time since the message was received as text in `room`, in seconds with three decimals. */
void cpm_var_write_seconds(const struct cpm_about *about, char room[CPM_NUMBER_BYTES], str *text);

int cpm_var_parse_name(pv_spec_t *spec, cpm_proxy_name *name);
int cpm_var_get(struct sip_msg *msg, pv_param_t *param, pv_value_t *value);
int cpm_var_set(struct sip_msg *msg, pv_param_t *param, int op, pv_value_t *value);

#endif
