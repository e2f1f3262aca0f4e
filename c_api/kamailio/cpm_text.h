/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts of the contract as Kamailio keeps them.
 */
#ifndef CPM_TEXT_H
#define CPM_TEXT_H

#include "cpm_kamailio.h"

/* A copy in pkg memory that lives as long as the module, ended by NUL. NULL: there is no memory. */
char *cpm_chars_of(struct cpm_str text);

#endif
