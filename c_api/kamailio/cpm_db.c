/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <limits.h>

#include "cpm_db.h"
#include "cpm_host.h"

/* Like db_bind_mod, with a log line that says what to load. */
int cpm_db_bind(const str *url, db_func_t *functions)
{
	const char *end = strstr(url->s, ":");
	db_bind_api_f bind_api;
	char module[NAME_MAX + 1]; /* the name of a file, without its ending */

	if(end == NULL || (size_t)(end - url->s) + sizeof("db_") > sizeof(module))
		return -1;
	snprintf(module, sizeof(module), "db_%.*s", (int)(end - url->s), url->s);
	/* The table of script functions also holds exports of other kinds, as functions without a
	 * type. */
	bind_api = (db_bind_api_f)(void (*)(void))find_mod_export(module, "db_bind_api", 0, 0);
	if(bind_api == NULL) {
		LM_ERR("group_source db: needs loadmodule \"%s.so\"\n", module);
		return -1;
	}
	return bind_api(functions);
}

/* All modules are loaded before any is initialised. */
int cpm_db_has_module(const char *module)
{
	return find_mod_export((char *)module, "db_bind_api", 0, 0) != NULL;
}
