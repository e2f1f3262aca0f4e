/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What c_api/common needs of Kamailio.
 */
#ifndef CPM_PROXY_H
#define CPM_PROXY_H

#include "core/cfg/cfg_struct.h"
#include "core/dprint.h"
#include "core/mem/shm_mem.h"

static inline void cpm_proxy_refresh(void)
{
	cfg_update();
}

#endif
