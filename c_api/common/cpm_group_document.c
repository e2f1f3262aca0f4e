/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpm_db.h"
#include "cpm_host.h"

/* The databases that this process has read from, each with its connection. The core limits how many
 * there are. */
static struct database {
	struct database *next;
	char *url;
	db_func_t functions;
	cpm_db_con *connection;
	cpm_db_res *result; /* what was lent last */
} *databases;

static str table = str_init("cpm_group");
static str uri_column = str_init("uri");
static str document_column = str_init("document");

/* The entry of the database at `url`, made if there is none yet. NULL: there is no memory. */
static struct database *find(struct cpm_str url)
{
	struct database *database;

	for(database = databases; database != NULL; database = database->next) {
		if(strlen(database->url) == url.len && memcmp(database->url, url.s, url.len) == 0)
			return database;
	}
	database = pkg_malloc(sizeof(*database));
	if(database == NULL)
		return NULL;
	memset(database, 0, sizeof(*database));
	database->url = cpm_chars_of(url);
	if(database->url == NULL) {
		pkg_free(database);
		return NULL;
	}
	database->next = databases;
	databases = database;
	return database;
}

/* The same, connected. NULL: not possible. */
static struct database *open_database(struct cpm_str url)
{
	struct database *database = find(url);
	str text;

	if(database == NULL || database->connection != NULL)
		return database;
	text.s = database->url;
	text.len = (int)url.len;
	if(database->functions.init == NULL && cpm_db_bind(&text, &database->functions) < 0)
		return NULL;
	database->connection = database->functions.init(&text);
	return database->connection != NULL ? database : NULL;
}

enum cpm_document cpm_group_document(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document)
{
	db_key_t keys[1] = {&uri_column};
	db_key_t columns[1] = {&document_column};
	db_val_t wanted[1];
	db_val_t *found;
	struct database *from = open_database(url);

	if(from == NULL)
		return CPM_DOCUMENT_NO_CONNECTION;
	if(from->result != NULL)
		from->functions.free_result(from->connection, from->result);
	from->result = NULL;
	memset(wanted, 0, sizeof(wanted));
	wanted[0].type = CPM_DB_STR;
	wanted[0].val.str_val = cpm_to_str(group_uri);
	if(from->functions.use_table(from->connection, &table) < 0
			|| from->functions.query(from->connection, keys, NULL, wanted, columns, 1, 1, NULL, &from->result) < 0
			|| from->result == NULL)
		return CPM_DOCUMENT_REJECTED;
	if(RES_ROW_N(from->result) < 1)
		return CPM_DOCUMENT_NONE;
	found = ROW_VALUES(RES_ROWS(from->result));
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
