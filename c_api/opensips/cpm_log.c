/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines of the core in OpenSIPS's log, as LM_ERR() and its like write those of a module. These name
 * the function only; one of the core's is named with its file and line.
 */
#include <stdio.h>

#include "cpm_host.h"

/* LM_GEN1() with a place that is not here. */
#define LINE(level, prefix, word)                                                                        \
	dprint(level, log_facility, LOG_PREFIX_UTIL(MOD_NAME), where, prefix LOG_PREFIX "%.*s\n",             \
			(char *)"%s" word LOG_PREFIX "%.*s\n", (char *)"%.*s\n", dp_time(), dp_my_pid(), log_prefix, where, \
			len, text.s)

void cpm_log(enum cpm_log_level level, const struct cpm_log_place *place, struct cpm_str text)
{
	char where[2 * CPM_PLACE_BYTES];
	int len = (int)text.len;

	snprintf(where, sizeof(where), "%.*s:%u:%.*s", (int)place->file.len, place->file.s, place->line,
			(int)place->function.len, place->function.s);
	switch(level) {
		case CPM_LOG_CRITICAL:
			LINE(L_CRIT, DP_CRIT_PREFIX, DP_CRIT_TEXT);
			break;
		case CPM_LOG_ERROR:
			LINE(L_ERR, DP_ERR_PREFIX, DP_ERR_TEXT);
			break;
		case CPM_LOG_NOTICE:
			LINE(L_NOTICE, DP_NOTICE_PREFIX, DP_NOTICE_TEXT);
			break;
		default:
			LINE(L_DBG, DP_DBG_PREFIX, DP_DBG_TEXT);
			break;
	}
}
