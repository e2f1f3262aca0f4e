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

/* Sends an INVITE, whose 2xx tm does not acknowledge. The ids are those of its transaction; zeros: it waits in another process. */
enum cpm_sent cpm_tm_invite(const struct cpm_outgoing *invite, unsigned *hash_index, unsigned *label);

/* Gets each response to an INVITE (TMCB_LOCAL_RESPONSE_IN) and the final one (TMCB_LOCAL_COMPLETED). */
void cpm_dialogs_invite_answered(struct cell *t, int type, struct tmcb_params *params);

/* Whether a callback is about the end of a transaction's life: then what belonged to it has been released. */
int cpm_tm_is_gone(int type, struct tmcb_params *params);

/* Where a request has got no answer at its place, or 503, and the name that it was sent by has another place: sends it there, and
 * the end of that is its end. 1, or 0: this was its end. */
int cpm_tm_another_place(struct cell *t, const struct tmcb_params *params, enum cpm_sending sending);

/* Whether another process is to reply in this transaction. */
int cpm_tm_is_left_open(const struct cell *t);

/* Switches the proxy's Server and User-Agent off; returns what to set server_signature to afterwards. */
int cpm_tm_signature_off(void);

#endif
