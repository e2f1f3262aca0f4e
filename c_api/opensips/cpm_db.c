/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "db/db.h"

#include "cpm_db.h"

/* One connection per process and database. */
static struct {
	char *url;
	db_func_t functions;
	db_con_t *connection;
	db_res_t *result; /* what was lent last */
} databases[CPM_MAX_GROUP_SOURCES];

static str table = str_init("cpm_group");
static str uri_column = str_init("uri");
static str document_column = str_init("document");

/* Modules are loaded before any of them is initialised. */
int cpm_db_has_module(const char *module)
{
	return module_loaded((char *)module);
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
	if(databases[i].url == NULL)
		databases[i].url = cpm_chars_of(url);
	if(databases[i].url == NULL)
		return -1;
	if(databases[i].connection != NULL)
		return i;
	text.s = databases[i].url;
	text.len = (int)url.len;
	if(databases[i].functions.init == NULL && db_bind_mod(&text, &databases[i].functions) < 0)
		return -1;
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
	wanted[0].type = DB_STR;
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
		case DB_STRING:
			*document = cpm_of_chars(VAL_STRING(found));
			return 1;
		case DB_STR:
			*document = cpm_of_str(&VAL_STR(found));
			return 1;
		case DB_BLOB:
			*document = cpm_of_str(&VAL_BLOB(found));
			return 1;
		default:
			LM_ERR("column document of table cpm_group is neither text nor blob\n");
			return -2;
	}
}
