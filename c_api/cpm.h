/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpm.h - the one contract between the Controlling Function core (Rust) and the proxy that hosts it
 * (C).
 *
 * What the core offers stands in struct cpm_core, what it needs of its host in struct cpm_host. The
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
 *   Replies    What is taken must be answered: a request whose transaction the core has opened or
 *              kept open gets its reply from the core, in whichever process, also where it is given
 *              up. Only where a process dies or memory is lost does nobody reply; then keep_open
 *              says when the host ends the transaction by itself. A host whose transactions do not
 *              end by themselves has to see to that.
 *   Threads    A process may call the core from one thread only, the one that may also call the
 *              proxy. The core calls the host back on that thread only, and only during a call into
 *              the core. Threads of the core's own exist in processes that have called mailbox_new,
 *              and never call the host.
 *   Panics     No call unwinds into C. A panic inside the core is caught, logged at
 *              CPM_LOG_CRITICAL and becomes the failure value of the function that was called.
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
#define CPM_ABI 9u

/* As many bytes of a Call-ID are logged. */
#define CPM_MAX_LOGGED_CALL_ID 128

/* Most group sources, each of which may be a database. */
#define CPM_MAX_GROUP_SOURCES 8

/* Borrowed bytes. */
struct cpm_str {
	const char *s;
	size_t len;
};

/* The Controlling Function as the operator configured it. Owned by the host. */
struct cpm_service;

/* One received request that is ours, from classify or handle until request_free. Owned by the
 * host. */
struct cpm_request;

/* A process of the core's own: what was posted to it, and what it is working on. Owned by that
 * process. */
struct cpm_mailbox;

/* A parameter of the service. Its texts live as long as the module. */
struct cpm_parameter {
	struct cpm_str name;
	/* what it says, in a few words */
	struct cpm_str help;
	/* which values it takes, with range and unit, such as "number, 1 to 150 seconds" */
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

/* A counter, a gauge or an event: what an operator is told of. Its texts live as long as the
 * module. */
struct cpm_row {
	struct cpm_str name;
	struct cpm_str help; /* what it is, in a few words */
};

/* A request as the proxy received it. */
struct cpm_received {
	/* the whole request: start line, header fields, body */
	struct cpm_str message;
	/* the Request-URI in force (the routing script may have rewritten it) */
	struct cpm_str request_uri;
	/* the IP address it came from, as text, IPv6 without brackets */
	struct cpm_str source_address;
	/* of its To; absent where it has none. Only handle looks at it */
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

/* How a received disposition notification goes on: as a proxy's request does, everything that is
 * not named here as received. */
struct cpm_forwarding {
	/* in place of the received one */
	struct cpm_str request_uri;
	/* names of the header fields that are not passed on, separated by commas */
	struct cpm_str dropped;
	/* header lines to add, each ended by CRLF */
	struct cpm_str headers;
};

/* A request that the proxy's own parser refuses, and the reply to it. */
struct cpm_unparsed {
	/* only what a reply repeats (RFC 3261 8.2.6.2), to be read in its place */
	struct cpm_str request;
	struct cpm_reply reply;
};

/* What a routing script may ask of a request. */
enum cpm_field {
	/* exploder, adhoc, group */
	CPM_FIELD_KIND = 0,
	/* pager, large */
	CPM_FIELD_MODE = 1,
	/* authenticated originator's CPM Address; absent when nobody vouches for one */
	CPM_FIELD_ORIGINATOR = 2,
	CPM_FIELD_CONVERSATION_ID = 3,
	CPM_FIELD_CONTRIBUTION_ID = 4,
	/* text of the Warning of a refusal */
	CPM_FIELD_WARNING = 5,
	/* name of the session, in large message mode */
	CPM_FIELD_SESSION = 6,
	CPM_FIELDS = 7
};

/* What a function of the routing script comes to; both proxies give these numbers to a script. */
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
	/* its display name, as it stands there, quotes included; may be empty */
	struct cpm_str display;
	/* its URI, without the brackets */
	struct cpm_str uri;
};

/* What the host gives back in struct cpm_outcome, as it was. That of a copy of a message has an odd
 * first word, and a second one of 0 unless a name was looked up: a host may keep it where it would
 * keep a pointer. */
struct cpm_token {
	uint64_t words[2];
};

/* A request for the host to send. Borrowed during the call. The host adds Via and
 * Content-Length. */
struct cpm_outgoing {
	struct cpm_str method;
	struct cpm_str request_uri;
	struct cpm_address from;
	struct cpm_str from_tag;
	struct cpm_address to;
	/* absent: the request is outside of a dialog */
	struct cpm_str to_tag;
	struct cpm_str call_id;
	uint32_t cseq;
	uint32_t max_forwards;
	/* All further header lines, each ended by CRLF; User-Agent, Content-Type and Route are among
	 * them. */
	struct cpm_str headers;
	/* The same behind the line "Max-Forwards: <max_forwards>", for a host that writes none
	 * itself. */
	struct cpm_str headers_with_max_forwards;
	struct cpm_str body;
	/* what recipient_request has said; 0: the host chooses */
	uint64_t socket;
	struct cpm_token token;
	/* About the received request, which may be gone by now: its fields, and how many recipients
	 * it has in all. Absent, and 0, for a copy to the ISF after a failure and for a notification
	 * to the sender. */
	struct cpm_str fields[CPM_FIELDS];
	size_t recipients;
};

/* What became of an outgoing request. */
enum cpm_sent {
	CPM_SENT_FAILED = -1, /* it could not be sent; no outcome follows */
	CPM_SENT_DROPPED = 0, /* the operator's script dropped it; no outcome follows */
	CPM_SENT = 1          /* the transaction layer has it; its outcome follows, but for an ACK */
};

/* Whether a request can go a way. */
enum cpm_way {
	/* the proxy cannot send there: it has no such transport, or no IPv6 */
	CPM_WAY_NONE = 0,
	CPM_WAY_CLEAR = 1,
	/* the connection there has no room for it now; a host that cannot tell never says so */
	CPM_WAY_FULL = 2,
	/* it is too long for a datagram (RFC 3261 18.1.1) */
	CPM_WAY_TOO_LONG = 3
};

/* What an operator's script has made of an outgoing request. */
enum cpm_routed {
	CPM_ROUTED_FAILED = -1,
	CPM_ROUTED_DROPPED = 0,
	CPM_ROUTED = 1 /* see struct cpm_changed */
};

struct cpm_changed {
	/* the whole request as it is now */
	struct cpm_str text;
	/* absent: as it was */
	struct cpm_str request_uri;
	/* absent: as it was */
	struct cpm_str next_hop;
	/* a number of the host's, the same in all processes; 0: the host chooses */
	uint64_t socket;
};

/* The events that are asked for by functions of their own. All of them: see cpm_core.event. */
enum cpm_event {
	CPM_EVENT_AUTHORIZE = 0,        /* see authorize */
	CPM_EVENT_RECIPIENT_REQUEST = 1 /* see recipient_request */
};

/* The transaction of a received request. */
enum cpm_opened {
	/* there is none to be had, after a log line */
	CPM_OPENED_NOT = -1,
	/* the request is a retransmission, or the proxy has answered it: nothing is left to do */
	CPM_OPENED_ABSORBED = 0,
	CPM_OPENED = 1
};

/* The processes of the core's own. */
enum cpm_process {
	CPM_PROCESS_FAN_OUT = 0,  /* sends what a SIP worker has no time for */
	CPM_PROCESS_GROUPS = 1,   /* look pre-defined groups up, which may take long */
	CPM_PROCESS_SESSIONS = 2, /* has all large message sessions */
	CPM_PROCESSES = 3
};

/* How many there are of them, and what they need. */
struct cpm_process_plan {
	/* for the proxy's list of processes; NUL-terminated, as long as the module */
	const char *title;
	/* 0: there is none */
	unsigned count;
	/* entries that may wait for it in the queue; a host may keep fewer */
	size_t pending;
	/* how long mailbox_stop may take when the proxy ends; 0: it need not be called */
	unsigned stop_seconds;
};

/* What an operator asks. */
enum cpm_query {
	/* all large message sessions: a record each */
	CPM_QUERY_SESSIONS = 0,
	/* one, whose name is the argument: its record, and a part for each leg */
	CPM_QUERY_SESSION = 1,
	/* end one, whose name is the argument */
	CPM_QUERY_END = 2,
	/* what the MSRP relay holds: a record */
	CPM_QUERY_RELAY = 3,
	/* what is outstanding in the express lane: a record for each message */
	CPM_QUERY_EXPRESS = 5,
	/* read each pre-defined group again when it is next sent to */
	CPM_QUERY_FORGET_GROUPS = 4
};

enum cpm_query_result {
	CPM_QUERY_ANSWERED = 0,
	CPM_QUERY_UNKNOWN = 1, /* there is nothing of that name */
	CPM_QUERY_OFF = 2,     /* the service does not do what is asked about */
	CPM_QUERY_NO_ANSWER = 3 /* the process that knows is busy */
};

/* Who takes an answer: records of fields. Each function gets the `to` of query. 0: go on, -1:
 * stop. */
struct cpm_answer_visitor {
	/* a record begins */
	int (*record)(void *to);
	/* a part of the record before begins */
	int (*part)(void *to);
	/* a field; the name ends with NUL */
	int (*text)(void *to, const char *name, struct cpm_str value);
	int (*number)(void *to, const char *name, uint64_t value);
};

/* How an outgoing request ended. */
struct cpm_outcome {
	/* final status code; 408 when nobody answered */
	int code;
	/* 1: it was cancelled before */
	int is_cancelled;
	/* from struct cpm_outgoing */
	struct cpm_token token;
	/* as it was sent */
	struct cpm_str request;
	/* absent: there was none */
	struct cpm_str response;
	/* phrase of the response; may be absent */
	struct cpm_str reason;
	/* where it was sent: sip:<address>:<port>;transport=<udp, tcp or tls>. Wanted for codes from
	 * 300 on */
	struct cpm_str place;
};

/* An IP address with a port. */
struct cpm_express_address {
	unsigned char ip[16];
	unsigned len; /* 4 or 16 */
	unsigned port;
};

/* Bytes of a branch of the express lane. */
#define CPM_EXPRESS_BRANCH_BYTES 34

/* The way of a copy in the express lane: past the transaction layer, by a socket of the proxy's. */
struct cpm_express_way {
	int is_reliable; /* 1: over TCP, 0: over UDP */
	uint64_t socket; /* a number of the host's, the same in all processes */
	struct cpm_express_address to;
	/* the Via line that the proxy writes there, up to the value of its branch */
	struct cpm_str via_before;
	struct cpm_str via_behind; /* what follows that, with the line end */
	/* As the host's own transactions have them: RFC 3261 17.1.2.2. */
	uint32_t t1_ms;
	uint32_t t2_ms;
	uint32_t f_ms;
	uint32_t max_datagram_bytes; /* what is longer goes over TCP */
};

/* A copy that is to be sent as it is: its head, and the tail of its batch. */
struct cpm_express_copy {
	struct cpm_str head;
	struct cpm_express_address to;
};

/* Copies that leave by one socket. Neighbours to one place are of one length where that costs
 * little. */
struct cpm_express_batch {
	int is_reliable;
	uint64_t socket;
	struct cpm_str tail;
	const struct cpm_express_copy *copies;
	size_t n;
};

/* What became of a response. */
enum cpm_express_result {
	CPM_EXPRESS_NOT_OURS = 0,    /* it is the proxy's */
	CPM_EXPRESS_OURS = 1,        /* it is dealt with */
	/* the same, and many more are on their way: it pays to let them gather */
	CPM_EXPRESS_OURS_OF_MANY = 2
};

/*
 * What the core needs of its host. The table and what it points to live as long as the service.
 * `context` is the pointer that the host gave to the call into the core during which it is called
 * back: it stands for the received request, and is NULL where another process works on it.
 *
 * A transaction is a number of the host's, not 0 and the same in all processes.
 */
struct cpm_host {
	uint32_t abi; /* CPM_ABI */

	/* Bytes of the proxy's shared memory that a transaction takes beside its request. */
	size_t transaction_bytes;

	/* Whether the proxy's log takes lines of this level now. 1: yes, 0: no; they are then not
	 * even written. */
	int (*logs)(enum cpm_log_level level);

	/* Writes one line to the proxy's log. The text has no line end. */
	void (*log)(enum cpm_log_level level, struct cpm_str text);

	/* Memory that all processes have in common, at the same address: `size` bytes, zeroed,
	 * aligned for 64 bits, from before the fork to the end of the proxy. NULL: there is none.
	 * Called by service_start only. */
	void *(*share)(size_t size);

	/* How much of the memory that transactions and posted entries are in is free, and how much
	 * there is in all. */
	size_t (*free_memory)(size_t *total);

	/* Adds to the counter with this number in cpm_core.counter. The host keeps the sum of all
	 * processes. */
	void (*count)(uint32_t counter, uint32_t n);

	/* Copies an entry to that process, to be given to its mailbox_take: in order for one sender,
	 * without ever waiting. 1, or 0: not possible now. */
	int (*post)(enum cpm_process process, struct cpm_str entry);

	/* Received requests. */

	/* The transaction of the received request, made where there is none yet. */
	enum cpm_opened (*open)(void *context, uint64_t *transaction);

	/* Keeps it open for another process to reply, at most so long; an INVITE gets 100. 1, or 0:
	 * not possible. */
	int (*keep_open)(void *context, uint64_t transaction, unsigned milliseconds);

	/* Replies. With `keep` the transaction is held, and a 2xx to an INVITE repeated until its
	 * ACK comes, up to release, which follows within 40 seconds. 1, or 0: it could not be sent,
	 * or the transaction is gone. */
	int (*reply)(void *context, uint64_t transaction, const struct cpm_reply *reply, int keep);
	void (*release)(uint64_t transaction); /* may do nothing where transactions need not be held */

	/* Lets the transaction go without a reply: for a while it absorbs what is repeated. */
	void (*absorb)(void *context);

	/* The received request is a CANCEL: the transaction of its INVITE where that is kept open,
	 * else 0. */
	uint64_t (*cancelled)(void *context);

	/* The received request is an ACK: the repetition of what it acknowledges ends. `of_session`:
	 * it belongs to a session. 1, or 0: the proxy knows no transaction that it belongs to. */
	int (*acknowledged)(void *context, int of_session);

	/* Outgoing requests. */

	/* Whether a request can go to `hop`, a URI with an IP address. Absent: what its length says
	 * before the way is known, CPM_WAY_CLEAR or CPM_WAY_TOO_LONG. */
	enum cpm_way (*way)(const struct cpm_outgoing *outgoing, struct cpm_str hop);

	/* Sends a request to `hop`, a URI with an IP address. An INVITE gets no ACK to its 2xx, and
	 * each of its responses comes to responded, those of 300 and above to ended, acknowledged.
	 * `*transaction` is its own. */
	enum cpm_sent (*send)(const struct cpm_outgoing *outgoing, struct cpm_str hop, uint64_t *transaction);

	/* The way of a MESSAGE to `hop` past the transaction layer. 1, with `*way`, whose texts live as
	 * long as the process; 0: `hop` is no URI with an IP address, the request is too long for its
	 * transport, the connection is full, or something of the proxy's would be missed. */
	int (*express_way)(const struct cpm_outgoing *outgoing, struct cpm_str hop, struct cpm_express_way *way);

	/* Sends copies of the express lane as they are. Returns how many; for the others a connection
	 * has no room. */
	size_t (*express_send)(const struct cpm_express_batch *batch);

	/* Cancels an INVITE. */
	void (*cancel)(uint64_t transaction);

	/* Sends the received request on to `hop`, a URI with an IP address. Of the responses nothing
	 * goes back but what a response consists of (RFC 3261 8.2.6): the rest may tell who the
	 * sender is. 1, or 0: not sent, and answered. */
	int (*forward)(void *context, const struct cpm_forwarding *forwarding, struct cpm_str hop);

	/* The same in two steps, while the name of the hop is looked up: the first names the
	 * transaction, 0: not possible; the second is called by another process. A hop that is
	 * absent is none: it is answered with 478. */
	uint64_t (*suspend)(void *context, const struct cpm_forwarding *forwarding);
	int (*resume)(uint64_t transaction, struct cpm_str request_uri, struct cpm_str hop);
	void (*unsuspend)(uint64_t transaction); /* there is no second step */

	/* The operator's script. */

	/* Asks its policy whether the originator of `request` may go on. 1: yes (also when there is
	 * no such policy), 0: no. */
	int (*authorize)(void *context, struct cpm_request *request);

	/* Whether the script wants to be told of the event with this number in cpm_core.event. 1 or 0; it
	 * does not change. */
	int (*wants)(uint32_t event);

	/* Shows the script an outgoing request, whose text is `text`, followed by a NUL. What
	 * `*changed` points to lives until the next call. */
	enum cpm_routed (*recipient_request)(
			const struct cpm_outgoing *outgoing, struct cpm_str text, struct cpm_changed *changed);

	/* Tells the script of an end. `text`: the request that the event is about, followed by a NUL or as
	 * it was sent. `about`: what is known of the received request, or NULL. `code` 0, `reason` absent:
	 * there is none. */
	void (*event)(uint32_t event, int code, struct cpm_str reason, struct cpm_str text,
			const struct cpm_outgoing *about);

	/* Databases. */

	/* Reads the document of a group from the proxy's database at `url`. 1: `*document` is it,
	 * borrowed until the next call; 0: the database has no such group; -1: there is no
	 * connection to it; -2: it refused the query. Called in the process CPM_PROCESS_GROUPS only. */
	int (*group_document)(struct cpm_str url, struct cpm_str group_uri, struct cpm_str *document);

	/* Whether the proxy has loaded the database module of this name (db_mysql, db_sqlite). 1 or
	 * 0. Called by service_start only. */
	int (*has_database)(const char *module);
};

/* What the core offers. */
struct cpm_core {
	uint32_t abi; /* CPM_ABI */

	/* Makes a service with every parameter at its default. NULL: `host` does not fit this ABI. */
	struct cpm_service *(*service_new)(const struct cpm_host *host);

	/* Sets the parameter `name` (a repeatable one: adds a value). 0, or -1 after one log line
	 * that says what is wrong with it. Only before service_start. */
	int (*service_set)(struct cpm_service *service, struct cpm_str name, struct cpm_str value);

	/* Checks the parameters against each other, makes the state directory, and opens the MSRP
	 * listeners where there are some. `own_uri`: where the proxy itself is reached. `user` and
	 * `group`: the ids that the proxy changes to afterwards; user 0: it stays who it is. 0, or
	 * -1 after one log line. */
	int (*service_start)(struct cpm_service *service, struct cpm_str own_uri, uint32_t user, uint32_t group);

	/* Describes the parameter with this number; they are numbered from 0. 1, or 0: there are no
	 * more. */
	int (*parameter)(size_t number, struct cpm_parameter *parameter);

	/* The value in force of that parameter, of a repeatable one the value with this number.
	 * Absent: there is none or no more. What is secret is not told. The text lives until the
	 * next service_set or service_tune. */
	struct cpm_str (*value)(const struct cpm_service *service, size_t number, size_t value_number);

	/* Changes a tunable parameter of a started service, in all processes: each takes it over at its
	 * next call into the core, for what begins from then on. 0, or -1 after one log line. With
	 * `only_try` nothing changes. Not to be called from within another call. */
	int (*service_tune)(struct cpm_service *service, struct cpm_str name, struct cpm_str value, int only_try);

	void (*service_free)(struct cpm_service *service);

	/* Received requests: the functions of the routing script. */

	/* Handles a received request whole, in the order of the specification: what
	 * belongs to a large message session, classification, checks, fan-out, one reply; or
	 * forwarding of a disposition notification. CPM_SCRIPT_NO: it is not ours, and nothing has
	 * changed. `*request` is what classify would have made, or NULL; it is set before the host
	 * is called back about it. */
	enum cpm_script_result (*handle)(const struct cpm_service *service, const struct cpm_received *received,
			struct cpm_request **request, void *context);

	/* Is this request ours? The handle, or NULL: not ours (nothing was changed, nothing was
	 * counted). */
	struct cpm_request *(*classify)(const struct cpm_service *service, const struct cpm_received *received);

	/* Every check of the specification in its order. CPM_SCRIPT_NO: refused, see answer. Nothing
	 * is replied, but to what has been taken before (RFC 3261 17.2.2). A request to a
	 * pre-defined group goes to another process, which finishes it. Idempotent. */
	enum cpm_script_result (*check)(struct cpm_request *request, void *context);

	/* The checks if need be, a request to each recipient, and the reply. CPM_SCRIPT_NO: it was
	 * refused. What takes too long goes on in another process, which replies. */
	enum cpm_script_result (*fan_out)(struct cpm_request *request, void *context);

	/* Sends the reply that the request calls for. */
	enum cpm_script_result (*reply)(struct cpm_request *request, void *context);

	/* Sends a MESSAGE on that is a disposition notification (RFC 5438) to an address of the
	 * service, whatever the parameter `imdn` says. CPM_SCRIPT_NO: it is none, and nothing has
	 * changed. */
	enum cpm_script_result (*forward_imdn)(
			const struct cpm_service *service, const struct cpm_received *received, void *context);

	/* The reply that the request calls for now. 1: see `*reply`, which lives until the next call
	 * on the request; 0: there is none yet. */
	int (*answer)(const struct cpm_request *request, struct cpm_reply *reply);

	/* A field as text; absent is { NULL, 0 }. The text lives until the next call on the request. */
	struct cpm_str (*field)(const struct cpm_request *request, enum cpm_field field);

	/* How many distinct recipients there are. 0 before check. */
	size_t (*recipients)(const struct cpm_request *request);

	/* The URI of a recipient, counted from 0; absent when there are not so many. */
	struct cpm_str (*recipient)(const struct cpm_request *request, size_t index);

	/* The routing script has authenticated the originator by its own means. Before check only.
	 * 0, or -1: not a URI, or too late. */
	int (*set_originator)(struct cpm_request *request, struct cpm_str uri);

	void (*request_free)(struct cpm_request *request);

	/* What to reply, without a transaction, to a request of ours that the proxy's own parser
	 * refuses, such as one that has a header field twice that may occur once. 1: see
	 * `*unparsed`, which lives until the next call, 0: nothing. `is_unseen`: the request has
	 * just come in. Then only what the proxy drops before any routing script sees it is refused:
	 * a field that occurs twice before From, To, Call-ID and CSeq have all been read. */
	int (*refuse_unparsed)(const struct cpm_service *service, struct cpm_str request, int is_unseen,
			struct cpm_unparsed *unparsed, void *context);

	/* Outgoing requests. */

	/* An outgoing request has ended. May send it again to another place, or the message to the
	 * ISF. */
	void (*ended)(const struct cpm_service *service, const struct cpm_outcome *outcome);

	/* Whether a Call-ID or From tag of ours, or the To tag of a request, names a large message
	 * session. It may be over. */
	int (*is_session_name)(const struct cpm_service *service, struct cpm_str name);

	/* A response below 300 to an INVITE of ours has come in, a repeated or forked one too. */
	void (*responded)(const struct cpm_service *service, struct cpm_str response);

	/* The express lane. */

	/* Whether the service has one. After service_start. */
	int (*uses_express)(const struct cpm_service *service);

	/* A response has come in, over UDP or TCP. Only where express_way has said 1 before, in
	 * whatever process. */
	enum cpm_express_result (*express_heard)(const struct cpm_service *service, struct cpm_str response);

	/* Processes. After service_start. */

	/* How many of them there are. */
	void (*plan)(const struct cpm_service *service, enum cpm_process process, struct cpm_process_plan *plan);

	/* Begins, in that process. NULL after a log line. All signals that the process handles must
	 * be blocked or handled by its one thread. */
	struct cpm_mailbox *(*mailbox_new)(struct cpm_service *service, enum cpm_process process);

	/* A descriptor that is readable while threads of the core's own have something to say; -1:
	 * there are none. */
	int (*mailbox_fd)(const struct cpm_mailbox *mailbox);

	/* Whether it takes another entry now. 1, or 0: it has to work first. */
	int (*mailbox_takes)(const struct cpm_mailbox *mailbox);

	/* Takes an entry that was posted to this process. */
	void (*mailbox_take)(struct cpm_mailbox *mailbox, struct cpm_str entry);

	/* Does the next portion of work. Returns after how many milliseconds it is wanted
	 * again if nothing happens before: 0: at once, -1: not by itself. */
	int (*mailbox_work)(struct cpm_mailbox *mailbox);

	/* The proxy ends: everybody is told what can be told at once. Releases `mailbox`. */
	void (*mailbox_stop)(struct cpm_mailbox *mailbox);

	/* The operator. In any process. */

	/* Describes the counter, gauge or event with this number; they are numbered from 0. 1, or 0: there
	 * are no more. Before service_start too. */
	int (*counter)(size_t number, struct cpm_row *row);
	int (*gauge)(size_t number, struct cpm_row *row);
	int (*event)(size_t number, struct cpm_row *row);

	/* The value of the gauge with this number at the moment. */
	uint64_t (*gauge_value)(const struct cpm_service *service, size_t number);

	/* Asks, and waits for the answer two seconds at most. `visitor` gets it where it is
	 * CPM_QUERY_ANSWERED. */
	enum cpm_query_result (*query)(const struct cpm_service *service, enum cpm_query query, struct cpm_str argument,
			const struct cpm_answer_visitor *visitor, void *to);
};

/* The table of the core, or NULL when the core was built for another ABI. Lives as long as the
 * module. */
const struct cpm_core *cpm_core(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
