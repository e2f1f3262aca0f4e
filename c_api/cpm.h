/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpm.h - the one contract between the Controlling Function core (Rust) and the proxy that hosts it (C).
 *
 * What the core offers stands in struct cpm_core, what it needs of its host in struct cpm_host. The core
 * exports ONE symbol, cpm_core(); everything else goes through these two tables, so that both compilers
 * check every signature.
 *
 * Rules that hold for all of it
 *   Text       struct cpm_str: bytes and a length, no terminating NUL, borrowed for the duration of the call
 *              unless the field says otherwise. { NULL, 0 } is "absent".
 *   Ownership  Opaque handles are made by a *_new or classify function and released by the matching *_free
 *              function, once, in the process that made them. A handle must not cross a fork, save the
 *              cpm_service, which is made and configured before the fork and then is each process's own copy.
 *   Threads    A process may call the core from one thread only, the one that may also call the proxy.
 *              The core calls the host back on that thread only, and only during a call into the core. Threads of
 *              the core's own exist in processes that have called sessions_new, names_new or groups_new, and never call
 *              the host.
 *   Panics     No call unwinds into C. A panic inside the core is caught, logged at CPM_LOG_CRITICAL and
 *              becomes the failure value of the function that was called.
 *   NULL       A NULL handle is answered with the failure value.
 */
#ifndef CPM_H
#define CPM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a member of any struct below changes. */
#define CPM_ABI 8u

/* Borrowed bytes. */
struct cpm_str {
	const char *s;
	size_t len;
};

/* The Controlling Function as the operator configured it. Owned by the host. */
struct cpm_service;

/* One received request that is ours, from classify until request_free. Owned by the host. */
struct cpm_request;

/* The rest of a fan-out that its worker has handed over. Owned by the process that works it off. */
struct cpm_job;

/* Where pre-defined groups come from, with a cache. Owned by the process that looks them up. */
struct cpm_groups;

/* All large message sessions, with the MSRP relay. Owned by the one process that has them. */
struct cpm_sessions;

/* Names that are being looked up. Owned by the one process that does so for all others. */
struct cpm_names;

/* A parameter of the service. Its texts live as long as the module. */
struct cpm_parameter {
	struct cpm_str name;
	struct cpm_str help;   /* what it says, in a few words */
	struct cpm_str values; /* which values it takes, with range and unit, such as "number, 1 to 150 seconds" */
	int is_repeatable;   /* 1: it may have several values */
	int is_number;       /* 1: its value is a number from min to max; a yes or no is 1 or 0 */
	int is_tunable;      /* 1: service_tune can change it; then is_number is 1 too */
	int is_checked;      /* 1: service_tune may refuse a number from min to max */
	int min;
	int max;
};

/* Log levels: what the line asks of the operator, not a number of any proxy. */
enum cpm_log_level {
	CPM_LOG_CRITICAL = 1, /* a fault of our own */
	CPM_LOG_ERROR = 2,    /* something that the operator has to mend */
	CPM_LOG_NOTICE = 3,   /* a peer's request was refused, a recipient failed */
	CPM_LOG_DEBUG = 4     /* may name subscribers' addresses */
};

/* What is counted. The host keeps the sum of all processes. */
enum cpm_counter {
	CPM_COUNT_REQUESTS = 0,     /* requests that were ours */
	CPM_COUNT_ACCEPTED = 1,     /* of these, answered 202 */
	CPM_COUNT_REFUSED = 2,      /* of these, answered with a refusal */
	CPM_COUNT_RECIPIENTS = 3,   /* outgoing requests handed to the transaction layer */
	CPM_COUNT_DELIVERED = 4,    /* of these, answered 2xx by the recipient */
	CPM_COUNT_FAILED = 5,       /* recipients that finally failed */
	CPM_COUNT_INTERWORKED = 6,  /* requests sent to the Interworking Selection Function */
	CPM_COUNT_LOOPS = 7,        /* own addresses dropped from recipient lists */
	CPM_COUNT_IMDN_FORWARDED = 8, /* disposition notifications forwarded; the host counts these, see forward_imdn */
	CPM_COUNT_IMDN_UNKNOWN = 9, /* disposition notifications about a message whose sender is not known */
	CPM_COUNT_SHARES = 10, /* requests refused because a share was used up */
	CPM_COUNT_REPEATED = 11, /* requests that came again after they had been taken */
	CPM_COUNT_MERGED = 12,   /* requests that were taken already and came by another branch; refused */
	CPM_COUNT_FORGOTTEN = 13, /* requests that were forgotten before their time, for want of room */
	CPM_COUNTERS = 14
};

/* A request as the proxy received it. */
struct cpm_received {
	struct cpm_str message;        /* the whole request: start line, header fields, body */
	struct cpm_str request_uri;    /* the Request-URI in force (the routing script may have rewritten it) */
	struct cpm_str source_address; /* the IP address it came from, as text, IPv6 without brackets */
};

/* A reply for the host to send. Borrowed from the request or job until its next call or *_free. */
struct cpm_reply {
	int code;
	const char *reason;     /* NUL-terminated */
	struct cpm_str headers; /* whole header lines, each ended by CRLF; may be empty */
	struct cpm_str to_tag;  /* for the To of the reply, where the host has no tag of its own for it */
	struct cpm_str body;    /* Content-Type is among the header lines; may be empty */
};

/* How a received disposition notification goes on: as a proxy's request does, everything that is not named here as
 * received. */
struct cpm_forwarding {
	struct cpm_str request_uri; /* in place of the received one */
	struct cpm_str next_hop;    /* URI of the next hop; absent: the Request-URI decides */
	struct cpm_str dropped;     /* names of the header fields that are not passed on, with commas between */
	struct cpm_str headers;     /* header lines to add, each ended by CRLF */
	struct cpm_reply reply;     /* why it does not go on */
};

/* A request that the proxy's own parser refuses, and the reply to it. */
struct cpm_unparsed {
	struct cpm_str request; /* with no more than what a reply repeats (RFC 3261 8.2.6.2), to be read in its place */
	struct cpm_reply reply;
};

/* What a routing script may ask of a request. */
enum cpm_field {
	CPM_FIELD_KIND = 0,            /* exploder, adhoc, group */
	CPM_FIELD_MODE = 1,            /* pager, large */
	CPM_FIELD_ORIGINATOR = 2,      /* authenticated originator's CPM Address; absent when nobody vouches for one */
	CPM_FIELD_CONVERSATION_ID = 3,
	CPM_FIELD_CONTRIBUTION_ID = 4,
	CPM_FIELD_WARNING = 5,         /* text of the Warning of a refusal */
	CPM_FIELD_SESSION = 6,         /* name of the session, in large message mode */
	CPM_FIELDS = 7
};

/* A request for the host to send in a transaction of its own. Borrowed during the call of send. */
struct cpm_outgoing {
	struct cpm_str method;
	struct cpm_str request_uri;
	struct cpm_str next_hop; /* URI of the next hop; absent: the Request-URI decides */
	struct cpm_str from;     /* name-addr without tag */
	struct cpm_str from_tag;
	struct cpm_str to;       /* name-addr, no tag */
	struct cpm_str call_id;
	uint32_t cseq;
	/* All further header lines, each ended by CRLF. The host adds Via, From, To, Call-ID, CSeq and
	 * Content-Length only: Max-Forwards and User-Agent are among these lines. */
	struct cpm_str headers;
	struct cpm_str body;
	/* Given back in struct cpm_outcome. A host that has only 32 bits for it may give the upper ones back as 0. */
	uint64_t attempt;
	/* About the received request, which may be gone by now: its fields, and how many recipients it has in all. For a
	 * copy to the ISF after a failure, and a notification to the sender, they are absent, and 0. */
	struct cpm_str fields[CPM_FIELDS];
	size_t recipients;
};

/* What send made of an outgoing request. */
enum cpm_sent {
	CPM_SENT_FAILED_ENOUGH = -4, /* as CPM_SENT_FAILED, and this process has worked on it for long enough */
	CPM_SENT_BUSY = -3,    /* not now to this recipient: the connection towards him is full. Others may go on */
	CPM_SENT_NO_ROOM = -2, /* not now: transactions hold too much memory. Hand over, or try again later */
	CPM_SENT_FAILED = -1,  /* it could not be sent; no outcome follows */
	CPM_SENT_DROPPED = 0,  /* the operator's script dropped it; no outcome follows */
	CPM_SENT = 1,          /* handed to the transaction layer, or to whoever waits for its name; an outcome follows */
	CPM_SENT_ENOUGH = 2    /* the same, and this process has worked on it for long enough: hand over the rest */
};

/* Where a next hop is. */
enum cpm_located {
	CPM_LOCATED_NOWHERE = -1, /* its name has no address, or none that could be found */
	CPM_LOCATED_LATER = 0,    /* its name has to be looked up: see names_ask */
	CPM_LOCATED = 1,          /* see the places */
	CPM_LOCATED_ITSELF = 2    /* it has an IP address, or is no sip: or sips: URI */
};

#define CPM_MAX_PLACES 8
#define CPM_PLACE_BYTES 96

/* Where a name can be reached, best first: URIs with IP address, port and transport, each ended by NUL. */
struct cpm_places {
	size_t n;
	char uri[CPM_MAX_PLACES][CPM_PLACE_BYTES];
	uint32_t name; /* for another_place; 0: it is not kept */
};

/* A request inside of a dialog of ours. Borrowed during the call of session_request. The host adds Via,
 * Max-Forwards and Content-Length. */
struct cpm_dialog_request {
	struct cpm_str method; /* ACK has no outcome, and is sent once; the 2xx to an INVITE are not acknowledged by the host */
	struct cpm_str request_uri;
	struct cpm_str next_hop; /* URI of the next hop */
	struct cpm_str call_id;
	struct cpm_str from; /* without tag */
	struct cpm_str from_tag;
	struct cpm_str to; /* without tag */
	struct cpm_str to_tag;
	uint32_t cseq;
	struct cpm_str headers; /* whole header lines, each ended by CRLF, Route among them; may be empty */
	struct cpm_str body;    /* Content-Type is among the header lines; may be empty */
};

/* What a process has seen that concerns a session. */
enum cpm_seen_kind {
	CPM_SEEN_INVITE = 0,     /* message: what begin_session was given; transaction: the originator's */
	CPM_SEEN_REQUEST = 1,    /* message: a request whose To tag names_session; transaction: where to reply, 0 for ACK */
	CPM_SEEN_CANCEL = 2,     /* transaction: of the INVITE that the originator has cancelled; the CANCEL has its 200 */
	CPM_SEEN_RESPONSE = 3,   /* message: a response whose Call-ID or From tag names_session */
	CPM_SEEN_NO_RESPONSE = 4, /* message: a request of ours as sent; code: how it has ended without response */
	CPM_SEEN_INVITED = 5     /* message: Call-ID of an INVITE that another process has sent; transaction: its own, 0: it
	                          * could not be sent */
};

struct cpm_seen {
	enum cpm_seen_kind kind;
	uint64_t transaction; /* a number of the host's, not 0 */
	int code;
	struct cpm_str message;
};

/* What an operator's script is told of by session_event. */
enum cpm_session_event {
	CPM_SESSION_RECIPIENT_DELIVERED = 0, /* a recipient has the message */
	CPM_SESSION_RECIPIENT_FAILED = 1,    /* a recipient finally failed */
	CPM_SESSION_END = 2                  /* the session is over */
};

/* What an operator asks of the sessions. */
enum cpm_question {
	CPM_ASK_SESSIONS = 0, /* all of them: a line each */
	CPM_ASK_SESSION = 1,  /* one: its line, and one for each leg, which begins with "leg=" */
	CPM_ASK_END = 2,      /* end one */
	CPM_ASK_RELAY = 3     /* what the MSRP relay holds, in a line */
};

/* What there is at the moment. */
struct cpm_gauges {
	uint64_t sessions;
	uint64_t connections; /* MSRP */
	uint64_t memory;      /* bytes of content */
	uint64_t spool;       /* bytes of content in files */
	uint64_t held_back;   /* sessions whose sender is not read from, since recipients are behind */
};

/* How an outgoing request ended. */
struct cpm_outcome {
	int code;               /* final status code; 408 when nobody answered */
	uint64_t attempt;       /* from struct cpm_outgoing */
	struct cpm_str request; /* the outgoing request as it was sent */
};

/* What becomes of a recipient after an outcome. */
enum cpm_fate {
	CPM_FATE_NONE = 0,        /* the outcome could not be used, or is of no recipient */
	CPM_FATE_DELIVERED = 1,   /* the recipient has the message */
	CPM_FATE_FAILED = 2,      /* the recipient finally failed */
	CPM_FATE_INTERWORKED = 3  /* the message went on to the Interworking Selection Function */
};

/*
 * What the core needs of its host. The table and what it points to live as long as the service.
 * `context` is the pointer that the host gave to the call into the core during which it is called back.
 */
struct cpm_host {
	uint32_t abi; /* CPM_ABI */

	/* Whether the proxy's log takes lines of this level now. 1: yes, 0: no; they are then not even written. */
	int (*logs)(enum cpm_log_level level);

	/* Writes one line to the proxy's log. The text has no line end. */
	void (*log)(enum cpm_log_level level, struct cpm_str text);

	/* Memory that all processes have in common, at the same address: `size` bytes, zeroed, aligned for 64 bits, from before the
	 * fork to the end of the proxy. NULL: there is none. Called by service_start only. */
	void *(*share)(size_t size);

	/* Adds to a counter. */
	void (*count)(enum cpm_counter counter, uint32_t n);

	/* Asks the operator's own policy whether the originator of `request` may go on.
	 * 1: yes (also when the operator has no such policy), 0: no. */
	int (*authorize)(void *context, struct cpm_request *request);

	/* Hands one request to the transaction layer, which reports its end through cpm_core.outcome. */
	enum cpm_sent (*send)(void *context, const struct cpm_outgoing *outgoing);

	/* Takes the rest of a fan-out, to be worked off in another process with job_new and job_run; the host then
	 * sends the reply of the job and none of the request. 1: taken (copied), 0: not possible, go on here. */
	int (*hand_over)(void *context, struct cpm_str job);

	/* Takes an INVITE that has passed its checks, for the process that has the sessions: the host copies it and keeps the
	 * transaction of the request open, sees to it that it is CPM_SEEN there, and sends no final reply. 1: taken, 0: not
	 * possible now. */
	int (*begin_session)(void *context, struct cpm_str invite);

	/* The calls from here to session_event are made during a call into the core with a struct cpm_sessions only. A
	 * transaction is a number of the host's, not 0, by which it is named later.
	 *
	 * Sends an INVITE, without ACK to its 2xx. Each of its responses is CPM_SEEN, the repeated and forked ones too;
	 * failures the host has acknowledged, and they are seen once. `*transaction` is 0 where another process sends it,
	 * because that may take long: then CPM_SEEN_INVITED tells. */
	enum cpm_sent (*session_invite)(void *context, const struct cpm_outgoing *invite, uint64_t *transaction);

	/* Cancels such an INVITE. */
	void (*session_cancel)(void *context, uint64_t transaction);

	/* Sends a request inside of a dialog; its final response, or that there is none, is CPM_SEEN, and each 2xx to an INVITE. 1,
	 * or 0: not sent. */
	int (*session_request)(void *context, const struct cpm_dialog_request *request);

	/* Replies in the transaction of an INVITE or of a request inside of a dialog. With `keep` the transaction is held, and a
	 * 2xx repeated till its ACK comes, up to session_release, which follows within 40 seconds. 1, or 0: the transaction
	 * is gone. */
	int (*session_reply)(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep);
	void (*session_release)(void *context, uint64_t transaction);

	/* Tells the operator's script. `about` stands for the request that the event is about; it is not sent. */
	void (*session_event)(void *context, enum cpm_session_event event, int code, const struct cpm_outgoing *about);

	/* Reads the document of a group from the proxy's database at `url`. 1: `*document` is it, borrowed until the next
	 * call; 0: the database has no such group; -1: there is no connection to it; -2: it
	 * refused the query. Called by check_group only. */
	int (*group_document)(void *context, struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);

	/* Whether the proxy has loaded the database module of this name (db_mysql, db_sqlite). 1 or 0. Called by service_start
	 * only. */
	int (*has_database)(const char *module);
};

/* What the core offers. */
struct cpm_core {
	uint32_t abi; /* CPM_ABI */

	/* Makes a service with every parameter at its default. NULL: `host` does not fit this ABI. */
	struct cpm_service *(*service_new)(const struct cpm_host *host);

	/* Sets the parameter `name` (a repeatable one: adds a value). 0, or -1 after one log line that says
	 * what is wrong with it. Only before service_start. */
	int (*service_set)(struct cpm_service *service, struct cpm_str name, struct cpm_str value);

	/* Checks the parameters against each other, makes the state directory, and opens the MSRP listeners where there are some.
	 * `own_uri`: where the proxy itself is reached. `user` and `group`: the ids that the proxy changes to afterwards; user 0:
	 * it stays who it is. 0, or -1 after one log line. */
	int (*service_start)(struct cpm_service *service, struct cpm_str own_uri, uint32_t user, uint32_t group);

	/* Describes the parameter with this number; they are numbered from 0. 1, or 0: there are no more. */
	int (*parameter)(size_t number, struct cpm_parameter *parameter);

	/* The value in force of that parameter, of a repeatable one the value with this number. Absent: there is none or no
	 * more. What is secret is not told. The text lives until the next service_set or service_tune. */
	struct cpm_str (*value)(const struct cpm_service *service, size_t number, size_t value_number);

	/* Changes a tunable parameter of a started service, in this process, for requests that are classified from now on.
	 * 0, or -1 after one log line. With `only_try` nothing changes. Not to be called from within another call. */
	int (*service_tune)(struct cpm_service *service, struct cpm_str name, struct cpm_str value, int only_try);

	void (*service_free)(struct cpm_service *service);

	/* Is this request ours? The handle, or NULL: not ours (nothing was changed, nothing was counted). */
	struct cpm_request *(*classify)(const struct cpm_service *service,
			const struct cpm_received *received);

	/* What to reply, without a transaction, to a request of ours that the proxy's own parser refuses, such as one that has a
	 * header field twice that may occur once. 1: see `*unparsed`, which lives until the next call, 0: nothing.
	 * `is_unseen`: the request has just come in. Then only what the proxy drops before any routing script sees it is
	 * refused: a field that occurs twice before From, To, Call-ID and CSeq have all been read. */
	int (*refuse_unparsed)(const struct cpm_service *service, struct cpm_str request, int is_unseen,
			struct cpm_unparsed *unparsed, void *context);

	/* Whether a MESSAGE that classify has not taken is a disposition notification (RFC 5438) to an address of the service, and
	 * goes on to the sender of the message that it is about. `is_asked`: the script wants it so, whatever the parameter `imdn`
	 * says. 1: it goes on as `*forwarding` says, in a transaction, once; of the responses nothing goes back but what a response
	 * consists of (RFC 3261 8.2.6), since the rest may tell who the sender is; 2: it goes no further, see forwarding->reply;
	 * 3: the group that it came to tells the sender in place of its member: see send_receipt; 0: no, and nothing has changed. What `*forwarding` points to lives until the next call. */
	int (*forward_imdn)(const struct cpm_service *service, const struct cpm_received *received, int is_asked,
			struct cpm_forwarding *forwarding, void *context);

	/* After forward_imdn has said 3, and once a transaction absorbs repetitions of the notification: sends the group's own
	 * through host.send. 1: it has been sent; 0: it has not. Either way `*reply` is to be replied, and lives until the
	 * next call. -1: there is none to send. */
	int (*send_receipt)(const struct cpm_service *service, struct cpm_reply *reply, void *context);

	/* Every check of the specification in its order. 1: accepted, 0: refused (see reply), 2: it is for a pre-defined
	 * group, which has to be looked up: see check_group; 3: it has been taken before, and comes again (RFC 3261 17.2.2):
	 * it gets the same reply, or none where there is none (see reply), and nothing else comes of it; -1: failure of our
	 * own, after a log line; reply then is a 500. Calls host.authorize and host.log. Idempotent. */
	int (*check)(struct cpm_request *request, void *context);

	/* Whether the service has pre-defined groups. After service_start. */
	int (*uses_groups)(const struct cpm_service *service);

	/* Opens the group sources, in the process that will ask them. NULL after a log line. */
	struct cpm_groups *(*groups_new)(const struct cpm_service *service);

	/* Goes on with a request for which check said 2, here or (classified again there) in another process:
	 * `originator` is the field of that name in the process where the checks began. Asks the sources, which may take
	 * as long as the parameter group_timeout says for each of them. `now_ms` is monotonic. Without `groups`
	 * it is as if no source could be asked. The result is that of check, never 2. */
	int (*check_group)(struct cpm_request *request, struct cpm_str originator, struct cpm_groups *groups,
			uint64_t now_ms, void *context);

	/* Forgets what is cached. Returns how many groups that were. */
	size_t (*groups_flush)(struct cpm_groups *groups);

	void (*groups_free)(struct cpm_groups *groups);

	/* Sends one request to each recipient through host.send. 1: all is done, see reply; 2: the rest was handed
	 * over, and the job will say the reply; 0: refused, see reply, or the checks have not passed yet; 3: another process
	 * has taken it a moment ago, as check says;
	 * -1: failure of our own, see reply. */
	int (*fan_out)(struct cpm_request *request, void *context);

	/* The reply that the request calls for now. 0, or -1: there is none yet. */
	int (*reply)(const struct cpm_request *request, struct cpm_reply *reply);

	/* A field as text; absent is { NULL, 0 }. The text lives until the next call on the request. */
	struct cpm_str (*field)(const struct cpm_request *request, enum cpm_field field);

	/* How many recipients the request has (each counted once), and the URI of one of them. Before check: 0. */
	size_t (*recipients)(const struct cpm_request *request);
	struct cpm_str (*recipient)(const struct cpm_request *request, size_t index);

	/* The routing script has authenticated the originator by its own means. 0, or -1: not a URI. */
	int (*set_originator)(struct cpm_request *request, struct cpm_str uri);

	void (*request_free)(struct cpm_request *request);

	/* The job that host.hand_over was given, in the process that works it off. NULL: not a job. */
	struct cpm_job *(*job_new)(const struct cpm_service *service, struct cpm_str job);

	/* Sends on until host.send says CPM_SENT_ENOUGH or CPM_SENT_NO_ROOM. 1: all is done, see job_reply; 0: to be
	 * continued, and job_reply says whether the reply is due all the same. With `last` it does not come back for more: what
	 * has no room fails. */
	int (*job_run)(struct cpm_job *job, void *context, int last);

	/* The reply to the request that the job came from, once each recipient has been tried. 0, or -1: there is none yet. */
	int (*job_reply)(const struct cpm_job *job, struct cpm_reply *reply);

	void (*job_free)(struct cpm_job *job);

	/* Where the next hop `uri` is, as far as that is known. Never waits. */
	enum cpm_located (*locate)(const struct cpm_service *service, struct cpm_str uri, struct cpm_places *places);

	/* A request that was sent to the place `tried` of a name was not answered there, or with 503: whether the name has another
	 * one (RFC 3263 4.3). 1: `*again` is the request once more, borrowed until the next call, and `*places` are those that are left;
	 * 0: no. */
	int (*another_place)(const struct cpm_service *service, uint32_t name, struct cpm_str tried, struct cpm_str request,
			struct cpm_outgoing *again, struct cpm_places *places);

	/* Starts to look names up for all processes. NULL after a log line. All signals that the process handles must be blocked
	 * or handled by its one thread. */
	struct cpm_names *(*names_new)(const struct cpm_service *service);

	/* A descriptor that is readable while names_next has something to say. */
	int (*names_fd)(const struct cpm_names *names);

	/* Looks the name of a next hop up that is CPM_LOCATED_LATER. Never waits; names_next tells within some seconds. */
	void (*names_ask)(struct cpm_names *names, struct cpm_str uri, uint64_t ticket);

	/* What one names_ask has come to. 1: see the places, of which there may be none; 0: nothing yet. */
	int (*names_next)(struct cpm_names *names, uint64_t *ticket, struct cpm_places *places);

	/* Whether there is large message mode. After service_start. */
	int (*uses_sessions)(const struct cpm_service *service);

	/* Whether a To tag, or the Call-ID or From tag of a response, is of a session of ours, whichever process has it. It may
	 * be over. */
	int (*names_session)(const struct cpm_service *service, struct cpm_str name);

	/* Starts the MSRP relay, in the process that is to have all sessions: the first that calls it. NULL after a log line. All
	 * signals that the process handles must be blocked or handled by its one thread. */
	struct cpm_sessions *(*sessions_new)(struct cpm_service *service);

	/* A descriptor that is readable while the relay has something to say. */
	int (*sessions_fd)(const struct cpm_sessions *sessions);

	/* Takes what a process has seen. In the order in which one process has seen it. */
	void (*sessions_see)(struct cpm_sessions *sessions, const struct cpm_seen *seen, void *context);

	/* Does a portion of what there is to do. Returns after how many milliseconds it is wanted again if nothing happens
	 * before: 0: at once, -1: not by itself. */
	int (*sessions_work)(struct cpm_sessions *sessions, void *context);

	/* What there is at the moment. */
	void (*sessions_gauges)(const struct cpm_sessions *sessions, struct cpm_gauges *gauges);

	/* Answers an operator: lines of "name=value" with tabs between. `session` names one, where one is asked for. 1, with
	 * `*answer` borrowed until the next call; 0: there is no such session; -1: failure of our own. */
	int (*sessions_ask)(struct cpm_sessions *sessions, enum cpm_question question, struct cpm_str session,
			struct cpm_str *answer, void *context);

	/* Ends all sessions: everybody is told what can be told at once. Takes a second at most. Releases `sessions`. */
	void (*sessions_shut_down)(struct cpm_sessions *sessions, void *context);

	/* An outgoing request has ended. May send the message to the ISF through host.send. */
	enum cpm_fate (*outcome)(const struct cpm_service *service, const struct cpm_outcome *outcome,
			void *context);
};

/* The table of the core, or NULL when the core was built for another ABI. Lives as long as the module. */
const struct cpm_core *cpm_core(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
