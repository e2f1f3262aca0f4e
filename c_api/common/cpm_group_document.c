/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpm_db.h"
#include "cpm_host.h"

/* One connection per process and database. */
static struct {
	char *url;
	db_func_t functions;
	cpm_db_con *connection;
	cpm_db_res *result; /* what was lent last */
} databases[CPM_MAX_GROUP_SOURCES];

static str table = str_init("cpm_group");
static str uri_column = str_init("uri");
static str document_column = str_init("document");

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
	if(databases[i].functions.init == NULL && cpm_db_bind(&text, &databases[i].functions) < 0)
		return -1;
	databases[i].connection = databases[i].functions.init(&text);
	return databases[i].connection != NULL ? i : -1;
}

enum cpm_document cpm_group_document(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document)
{
	db_key_t keys[1] = {&uri_column};
	db_key_t columns[1] = {&document_column};
	db_val_t wanted[1];
	db_val_t *found;
	int i = open_database(url);

	if(i < 0)
		return CPM_DOCUMENT_NO_CONNECTION;
	if(databases[i].result != NULL)
		databases[i].functions.free_result(databases[i].connection, databases[i].result);
	databases[i].result = NULL;
	memset(wanted, 0, sizeof(wanted));
	wanted[0].type = CPM_DB_STR;
	wanted[0].val.str_val = cpm_to_str(group_uri);
	if(databases[i].functions.use_table(databases[i].connection, &table) < 0
			|| databases[i].functions.query(
					   databases[i].connection, keys, NULL, wanted, columns, 1, 1, NULL, &databases[i].result)
					   < 0
			|| databases[i].result == NULL)
		return CPM_DOCUMENT_REJECTED;
	if(RES_ROW_N(databases[i].result) < 1)
		return CPM_DOCUMENT_NONE;
	found = ROW_VALUES(RES_ROWS(databases[i].result));
	if(VAL_NULL(found))
		return CPM_DOCUMENT_NONE;
	switch(VAL_TYPE(found)) {
		case CPM_DB_STRING:
			*document = cpm_of_chars(VAL_STRING(found));
			return CPM_DOCUMENT_FOUND;
		case CPM_DB_STR:
			*document = cpm_of_str(&VAL_STR(found));
			return CPM_DOCUMENT_FOUND;
		case CPM_DB_BLOB:
			*document = cpm_of_str(&VAL_BLOB(found));
			return CPM_DOCUMENT_FOUND;
		default:
			LM_ERR("column document of table cpm_group is neither text nor blob\n");
			return CPM_DOCUMENT_REJECTED;
	}
}
