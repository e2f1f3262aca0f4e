/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for the contract between the core and the proxy until that is written. */
#ifndef CPM_H
#define CPM_H

#include <stddef.h>

#define CPM_ABI 1u

/* Borrowed bytes. */
struct cpm_str {
	const char *s;
	size_t len;
};

#endif
