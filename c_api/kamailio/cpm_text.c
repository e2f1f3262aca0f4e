/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/mem/mem.h"

#include "cpm_text.h"

char *cpm_chars_of(struct cpm_str text)
{
	char *copy = pkg_malloc(text.len + 1);

	if(copy == NULL) {
		PKG_MEM_ERROR;
		return NULL;
	}
	memcpy(copy, text.s, text.len);
	copy[text.len] = '\0';
	return copy;
}
