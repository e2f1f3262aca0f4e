/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpm.h - the one contract between the Controlling Function core (Rust) and the proxy that hosts it
 * (C).
 *
 * struct cpm_core is what the core offers, struct cpm_host what it needs of its host. The
 * core exports ONE symbol, cpm_core(); everything else goes through these two tables, so that both
 * compilers check every signature.
 *
 * Rules that hold for all of it
 *   Text       struct cpm_str: bytes and a length, no terminating NUL, borrowed for the duration of
 *              the call unless the field says otherwise. { NULL, 0 } is "absent".
 *   Ownership  Opaque handles are made by a *_new function, classify or handle, and released by the
 *              matching *_free or *_stop function, once, in the process that made them. A handle
 *              must not cross a fork, save the cpm_service, which is made and configured before the
 *              fork and then is each process's own copy.
 *   Replies    Every accepted request is answered: if the core has opened a transaction or kept it
 *              open, the request gets its reply from the core, in some process, even if it is
 *              abandoned. Only if a process dies or memory is lost is there no reply; keep_open
 *              tells the host when to end the transaction by itself. A host whose transactions do
 *              not end by themselves must provide for that.
 *   Threads    A process may call the core from one thread only, the one that may also call the
 *              proxy. The core calls the host back on that thread only, and only during a call into
 *              the core. The core's own threads exist in processes that have called mailbox_new,
 *              and never call the host.
 *   Panics     No call unwinds into C. A panic inside the core is caught, logged at
 *              CPM_LOG_CRITICAL and becomes the failure value of the function that was called.
 *   NULL       A NULL handle is answered with the failure value.
 *   Results    A result with more than two values is an enum. Where it is an int, a function that
 *              answers a question or may find something impossible returns 1 or 0, one that fails
 *              only after a log line 0 or -1, as its description says.
 */
#ifndef CPM_H
#define CPM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a member of any struct below changes. */
#define CPM_ABI 21u

/* Sizes of arrays that a host needs. */

/* The name of a parameter, counter, gauge or event is shorter. */
#define CPM_NAME_BYTES 48
/* File or function of a struct cpm_log_place are shorter, with what a proxy writes around them. */
#define CPM_PLACE_BYTES 128
/* The longest argument of a query. */
#define CPM_QUERY_BYTES 1024
/* A branch of the express lane. */
#define CPM_EXPRESS_BRANCH_BYTES 34

/* Borrowed bytes. */
struct cpm_str {
	const char *s;
	size_t len;
};

/* The Controlling Function as the operator configured it. Owned by the host. */
struct cpm_service;

/* A received request for the Controlling Function, from classify or handle until request_free.
 * Owned by the host. */
struct cpm_request;

/* One of the core's own processes: the entries posted to it, and its work in progress. Owned by
 * that process. */
struct cpm_mailbox;

/* A parameter of the service. Its texts live as long as the module. */
struct cpm_parameter {
	struct cpm_str name;
	/* a short description */
	struct cpm_str help;
	/* its possible values, with range and unit, such as "number, 1 to 150 seconds" */
	struct cpm_str values;
	/* 1: it may have several values */
	int is_repeatable;
	/* 1: its value is a number from min to max; a yes or no is 1 or 0 */
	int is_number;
	/* 1: service_tune can change it; then is_number is 1 too */
	int is_tunable;
	/* 1: service_tune may refuse a number from min to max */
	int is_checked;
	int min;
	int max;
};

/* Severity. Each host maps it to its own levels. */
enum cpm_log_level {
	CPM_LOG_CRITICAL = 1, /* internal error */
	CPM_LOG_ERROR = 2,    /* something that the operator has to fix */
	CPM_LOG_NOTICE = 3,   /* a peer's request was refused, a recipient failed */
	CPM_LOG_DEBUG = 4     /* may name subscribers' addresses */
};

/* The place in the source that a log line comes from. Its texts live as long as the module. */
struct cpm_log_place {
	struct cpm_str file; /* below the folder of the sources */
	struct cpm_str function;
	unsigned line;
};

/* A counter, a gauge or an event, for the operator. Its texts live as long as the module. */
struct cpm_row {
	struct cpm_str name;
	struct cpm_str help; /* a short description */
};

/* A request as the proxy received it. */
struct cpm_received {
	/* the whole request: start line, header fields, body */
	struct cpm_str message;
	/* the Request-URI in force (the routing script may have rewritten it) */
	struct cpm_str request_uri;
	/* the IP address it came from, as text, IPv6 without brackets */
	struct cpm_str source_address;
	/* the tag of its To; absent if it has none. Only handle uses it */
	struct cpm_str to_tag;
};

/* A reply for the host to send. */
struct cpm_reply {
	int code;
	const char *reason;     /* NUL-terminated */
	struct cpm_str headers; /* whole header lines, each ended by CRLF; may be empty */
	struct cpm_str to_tag;  /* for the To of the reply; absent: one of the host's own */
	struct cpm_str body;    /* Content-Type is among the header lines; may be empty */
};

/* How to forward a received disposition notification: as a proxy does; everything not named here
 * stays as received. */
struct cpm_forwarding {
	/* in place of the received one */
	struct cpm_str request_uri;
	/* names of the header fields that are not passed on, separated by commas */
	struct cpm_str dropped;
	/* header lines to add, each ended by CRLF */
	struct cpm_str headers;
};

/* A request that the proxy's own parser rejects, and the reply to it. */
struct cpm_unparsed {
	/* only the fields that a reply copies (RFC 3261 8.2.6.2); parse this instead of the original */
	struct cpm_str request;
	struct cpm_reply reply;
};

/* Fields of a request that a routing script can read. */
enum cpm_field {
	/* exploder, adhoc, group */
	CPM_FIELD_KIND = 0,
	/* pager, large */
	CPM_FIELD_MODE = 1,
	/* authenticated originator's CPM Address; absent if nobody vouches for one */
	CPM_FIELD_ORIGINATOR = 2,
	CPM_FIELD_CONVERSATION_ID = 3,
	CPM_FIELD_CONTRIBUTION_ID = 4,
	/* text of the Warning of a refusal */
	CPM_FIELD_WARNING = 5,
	/* name of the session, in large message mode */
	CPM_FIELD_SESSION = 6,
	/* Message-ID of the CPIM header; absent if there is none, or before it has arrived */
	CPM_FIELD_MESSAGE_ID = 7,
	/* Call-ID of the request */
	CPM_FIELD_CALL_ID = 8,
	/* icid-value of P-Charging-Vector */
	CPM_FIELD_ICID = 9,
	/* the number of those above, which struct cpm_about has too */
	CPM_FIELDS = 10,

	/* reason phrase of the reply that is due; while the script is asked, of its refusal, see set */
	CPM_FIELD_REASON = 10,

	/* Numbers, see number. */

	/* status code of that reply */
	CPM_FIELD_CODE = 11,
	/* Retry-After of the script's refusal, in seconds */
	CPM_FIELD_RETRY_AFTER = 12,
	/* distinct recipients; 0 before check */
	CPM_FIELD_RECIPIENTS = 13,
	/* size of the content for the recipients; absent before check, and for a large message */
	CPM_FIELD_BYTES = 14,
	/* 1: the originator may ask for anonymity, 0: it may not; for a message to a list */
	CPM_FIELD_ALLOW_ANONYMITY = 15,
	/* maximum number of distinct recipients; for a message to a list */
	CPM_FIELD_MAX_RECIPIENTS = 16,
	CPM_REQUEST_FIELDS = 17
};

/* Result of a function of the routing script. One enum for all of them, because the numbers are not
 * the core's own: in both proxies a script function returns a positive number for true, a negative
 * one for false, and 0 ends the script. So a shim passes a result on without knowing which function
 * it is of, and a script tests each function alike. What differs is the question that is answered:
 * each function says what yes and no mean for it. */
enum cpm_script_result {
	CPM_SCRIPT_NO = -1,
	/* the script has nothing more to do with the request: a retransmission, or another process
	 * finishes it */
	CPM_SCRIPT_END = 0,
	CPM_SCRIPT_YES = 1
};

/* Value of From or To. */
struct cpm_address {
	/* as a name-addr without tag; may have other parameters */
	struct cpm_str whole;
	/* its display name as written, including quotes; may be empty */
	struct cpm_str display;
	/* its URI, without the brackets */
	struct cpm_str uri;
};

/* The host returns it unchanged in struct cpm_outcome. That of a copy of a message has an odd first
 * word, and a second one of 0 unless a name was looked up: a host may store it in place of a
 * pointer. */
struct cpm_token {
	uint64_t words[2];
};

/* Data of a received request while its copies are sent, and when they end. Everything is absent or
 * 0 for a notification to the sender, and for a message that is no longer recorded. */
struct cpm_about {
	struct cpm_str fields[CPM_FIELDS];
	/* the total number of recipients; 0: there are no data */
	size_t recipients;
	/* size of the content; 0: unknown */
	uint64_t bytes;
	/* since the request was received */
	uint64_t milliseconds;
};

/* A request for the host to send. Borrowed during the call. The host adds Via and
 * Content-Length. */
struct cpm_outgoing {
	struct cpm_str method;
	struct cpm_str request_uri;
	struct cpm_address from;
	struct cpm_str from_tag;
	struct cpm_address to;
	/* absent: the request is outside a dialog */
	struct cpm_str to_tag;
	struct cpm_str call_id;
	uint32_t cseq;
	uint32_t max_forwards;
	/* All further header lines, each ended by CRLF; User-Agent, Content-Type and Route are among
	 * them. */
	struct cpm_str headers;
	/* The same, preceded by the line "Max-Forwards: <max_forwards>", for a host that writes none
	 * itself. */
	struct cpm_str headers_with_max_forwards;
	struct cpm_str body;
	/* the socket that recipient_request returned; 0: the host chooses */
	uint64_t socket;
	struct cpm_token token;
	/* about the received request, which may no longer exist */
	struct cpm_about about;
};

/* Result of sending a request. */
enum cpm_sent {
	CPM_SENT_FAILED = -1, /* it could not be sent; no outcome follows */
	CPM_SENT_DROPPED = 0, /* the operator's script dropped it; no outcome follows */
	CPM_SENT = 1          /* the transaction layer has it; its outcome follows, except for an ACK */
};

/* Whether a request can be sent to a hop. */
enum cpm_way {
	/* the proxy cannot send there: it lacks the transport, or IPv6 */
	CPM_WAY_NONE = 0,
	CPM_WAY_CLEAR = 1,
	/* the connection currently has no room for it; a host that cannot tell never returns this */
	CPM_WAY_FULL = 2,
	/* it is too long for a datagram (RFC 3261 18.1.1) */
	CPM_WAY_TOO_LONG = 3
};

/* Result of showing an outgoing request to the operator's script. */
enum cpm_routed {
	CPM_ROUTED_FAILED = -1,
	CPM_ROUTED_DROPPED = 0,
	CPM_ROUTED = 1 /* see struct cpm_changed */
};

struct cpm_changed {
	/* the whole request in its current form */
	struct cpm_str text;
	/* absent: unchanged */
	struct cpm_str request_uri;
	/* absent: unchanged */
	struct cpm_str next_hop;
	/* a number of the host's, the same in all processes; 0: the host chooses */
	uint64_t socket;
};

/* The events that have their own functions. For all events see cpm_core.event. */
enum cpm_event {
	CPM_EVENT_AUTHORIZE = 0,        /* see ask */
	CPM_EVENT_CHECKED = 1,          /* see ask */
	CPM_EVENT_RECIPIENT_REQUEST = 2 /* see recipient_request */
};

/* The transaction of a received request. */
enum cpm_opened {
	/* none could be created; logged */
	CPM_OPENED_NOT = -1,
	/* the request is a retransmission, or the proxy has answered it: nothing more to do */
	CPM_OPENED_ABSORBED = 0,
	CPM_OPENED = 1
};

/* The core's own processes. */
enum cpm_process {
	CPM_PROCESS_FAN_OUT = 0,  /* sends requests that would take a SIP worker too long */
	CPM_PROCESS_GROUPS = 1,   /* look up pre-defined groups, which may be slow */
	CPM_PROCESS_SESSIONS = 2, /* has all large message sessions */
	CPM_PROCESSES = 3
};

/* Number and needs of a process. */
struct cpm_process_plan {
	/* for the proxy's list of processes; NUL-terminated, lives as long as the module */
	const char *title;
	/* 0: no such process */
	unsigned count;
	/* entries that may wait in its queue; a host may hold fewer */
	size_t pending;
	/* time limit for mailbox_stop when the proxy ends; 0: it need not be called */
	unsigned stop_seconds;
};

/* Questions of an operator. */
enum cpm_query {
	/* all large message sessions: one record each */
	CPM_QUERY_SESSIONS = 0,
	/* one session, whose name is the argument: its record, and a part for each leg */
	CPM_QUERY_SESSION = 1,
	/* ends the session whose name is the argument */
	CPM_QUERY_END = 2,
	/* the state of the MSRP relay: one record */
	CPM_QUERY_RELAY = 3,
	/* what is outstanding in the express lane: one record for each message */
	CPM_QUERY_EXPRESS = 5,
	/* clears the cache of pre-defined groups */
	CPM_QUERY_FORGET_GROUPS = 4,
	/* accept no new message from now on; with the argument "off": accept them again. A record of what
	 * is under way */
	CPM_QUERY_DRAIN = 6,
	/* the last messages, newest first, then what the store has besides: one record each; the
	 * argument: words that select them, such as
	 * "originator=sip:anne@example.com state=failed most=10 skip=20", or nothing */
	CPM_QUERY_MESSAGES = 7,
	/* the newest message whose Message-ID, Contribution-ID, Call-ID or session is the argument: its
	 * record, and a part for each recipient */
	CPM_QUERY_MESSAGE = 8,
	/* reads the file of parameters and the certificate again, for all processes: a record of what is
	 * in force */
	CPM_QUERY_RELOAD = 9,
	/* sends a message that waits for recipients to them now; the argument: its Message-ID,
	 * Contribution-ID or Call-ID, or the URI of a recipient: all that waits for it. A record of the
	 * number of recipients */
	CPM_QUERY_RETRY = 10,
	/* gives a message up for the recipients that it waits for; the argument: as before */
	CPM_QUERY_EXPIRE = 11,
	/* the recipient whose URI is the argument is available: see recipient_available */
	CPM_QUERY_AVAILABLE = 12
};

enum cpm_query_result {
	CPM_QUERY_ANSWERED = 0,
	CPM_QUERY_UNKNOWN = 1, /* nothing has that name */
	CPM_QUERY_OFF = 2,     /* the service does not have that function */
	CPM_QUERY_NO_ANSWER = 3, /* the process concerned is busy */
	CPM_QUERY_REFUSED = 4   /* it cannot be done; the log says why */
};

/* What an operator is told whose question was not answered. */
struct cpm_fault {
	int code; /* as in HTTP; 0: it was answered */
	const char *text; /* ends with NUL; lives as long as the module */
};

/* Receives an answer: records of fields. Each function gets the `to` of query. 0: continue, -1:
 * stop. */
struct cpm_answer_visitor {
	/* a record begins */
	int (*record)(void *to);
	/* a part of the current record begins */
	int (*part)(void *to);
	/* a field; the name ends with NUL */
	int (*text)(void *to, const char *name, struct cpm_str value);
	int (*number)(void *to, const char *name, uint64_t value);
};

/* How an outgoing request ended. */
struct cpm_outcome {
	/* final status code; 408 if there was no answer */
	int code;
	/* 1: it was cancelled */
	int is_cancelled;
	/* from struct cpm_outgoing */
	struct cpm_token token;
	/* as it was sent */
	struct cpm_str request;
	/* absent: there was none */
	struct cpm_str response;
	/* reason phrase of the response; may be absent */
	struct cpm_str reason;
	/* where it was sent: sip:<address>:<port>;transport=<udp, tcp or tls>. Needed for codes from
	 * 300 on */
	struct cpm_str place;
};

/* Result of reading a group's document from a database. */
enum cpm_document {
	CPM_DOCUMENT_REJECTED = -2,      /* the database rejected the query, or the column is no text */
	CPM_DOCUMENT_NO_CONNECTION = -1, /* the database is not reachable */
	CPM_DOCUMENT_NONE = 0,           /* it has no such group */
	CPM_DOCUMENT_FOUND = 1
};

/* An IP address with a port. */
struct cpm_express_address {
	unsigned char ip[16];
	unsigned len; /* 4 or 16 */
	unsigned port;
};

/* How a copy leaves in the express lane: by a socket of the proxy, past its transaction layer. */
struct cpm_express_way {
	int is_reliable; /* 1: over TCP, 0: over UDP */
	uint64_t socket; /* a number of the host's, the same in all processes */
	struct cpm_express_address to;
	/* the Via line of the proxy, up to the value of its branch */
	struct cpm_str via_before;
	struct cpm_str via_behind; /* the rest of it, with the line end */
	/* the timers of the host's own transactions (RFC 3261 17.1.2.2); 0: the value of its table 4 */
	uint32_t t1_ms;
	uint32_t t2_ms;
	uint32_t f_ms;
	uint32_t max_datagram_bytes; /* longer requests use TCP */
};

/* A copy, to be sent unchanged. */
struct cpm_express_copy {
	struct cpm_str text;
	struct cpm_express_address to;
};

/* Copies that leave by one socket, one behind the other in memory. Neighbours with the same
 * destination have the same length, unless that would cost much. */
struct cpm_express_batch {
	int is_reliable;
	uint64_t socket;
	const struct cpm_express_copy *copies;
	size_t n;
	/* with is_reliable: 1 is written here for each copy whose connection cannot be made; all are 0 */
	uint8_t *lost;
};

/* A response that has arrived. */
struct cpm_express_response {
	struct cpm_str text;
	int is_ours; /* set by express_heard: 1: it is done with, 0: it belongs to the proxy */
};

/*
 * What the core needs of its host. The table and what it points to live as long as the service.
 * `context` is the pointer that the host passed to the call into the core during which it is called
 * back: it stands for the received request, and is NULL if another process works on it.
 *
 * A transaction is a number of the host's, not 0 and the same in all processes.
 */
struct cpm_host {
	uint32_t abi; /* CPM_ABI */

	/* Bytes of the proxy's shared memory that a transaction takes in addition to its request. */
	size_t transaction_bytes;

	/* Whether the proxy's log currently accepts lines of this level. 1: yes, 0: no; then they are
	 * not even formatted. */
	int (*logs)(enum cpm_log_level level);

	/* Writes one line to the proxy's log, as one of the proxy's own that comes from this place. The
	 * text has no line end. */
	void (*log)(enum cpm_log_level level, const struct cpm_log_place *place, struct cpm_str text);

	/* Memory that all processes share, at the same address: `size` bytes, zeroed, aligned for 64
	 * bits, from before the fork until the proxy ends. NULL: not available. Called by service_start
	 * only. */
	void *(*share)(size_t size);

	/* Free size, and total size, of the memory that holds transactions and posted entries. */
	size_t (*free_memory)(size_t *total);

	/* Adds `n` to the counter with this number in cpm_core.counter. The host keeps the sum over all
	 * processes. */
	void (*count)(uint32_t counter, uint32_t n);

	/* That sum. */
	uint64_t (*counted)(uint32_t counter);

	/* Copies an entry to that process, for its mailbox_take: in order for each sender, without
	 * blocking. 1, or 0: currently not possible. */
	int (*post)(enum cpm_process process, struct cpm_str entry);

	/* Received requests. */

	/* The transaction of the received request, created if there is none yet. */
	enum cpm_opened (*open)(void *context, uint64_t *transaction);

	/* Keeps it open for another process to reply, at most for this time; an INVITE gets 100. 1, or
	 * 0: not possible. */
	int (*keep_open)(void *context, uint64_t transaction, unsigned milliseconds);

	/* Replies. With `keep` the transaction is held, and a 2xx to an INVITE is retransmitted until
	 * its ACK arrives, until release, which follows within 40 seconds. 1, or 0: it could not be
	 * sent, or the transaction no longer exists. */
	int (*reply)(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep);
	void (*release)(uint64_t transaction); /* may do nothing if transactions need not be held */

	/* Ends the transaction without a reply: for a while it absorbs retransmissions. */
	void (*absorb)(void *context);

	/* The received request is a CANCEL: the transaction of its INVITE if that is kept open, else
	 * 0. */
	uint64_t (*cancelled)(void *context);

	/* The received request is an ACK: stops retransmission of the response it acknowledges.
	 * `of_session`: it belongs to a session. 1, or 0: the proxy knows no transaction for it. */
	int (*acknowledged)(void *context, int of_session);

	/* Outgoing requests. */

	/* Whether a request can go to `hop`, a URI with an IP address. Absent: decides by length alone,
	 * before the hop is known: CPM_WAY_CLEAR or CPM_WAY_TOO_LONG. */
	enum cpm_way (*way)(const struct cpm_outgoing *outgoing, struct cpm_str hop);

	/* Sends a request to `hop`, a URI with an IP address. The host sends no ACK for a 2xx to an
	 * INVITE. It passes each response to an INVITE to responded, and those of 300 and above,
	 * acknowledged, to ended. `*transaction` is the new transaction. */
	enum cpm_sent (*send)(const struct cpm_outgoing *outgoing, struct cpm_str hop, uint64_t *transaction);

	/* How a MESSAGE to `hop` can leave past the transaction layer. 1, with `*way`, whose texts live
	 * as long as the process; 0: `hop` is not a URI with an IP address, the request is too long for
	 * its transport, the connection is full, or a feature of the proxy would be bypassed. */
	int (*express_way)(const struct cpm_outgoing *outgoing, struct cpm_str hop, struct cpm_express_way *way);

	/* Sends copies of the express lane unchanged. Returns how many, those that are lost included; the
	 * connection has no room for the others. */
	size_t (*express_send)(const struct cpm_express_batch *batch);

	/* Cancels an INVITE. */
	void (*cancel)(uint64_t transaction);

	/* Forwards the received request to `hop`, a URI with an IP address. Only the parts that every
	 * response has (RFC 3261 8.2.6) are passed back: the others may reveal the sender. 1, or 0: not
	 * sent, and answered. */
	int (*forward)(void *context, const struct cpm_forwarding *forwarding, struct cpm_str hop);

	/* The same in two steps, while the name of the hop is looked up: suspend returns the
	 * transaction, 0: not possible; another process calls resume within this time. With `reply`, the
	 * request is answered so, and the other texts are absent. A host whose transactions end by
	 * themselves may choose the time. */
	uint64_t (*suspend)(void *context, const struct cpm_forwarding *forwarding, unsigned milliseconds);
	int (*resume)(uint64_t transaction, struct cpm_str request_uri, struct cpm_str hop, const struct cpm_reply *reply);
	void (*unsuspend)(uint64_t transaction); /* instead of the second step */

	/* The operator's script. */

	/* Asks the script whether `request` may go on: CPM_EVENT_AUTHORIZE, once its originator is known,
	 * CPM_EVENT_CHECKED, after the checks. Meanwhile the script can set its answers (cpm_core.set).
	 * `text`: the request as received, for a process that has no context. Only if it wants the
	 * event. 1: yes, 0: no. */
	int (*ask)(void *context, uint32_t event, struct cpm_request *request, struct cpm_str text);

	/* Whether the script handles the event with this number in cpm_core.event. 1 or 0; it does not
	 * change. */
	int (*wants)(uint32_t event);

	/* Shows the script an outgoing request, whose text is `text`, followed by a NUL. What
	 * `*changed` points to lives until the next call. */
	enum cpm_routed (*recipient_request)(
			const struct cpm_outgoing *outgoing, struct cpm_str text, struct cpm_changed *changed);

	/* Reports an event to the script. `text`: the request concerned, followed by a NUL or as it was
	 * sent. `about`: data of the received request. `code` 0, `reason` absent: there is
	 * none. */
	void (*event)(uint32_t event, int code, struct cpm_str reason, struct cpm_str text,
			const struct cpm_about *about);

	/* Databases. */

	/* Reads the document of a group from the proxy's database at `url` into `*document`, borrowed
	 * until the next call. Called in the process CPM_PROCESS_GROUPS only. */
	enum cpm_document (*group_document)(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);

	/* Whether the proxy has loaded the database module of this name (db_mysql, db_sqlite). 1 or
	 * 0. Called by service_start only. */
	int (*has_database)(const char *module);
};

/* Limits, intervals and thresholds that only a host can apply. The core sets them; its constants
 * say why they have these values. A host needs those that concern its proxy. */
struct cpm_limits {
	/* of a Call-ID, so many bytes are logged */
	size_t logged_call_id_bytes;
	/* how long a 2xx to an INVITE is retransmitted without an ACK */
	unsigned ack_seconds;

	/* A host whose figure of free_memory is rough, or may be in pieces too small for a request, finds
	 * out exactly while less than this part of the total is free. */
	unsigned scarce_memory_percent;
	/* how long a host that has found no piece large enough does not try again */
	unsigned memory_retry_ms;
	/* a connection is full for requests that can wait when this part of the queue is used, if the
	 * proxy drops a connection whose queue overflows, and cannot say how much it still takes */
	unsigned queue_percent;

	/* The express lane. */

	/* copies for one place of which the kernel is given one long datagram to cut; fewer are sent one
	 * by one */
	size_t express_min_segmented;
	/* most bytes of copies that are written to a connection at once */
	size_t express_piece_bytes;
	/* how long it is worth waiting for further responses if many are expected */
	unsigned express_gather_us;
	/* how long other processes leave the socket to one that waits for them */
	unsigned express_leave_us;
	/* most datagrams taken by one system call then */
	size_t express_gather_datagrams;
};

/* What the core offers. */
struct cpm_core {
	uint32_t abi; /* CPM_ABI */

	struct cpm_limits limits;

	/* Makes a service with every parameter at its default. NULL: `host` has another ABI. */
	struct cpm_service *(*service_new)(const struct cpm_host *host);

	/* Sets the parameter `name` (adds a value to a repeatable one). 0, or -1 after one log line
	 * that names the error. Only before service_start. */
	int (*service_set)(struct cpm_service *service, struct cpm_str name, struct cpm_str value);

	/* Checks the parameters against each other, creates the state directory, and opens the MSRP
	 * listeners if there are any. `own_uri`: the proxy's own address. `user` and `group`: the ids
	 * that the proxy changes to afterwards; user 0: it keeps its user. 0, or -1 after one log
	 * line. */
	int (*service_start)(struct cpm_service *service, struct cpm_str own_uri, uint32_t user, uint32_t group);

	/* Describes the parameter with this number, from 0. 1, or 0: no such number. */
	int (*parameter)(size_t number, struct cpm_parameter *parameter);

	/* The value in force of that parameter; of a repeatable one, the value with this number.
	 * Absent: there is none or no more. Secrets are not shown. The text lives until the next
	 * service_set or service_tune. */
	struct cpm_str (*value)(const struct cpm_service *service, size_t number, size_t value_number);

	/* Changes a tunable parameter of a started service, in all processes: each applies it at its
	 * next call into the core, for work that begins from then on. 0, or -1 after one log line. With
	 * `only_try` nothing changes. Must not be called from within another call. */
	int (*service_tune)(struct cpm_service *service, struct cpm_str name, struct cpm_str value, int only_try);

	void (*service_free)(struct cpm_service *service);

	/* Received requests: the functions of the routing script. */

	/* Handles a received request completely, in the order of the specification: requests of a large
	 * message session, classification, checks, fan-out, one reply; or forwarding of a disposition
	 * notification. CPM_SCRIPT_YES: handled, also if it was refused, or if another process sends
	 * the rest and replies; CPM_SCRIPT_NO: it is not for the Controlling Function, and nothing has
	 * changed; CPM_SCRIPT_END: a retransmission, or another process looks up its group and finishes
	 * it. `*request` is what classify would have returned, or NULL; it is set before the host is
	 * called back about it. */
	enum cpm_script_result (*handle)(const struct cpm_service *service, const struct cpm_received *received,
			struct cpm_request **request, void *context);

	/* Whether this request is for the Controlling Function: its handle, or NULL: it is not (nothing
	 * was changed, nothing was counted). */
	struct cpm_request *(*classify)(const struct cpm_service *service, const struct cpm_received *received);

	/* Runs every check of the specification in order. CPM_SCRIPT_YES: it passed; CPM_SCRIPT_NO:
	 * refused, see answer; CPM_SCRIPT_END: a retransmission, a request accepted before, which gets
	 * its reply again (RFC 3261 17.2.2), or one to a pre-defined group, which another process looks
	 * up and finishes. Sends no other reply. Idempotent. */
	enum cpm_script_result (*check)(struct cpm_request *request, void *context);

	/* Runs the checks if they have not run, sends a request to each recipient, and replies.
	 * CPM_SCRIPT_YES: done, or another process sends the rest and replies; CPM_SCRIPT_NO: it was
	 * refused, or could not be sent to anybody, and got its reply; CPM_SCRIPT_END: as for check. */
	enum cpm_script_result (*fan_out)(struct cpm_request *request, void *context);

	/* Sends the reply that is due. CPM_SCRIPT_YES: sent; CPM_SCRIPT_NO: none is due, or it could not
	 * be sent; CPM_SCRIPT_END: a retransmission. */
	enum cpm_script_result (*reply)(struct cpm_request *request, void *context);

	/* Forwards a MESSAGE that is a disposition notification (RFC 5438) to an address of the
	 * service, regardless of the parameter `imdn`. CPM_SCRIPT_YES: forwarded, or answered if that is
	 * not possible; CPM_SCRIPT_NO: it is not one, and nothing has changed; CPM_SCRIPT_END: a
	 * retransmission. */
	enum cpm_script_result (*forward_imdn)(
			const struct cpm_service *service, const struct cpm_received *received, void *context);

	/* The reply that is now due. 1: in `*reply`, which lives until the next call on the request; 0:
	 * none yet. */
	int (*answer)(const struct cpm_request *request, struct cpm_reply *reply);

	/* A field as text; absent is { NULL, 0 }, as is a number. The text lives until the next call on
	 * the request. */
	struct cpm_str (*field)(const struct cpm_request *request, enum cpm_field field);

	/* A field that is a number; -1: absent, or a text. */
	int64_t (*number)(const struct cpm_request *request, enum cpm_field field);

	/* The URI of a recipient, counted from 0; absent if there are fewer. */
	struct cpm_str (*recipient)(const struct cpm_request *request, size_t index);

	/* Sets a field, given as text, for the routing script. ORIGINATOR, which it has authenticated
	 * itself: before check. ALLOW_ANONYMITY and MAX_RECIPIENTS, the policy for the originator: before
	 * check, and while CPM_EVENT_AUTHORIZE is asked. CODE (300 to 699), REASON and RETRY_AFTER, of the
	 * refusal if the answer is no: while either event is asked; the default is 403 with Warning 127.
	 * 0, or -1 after one log line: not a value, or not now. */
	int (*set)(struct cpm_request *request, enum cpm_field field, struct cpm_str value);

	void (*request_free)(struct cpm_request *request);

	/* The reply, without a transaction, to a request for the Controlling Function that the proxy's
	 * own parser rejects, such as one in which a header field that may occur once occurs twice. 1:
	 * in `*unparsed`, which lives until the next call, 0: none. `is_unseen`: the request has just
	 * arrived. Then only requests that the proxy drops before any routing script sees them are
	 * refused: those in which a field occurs twice before From, To, Call-ID and CSeq have all been
	 * read. */
	int (*refuse_unparsed)(const struct cpm_service *service, struct cpm_str request, int is_unseen,
			struct cpm_unparsed *unparsed, void *context);

	/* Outgoing requests. */

	/* An outgoing request has ended. May send it again to another hop, or the message to the
	 * ISF. */
	void (*ended)(const struct cpm_service *service, const struct cpm_outcome *outcome);

	/* Whether a Call-ID or From tag of the core's, or the To tag of a request, names a large
	 * message session. It may have ended. */
	int (*is_session_name)(const struct cpm_service *service, struct cpm_str name);

	/* A response below 300 to an INVITE of the core's has arrived, also a retransmitted or forked
	 * one; or a 2xx to a MESSAGE, whoever's, for which the host has no transaction. */
	void (*responded)(const struct cpm_service *service, struct cpm_str response);

	/* The express lane. */

	/* Whether the service uses it. After service_start. */
	int (*uses_express)(const struct cpm_service *service);

	/* Responses have arrived, over UDP or TCP; `is_ours` of all is 0. 1: many more are expected, so
	 * that it is worth waiting express_gather_us to take them together. Call this only once
	 * express_way has returned 1 in some process. */
	int (*express_heard)(const struct cpm_service *service, struct cpm_express_response *responses, size_t n);

	/* Recipients that messages wait for. */

	/* A recipient is available: what waits for it is sent in a moment. `address`: its URI, or an
	 * address of record without scheme or host. Takes constant time, and may be called from within
	 * a lock of the host's: it calls nothing back, save for a log line after an internal error. 1,
	 * or 0: no message waits for anybody. */
	int (*recipient_available)(const struct cpm_service *service, struct cpm_str address);

	/* Whether the host's own registrar is to call recipient_available for each contact that is new or
	 * refreshed. After service_start. */
	int (*hears_registrar)(const struct cpm_service *service);

	/* Processes. After service_start. */

	/* Number and needs of this process. */
	void (*plan)(const struct cpm_service *service, enum cpm_process process, struct cpm_process_plan *plan);

	/* Starts work, in that process. NULL after a log line. All signals that the process handles
	 * must be blocked or handled by its one thread. */
	struct cpm_mailbox *(*mailbox_new)(struct cpm_service *service, enum cpm_process process);

	/* A descriptor that is readable while the core's own threads have results; -1: there are
	 * none. */
	int (*mailbox_fd)(const struct cpm_mailbox *mailbox);

	/* Whether it can take another entry now. 1, or 0: it has to work first. */
	int (*mailbox_takes)(const struct cpm_mailbox *mailbox);

	/* Takes an entry that was posted to this process. */
	void (*mailbox_take)(struct cpm_mailbox *mailbox, struct cpm_str entry);

	/* Does the next portion of work. Returns in how many milliseconds to call it again if nothing
	 * happens before: 0: at once, -1: only after an event. */
	int (*mailbox_work)(struct cpm_mailbox *mailbox);

	/* The proxy ends: sends what can be sent to peers at once. Releases `mailbox`. */
	void (*mailbox_stop)(struct cpm_mailbox *mailbox);

	/* The operator. In any process. */

	/* Describes the counter, gauge or event with this number, from 0. 1, or 0: no such number. Also
	 * before service_start. */
	int (*counter)(size_t number, struct cpm_row *row);
	int (*gauge)(size_t number, struct cpm_row *row);
	int (*event)(size_t number, struct cpm_row *row);

	/* The current value of the gauge with this number. */
	uint64_t (*gauge_value)(const struct cpm_service *service, size_t number);

	/* Counters, gauges and figures of the service for Prometheus, in its text format 0.0.4. The text
	 * lives until the next call of metrics in this process. Absent: the service does not run. */
	struct cpm_str (*metrics)(const struct cpm_service *service);

	/* Asks a question, and waits at most two seconds for the answer, which goes to `visitor` if the
	 * result is CPM_QUERY_ANSWERED. */
	enum cpm_query_result (*query)(const struct cpm_service *service, enum cpm_query query, struct cpm_str argument,
			const struct cpm_answer_visitor *visitor, void *to);

	/* What to tell an operator whose question had this result. */
	struct cpm_fault (*fault)(enum cpm_query query, enum cpm_query_result result);
};

/* The table of the core, or NULL if the core was built for another ABI. Lives as long as the
 * module. */
const struct cpm_core *cpm_core(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
