/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What c_api/common needs of OpenSIPS.
 */
#ifndef CPM_PROXY_H
#define CPM_PROXY_H

#include "str.h"
#include "data_lump.h"
#include "data_lump_rpl.h"
#include "dprint.h"
#include "ip_addr.h"
#include "mem/mem.h"
#include "mem/shm_mem.h"
#include "parser/msg_parser.h"
#include "parser/parse_to.h"
#include "pvar.h"
#include "sr_module.h"

/* Applies changed settings: the core does so by itself. */
static inline void cpm_proxy_refresh(void)
{
}

/* Tells messages with the same number apart: in OpenSIPS no two have the same number. */
#define CPM_PROXY_PROCESS_OF(msg) 0

/* Where header lines are added, in bytes from the beginning of a message. */
#define CPM_PROXY_ANCHOR(msg, at) anchor_lump((msg), (at), 0)

/* The type of a variable's name in parentheses. */
typedef const str cpm_proxy_name;

/* The two types of a value in the script. */
#define CPM_PROXY_TEXT STR_PARAM
#define CPM_PROXY_NUMBER INT_PARAM
#define CPM_PROXY_BY_FUNCTION USE_FUNC_PARAM

/* Shared memory that a transaction takes in addition to the request itself: its cell (OpenSIPS 3.6
 * allocates 12 branches at once), timers and hash entry. */
#define CPM_TRANSACTION_BYTES (12 * 1024)

#endif
