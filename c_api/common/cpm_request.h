/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions of the routing script, and the one request that a process works on at a time.
 */
#ifndef CPM_REQUEST_H
#define CPM_REQUEST_H

#include "cpm_shim.h"

/* The implementation of the functions. The result is an enum cpm_script_result: 1: yes, -1: no, 0:
 * the script has nothing more to do with the request and should end; a native script then ends by
 * itself. */
int cpm_script_classify(struct sip_msg *msg);
int cpm_script_check(struct sip_msg *msg);
int cpm_script_reply(struct sip_msg *msg);
int cpm_script_fanout(struct sip_msg *msg);
int cpm_script_handle(struct sip_msg *msg);
int cpm_script_forward_imdn(struct sip_msg *msg);
int cpm_script_recipient_available(struct sip_msg *msg, str *uri);

/* The request for `msg`, or NULL. Owned here, released when the script has ended, which the shim
 * reports. */
struct cpm_request *cpm_current_request(const struct sip_msg *msg);
void cpm_script_ended(void);

/* Whether there are large message sessions. */
extern int cpm_has_sessions;

#endif
