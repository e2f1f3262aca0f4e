/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is handed over to the fan-out process, and what of it waits there.
 */
#ifndef CPM_WAITING_H
#define CPM_WAITING_H

#include "cpm_kamailio.h"

enum cpm_waiting_kind {
	CPM_WAITING_JOB, /* does not wait for a name */
	CPM_WAITING_MESSAGE,
	CPM_WAITING_INVITE,
	CPM_WAITING_DIALOG_REQUEST,
	CPM_WAITING_FORWARD
};

/* One request. What its texts point to belongs to whoever made it; in a copy they lie behind it. */
struct cpm_waiting {
	enum cpm_waiting_kind kind;
	uint64_t since_ms;
	struct cpm_str hop; /* URI of the next hop, whose host is a name */
	union {
		struct {
			unsigned hash_index; /* of the sender's transaction */
			unsigned label;
			struct cpm_str text;
		} job;
		struct {
			struct cpm_outgoing outgoing; /* as the script has made it; without its `fields` */
			struct socket_info *socket;   /* NULL: automatic */
		} request;
		struct cpm_dialog_request dialog_request;
		struct {
			unsigned hash_index; /* of the suspended transaction */
			unsigned label;
			struct cpm_str request_uri;
		} forward;
	} is;
};

/* How many bytes a copy takes, and making it in so many. */
size_t cpm_waiting_size(const struct cpm_waiting *waiting);
void cpm_waiting_copy(struct cpm_waiting *block, const struct cpm_waiting *waiting);

/* From here on in the fan-out process only. 0, or -1 after a log line. */
int cpm_waiting_init(struct cpm_names *names);
/* Whether there is place for a request of this sender. */
int cpm_waiting_has_place(const struct cpm_outgoing *outgoing);
/* Has a copy wait for its name. 1: it does, 0: there is no place. */
int cpm_waiting_take(const struct cpm_waiting *waiting);
/* Tells whoever it concerns that a request cannot be sent. */
void cpm_waiting_fail(const struct cpm_waiting *waiting);
/* Sends what has its name or finds room now. Returns whether something waits for room. */
int cpm_waiting_work(void);

/* In whatever process: hands a request over to the fan-out process, or has it wait where this is that process. 1: done,
 * 0: not possible now. */
int cpm_process_wait(struct cpm_waiting *waiting);

#endif
