/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replies to requests that Kamailio's parser rejects.
 */
#ifndef CPM_UNPARSED_H
#define CPM_UNPARSED_H

#include "cpm_kamailio.h"

void cpm_unparsed_refuse(sip_msg_t *msg);
int cpm_unparsed_init(void);

#endif
