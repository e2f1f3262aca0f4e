/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files that use tm's own types share.
 */
#ifndef CPM_TM_H
#define CPM_TM_H

#include "modules/tm/tm_load.h"

#include "cpm_kamailio.h"

/* tm's functions, once cpm_tm_load has found them. */
extern struct tm_binds cpm_tm;

/* What is wanted of an INVITE: each response, and no ACK to a 2xx, which waits for that of the originator. */
#define CPM_TM_INVITE_EVENTS (TMCB_LOCAL_RESPONSE_IN | TMCB_LOCAL_COMPLETED | TMCB_DONT_ACK)

/* Sends an INVITE, whose 2xx tm does not acknowledge; `callback` gets each response (TMCB_LOCAL_RESPONSE_IN) and the final
 * one (TMCB_LOCAL_COMPLETED). The ids are those of its transaction. */
enum cpm_sent cpm_tm_invite(
		const struct cpm_outgoing *invite, transaction_cb callback, unsigned *hash_index, unsigned *label);

/* Whether another process is to reply in this transaction. */
int cpm_tm_is_left_open(const struct cell *t);

/* Switches the proxy's Server and User-Agent off; returns what to set server_signature to afterwards. */
int cpm_tm_signature_off(void);

#endif
