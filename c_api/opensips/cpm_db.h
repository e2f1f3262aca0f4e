/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pre-defined groups out of OpenSIPS's databases. These are members of struct cpm_host.
 */
#ifndef CPM_DB_H
#define CPM_DB_H

#include "cpm_shim.h"

int cpm_db_group_document(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);
int cpm_db_has_module(const char *module);

#endif
