/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tunable parameters.
 */
#ifndef CPM_CFG_H
#define CPM_CFG_H

#include "cpm_kamailio.h"

/* After service_start. */
int cpm_cfg_declare(void);

#endif
