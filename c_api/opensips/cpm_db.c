/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpm_db.h"
#include "cpm_host.h"

int cpm_db_bind(const str *url, db_func_t *functions)
{
	return db_bind_mod(url, functions);
}

/* All modules are loaded before any is initialised. */
int cpm_db_has_module(const char *module)
{
	return module_loaded((char *)module);
}
