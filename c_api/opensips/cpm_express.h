/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The express lane: copies of a message over UDP that leave by the proxy's own sockets, past tm.
 * The core decides their content, when they are sent and when they end. This file has OpenSIPS's
 * part: when the lane stands aside, where a copy goes, and the Via.
 */
#ifndef CPM_EXPRESS_H
#define CPM_EXPRESS_H

#include "cpm_shim.h"

/* After tm has been initialised, before the fork. */
void cpm_express_init(void);
/* In each process: the first worker logs one line if the lane is closed. 0. */
int cpm_express_child_init(int rank);

/* The reason why it is closed now; NULL: it is open. */
const char *cpm_express_closed(void);

/* Room for the reason with a few words before it. */
#define CPM_EXPRESS_TEXT_BYTES 128

/* 1: a response to a copy, handled; 0: another response. */
int cpm_express_response(const struct sip_msg *msg);

#endif
