/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions of the routing script, and the one request that a process works on at a time.
 */
#ifndef CPM_REQUEST_H
#define CPM_REQUEST_H

#include "cpm_kamailio.h"

/* The implementation of the functions. The result is an enum cpm_script_result: 1: yes, -1: no, 0:
 * the script has nothing more to do with the request and should end; a native script then ends by
 * itself. */
int ki_cpm_classify(sip_msg_t *msg);
int ki_cpm_check(sip_msg_t *msg);
int ki_cpm_reply(sip_msg_t *msg);
int ki_cpm_fanout(sip_msg_t *msg);
int ki_cpm_handle(sip_msg_t *msg);
int ki_cpm_forward_imdn(sip_msg_t *msg);

/* The request for `msg`, or NULL. Owned here, released when the script has ended. */
struct cpm_request *cpm_current_request(const sip_msg_t *msg);
int cpm_request_init(void);

#endif
