/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines of the core in Kamailio's log, as LM_ERR() and its like write those of a module.
 */
#include <stdio.h>

#include "cpm_host.h"

void cpm_log(enum cpm_log_level level, const struct cpm_log_place *place, struct cpm_str text)
{
	char where[CPM_PLACE_BYTES], function[CPM_PLACE_BYTES];
	int len = (int)text.len;

	snprintf(where, sizeof(where), MOD_NAME " [%.*s:%u]: ", (int)place->file.len, place->file.s, place->line);
	snprintf(function, sizeof(function), "%.*s", (int)place->function.len, place->function.s);
	switch(level) {
		case CPM_LOG_CRITICAL:
			LOG_FX(DEFAULT_FACILITY, L_CRIT2, NULL, where, function, "%.*s\n", len, text.s);
			break;
		case CPM_LOG_ERROR:
			LOG_FX(DEFAULT_FACILITY, L_ERR, NULL, where, function, "%.*s\n", len, text.s);
			break;
		case CPM_LOG_NOTICE:
			LOG_FX(DEFAULT_FACILITY, L_NOTICE, NULL, where, function, "%.*s\n", len, text.s);
			break;
		default:
			LOG_FX(DEFAULT_FACILITY, L_DBG, NULL, where, function, "%.*s\n", len, text.s);
			break;
	}
}
