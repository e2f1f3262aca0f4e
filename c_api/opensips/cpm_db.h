/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The database interface of the proxy, as c_api/common needs it.
 */
#ifndef CPM_DB_H
#define CPM_DB_H

#include "db/db.h"

#include "cpm_shim.h"

typedef db_con_t cpm_db_con;
typedef db_res_t cpm_db_res;
#define CPM_DB_STR DB_STR
#define CPM_DB_STRING DB_STRING
#define CPM_DB_BLOB DB_BLOB

/* Finds the functions of the module that serves `url` (mysql://..., sqlite:///...), which ends with
 * NUL. 0, or -1 after a log line. */
int cpm_db_bind(const str *url, db_func_t *functions);

#endif
