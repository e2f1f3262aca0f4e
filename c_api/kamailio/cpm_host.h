/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core needs of its host, as Kamailio has it.
 */
#ifndef CPM_HOST_H
#define CPM_HOST_H

#include "cpm_kamailio.h"

extern const struct cpm_host cpm_kamailio_host;

#endif
