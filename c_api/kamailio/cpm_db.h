/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Group documents in a database, through any database module that the operator has loaded. The
 * functions are members of struct cpm_host.
 */
#ifndef CPM_DB_H
#define CPM_DB_H

#include "cpm_kamailio.h"

int cpm_db_has_module(const char *module);
int cpm_db_group_document(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);

#endif
