/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The express lane: copies of a message that leave by the proxy's own sockets, past tm. The core
 * decides their content, when they are sent and when they end. This file has Kamailio's part: when
 * the lane stands aside, the Via, the system calls, and the receipt of responses.
 */
#ifndef CPM_EXPRESS_H
#define CPM_EXPRESS_H

#include "cpm_kamailio.h"

/* Opens the lane before the fork, or logs one line why it is closed. 0. */
int cpm_express_child_init(int rank);
/* The reason why it is closed; NULL: it is open. */
const char *cpm_express_closed(void);
/* The same; if it is open, in which way. */
const char *cpm_express_state(void);

/* 1: a response to a copy, handled; 0: another response. */
int cpm_express_response(sip_msg_t *msg);

#endif
