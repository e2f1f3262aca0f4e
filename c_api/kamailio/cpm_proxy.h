/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What c_api/common needs of Kamailio.
 */
#ifndef CPM_PROXY_H
#define CPM_PROXY_H

#include "core/cfg/cfg_struct.h"
#include "core/data_lump.h"
#include "core/data_lump_rpl.h"
#include "core/dprint.h"
#include "core/ip_addr.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/parser/msg_parser.h"
#include "core/parser/parse_to.h"
#include "core/pvar.h"
#include "core/sr_module.h"
#include "core/str.h"

/* Applies changed settings. */
static inline void cpm_proxy_refresh(void)
{
	cfg_update();
}

/* The process of a message: two messages of different processes may have the same number. */
#define CPM_PROXY_PROCESS_OF(msg) ((msg)->pid)

/* Where header lines are added, in bytes from the beginning of a message. */
#define CPM_PROXY_ANCHOR(msg, at) anchor_lump((msg), (at), 0, 0)

/* The type of a variable's name in parentheses. */
typedef str cpm_proxy_name;

/* The two types of a value in the script. */
#define CPM_PROXY_TEXT PARAM_STRING
#define CPM_PROXY_NUMBER PARAM_INT
#define CPM_PROXY_BY_FUNCTION PARAM_USE_FUNC

/* Shared memory that a transaction takes in addition to the request itself: its cell (with room for
 * the core's max_branches, 12 by default), timers and hash entry. */
#define CPM_TRANSACTION_BYTES (10 * 1024)

#endif
