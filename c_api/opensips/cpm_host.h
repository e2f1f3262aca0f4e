/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core needs of its host, as OpenSIPS has it.
 */
#ifndef CPM_HOST_H
#define CPM_HOST_H

#include "cpm_shim.h"

extern const struct cpm_host cpm_opensips_host;

#endif
