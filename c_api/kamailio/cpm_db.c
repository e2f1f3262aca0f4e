/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/mem/mem.h"
#include "core/sr_module.h"
#include "lib/srdb1/db.h"

#include "cpm_db.h"

/* One connection per process and database. */
static struct {
	char *url;
	db_func_t functions;
	db1_con_t *connection;
	db1_res_t *result; /* what was lent last */
} databases[CPM_MAX_GROUP_SOURCES];

static str table = str_init("cpm_group");
static str uri_column = str_init("uri");
static str document_column = str_init("document");

/* Finds the functions of the module that serves `url` (mysql://..., sqlite:///...), like
 * db_bind_mod. */
static int bind_module(const char *url, db_func_t *functions)
{
	const char *end = strstr(url, ":");
	db_bind_api_f bind_api;
	char module[64];

	if(end == NULL || (size_t)(end - url) + sizeof("db_") > sizeof(module))
		return -1;
	snprintf(module, sizeof(module), "db_%.*s", (int)(end - url), url);
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

static int open_database(struct cpm_str url)
{
	str text;
	int i;

	for(i = 0; i < CPM_MAX_GROUP_SOURCES && databases[i].url != NULL; i++) {
		if(strlen(databases[i].url) == url.len && memcmp(databases[i].url, url.s, url.len) == 0)
			break;
	}
	if(i == CPM_MAX_GROUP_SOURCES)
		return -1;
	if(databases[i].url == NULL) {
		databases[i].url = pkg_malloc(url.len + 1);
		if(databases[i].url == NULL) {
			PKG_MEM_ERROR;
			return -1;
		}
		memcpy(databases[i].url, url.s, url.len);
		databases[i].url[url.len] = '\0';
	}
	if(databases[i].connection != NULL)
		return i;
	if(databases[i].functions.init == NULL && bind_module(databases[i].url, &databases[i].functions) < 0)
		return -1;
	text.s = databases[i].url;
	text.len = (int)url.len;
	databases[i].connection = databases[i].functions.init(&text);
	return databases[i].connection != NULL ? i : -1;
}

int cpm_db_group_document(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document)
{
	db_key_t keys[1] = {&uri_column};
	db_key_t columns[1] = {&document_column};
	db_val_t wanted[1];
	db_val_t *found;
	int i = open_database(url);

	if(i < 0)
		return -1;
	if(databases[i].result != NULL)
		databases[i].functions.free_result(databases[i].connection, databases[i].result);
	databases[i].result = NULL;
	memset(wanted, 0, sizeof(wanted));
	wanted[0].type = DB1_STR;
	wanted[0].val.str_val = cpm_to_str(group_uri);
	if(databases[i].functions.use_table(databases[i].connection, &table) < 0
			|| databases[i].functions.query(
					   databases[i].connection, keys, NULL, wanted, columns, 1, 1, NULL, &databases[i].result)
					   < 0
			|| databases[i].result == NULL)
		return -2;
	if(RES_ROW_N(databases[i].result) < 1)
		return 0;
	found = ROW_VALUES(RES_ROWS(databases[i].result));
	if(VAL_NULL(found))
		return 0;
	switch(VAL_TYPE(found)) {
		case DB1_STRING:
			document->s = VAL_STRING(found);
			document->len = strlen(document->s);
			return 1;
		case DB1_STR:
			*document = cpm_of_str(&VAL_STR(found));
			return 1;
		case DB1_BLOB:
			*document = cpm_of_str(&VAL_BLOB(found));
			return 1;
		default:
			LM_ERR("column document of table cpm_group is neither text nor blob\n");
			return -2;
	}
}
