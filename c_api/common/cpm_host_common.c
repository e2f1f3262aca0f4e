/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>

#include "cpm_host_common.h"

int cpm_host_logs(enum cpm_log_level level)
{
	switch(level) {
		case CPM_LOG_CRITICAL:
			return is_printable(L_CRIT);
		case CPM_LOG_ERROR:
			return is_printable(L_ERR);
		case CPM_LOG_NOTICE:
			return is_printable(L_NOTICE);
		default:
			return is_printable(L_DBG);
	}
}

void cpm_host_log(enum cpm_log_level level, struct cpm_str text)
{
	int len = (int)text.len;

	switch(level) {
		case CPM_LOG_CRITICAL:
			LM_CRIT("%.*s\n", len, text.s);
			break;
		case CPM_LOG_ERROR:
			LM_ERR("%.*s\n", len, text.s);
			break;
		case CPM_LOG_NOTICE:
			LM_NOTICE("%.*s\n", len, text.s);
			break;
		default:
			LM_DBG("%.*s\n", len, text.s);
			break;
	}
}

/* Not the proxy's shared memory, whose size the operator has chosen for other purposes: pages that
 * are never written take no memory here. Anonymous, so it is zeroed, and released with the last
 * process. */
void *cpm_host_share(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared != MAP_FAILED ? shared : NULL;
}
