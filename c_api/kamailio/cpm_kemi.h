/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions for native scripts and for KEMI.
 */
#ifndef CPM_KEMI_H
#define CPM_KEMI_H

#include "cpm_kamailio.h"

int w_cpm_classify(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_check(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_reply(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_fanout(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_handle(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_forward_imdn(sip_msg_t *msg, char *p1, char *p2);
int w_cpm_recipient_available(sip_msg_t *msg, char *uri, char *p2);
int cpm_kemi_register(void);

#endif
