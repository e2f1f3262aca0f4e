/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The struct cpm_host of Kamailio.
 */
#ifndef CPM_HOST_H
#define CPM_HOST_H

#include "cpm_kamailio.h"

extern const struct cpm_host cpm_kamailio_host;

#endif
