/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests whose next hop is a name: they wait in the fan-out process until the core has looked it up, each for itself. Where a
 * name is dead, its own requests fail.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/hashes.h"
#include "core/mem/pkg.h"

#include "cpm_tm.h"
#include "cpm_waiting.h"

/* Requests that wait at once, those of one sender, and their texts. */
#define MAX_WAITING 8192
#define MAX_WAITING_OF_ONE (MAX_WAITING / 4)
#define MAX_WAITING_BYTES (64 * 1024 * 1024)

/* Senders share so many counters. */
#define SENDERS 1024

/* How long a request waits for its name and then for room. A sender of a MESSAGE gives up after 32 s, but has its 202; the session
 * of an INVITE gives up soon after this. */
#define MESSAGE_MS 25000
#define SESSION_REQUEST_MS 8000

/* One that waits. It is in the list of those that wait for room, or its ticket is with the core. */
struct place {
	struct cpm_waiting *waiting; /* NULL: free */
	struct cpm_places places;
	int sender;
	int next; /* the next free one, or the next one that waits for room */
};

#define NONE (-1)

static struct place *places;
static int first_free;
static int first_for_room = NONE, last_for_room = NONE;
static size_t bytes;
static unsigned short of_sender[SENDERS];
static struct cpm_names *lookups;

uint64_t cpm_now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Calls `f` for each text. */
static void each_text(struct cpm_waiting *waiting, void (*f)(struct cpm_str *text, void *param), void *param)
{
	struct cpm_outgoing *o = &waiting->is.request.outgoing;
	struct cpm_dialog_request *r = &waiting->is.dialog_request;

	f(&waiting->hop, param);
	switch(waiting->kind) {
		case CPM_WAITING_JOB:
			f(&waiting->is.job.text, param);
			break;
		case CPM_WAITING_MESSAGE:
		case CPM_WAITING_INVITE:
			f(&o->method, param);
			f(&o->request_uri, param);
			f(&o->from, param);
			f(&o->from_tag, param);
			f(&o->to, param);
			f(&o->call_id, param);
			f(&o->headers, param);
			f(&o->body, param);
			break;
		case CPM_WAITING_DIALOG_REQUEST:
			f(&r->method, param);
			f(&r->request_uri, param);
			f(&r->call_id, param);
			f(&r->from, param);
			f(&r->from_tag, param);
			f(&r->to, param);
			f(&r->to_tag, param);
			f(&r->headers, param);
			f(&r->body, param);
			break;
		case CPM_WAITING_FORWARD:
			f(&waiting->is.forward.request_uri, param);
			break;
	}
}

static void add_length(struct cpm_str *text, void *sum)
{
	*(size_t *)sum += text->len;
}

size_t cpm_waiting_size(const struct cpm_waiting *waiting)
{
	size_t size = sizeof(*waiting);

	each_text((struct cpm_waiting *)waiting, add_length, &size);
	return size;
}

static void keep(struct cpm_str *text, void *end)
{
	char **to = end;

	if(text->s == NULL)
		return;
	memcpy(*to, text->s, text->len);
	text->s = *to;
	*to += text->len;
}

void cpm_waiting_copy(struct cpm_waiting *block, const struct cpm_waiting *waiting)
{
	char *end = (char *)(block + 1);

	*block = *waiting;
	if(block->kind == CPM_WAITING_MESSAGE || block->kind == CPM_WAITING_INVITE) {
		/* The hop says where it goes. */
		memset(&block->is.request.outgoing.next_hop, 0, sizeof(struct cpm_str));
		memset(&block->is.request.outgoing.fields, 0, sizeof(block->is.request.outgoing.fields));
	}
	each_text(block, keep, &end);
}

int cpm_waiting_init(struct cpm_names *names)
{
	int i;

	lookups = names;
	places = calloc(MAX_WAITING, sizeof(*places));
	if(places == NULL) {
		LM_ERR("no memory for requests that wait for names\n");
		return -1;
	}
	for(i = 0; i < MAX_WAITING; i++)
		places[i].next = i + 1 < MAX_WAITING ? i + 1 : NONE;
	first_free = 0;
	return 0;
}

static int sender_of(struct cpm_str from)
{
	str text = cpm_to_str(from);

	return (int)(core_hash(&text, NULL, SENDERS));
}

static str call_id_of(const struct cpm_waiting *waiting)
{
	str none = str_init("-");

	switch(waiting->kind) {
		case CPM_WAITING_MESSAGE:
		case CPM_WAITING_INVITE:
			return cpm_to_str(waiting->is.request.outgoing.call_id);
		case CPM_WAITING_DIALOG_REQUEST:
			return cpm_to_str(waiting->is.dialog_request.call_id);
		default:
			return none;
	}
}

static struct cpm_str from_of(const struct cpm_waiting *waiting)
{
	struct cpm_str none = {"", 0};

	switch(waiting->kind) {
		case CPM_WAITING_MESSAGE:
		case CPM_WAITING_INVITE:
			return waiting->is.request.outgoing.from;
		case CPM_WAITING_DIALOG_REQUEST:
			return waiting->is.dialog_request.from;
		default:
			return none;
	}
}

int cpm_waiting_has_place(const struct cpm_outgoing *outgoing)
{
	return first_free != NONE && bytes + outgoing->body.len + outgoing->headers.len < MAX_WAITING_BYTES
		   && of_sender[sender_of(outgoing->from)] < MAX_WAITING_OF_ONE;
}

int cpm_waiting_take(const struct cpm_waiting *waiting)
{
	size_t size = cpm_waiting_size(waiting);
	int sender = sender_of(from_of(waiting));
	struct place *place;
	int number = first_free;

	if(number == NONE || bytes + size > MAX_WAITING_BYTES || of_sender[sender] >= MAX_WAITING_OF_ONE)
		return 0;
	place = &places[number];
	place->waiting = malloc(size);
	if(place->waiting == NULL)
		return 0;
	cpm_waiting_copy(place->waiting, waiting);
	first_free = place->next;
	place->next = NONE;
	place->sender = sender;
	of_sender[sender]++;
	bytes += size;
	cpm_core_api->names_ask(lookups, place->waiting->hop, number);
	return 1;
}

static void leave(int number)
{
	struct place *place = &places[number];

	bytes -= cpm_waiting_size(place->waiting);
	of_sender[place->sender]--;
	free(place->waiting);
	place->waiting = NULL;
	place->next = first_free;
	first_free = number;
}

void cpm_waiting_fail(const struct cpm_waiting *waiting)
{
	static const struct cpm_outcome none;
	const struct cpm_outgoing *outgoing = &waiting->is.request.outgoing;
	struct cpm_outcome outcome = none;
	str reason = str_init("Not Sendable");
	str request;
	enum cpm_fate fate;

	switch(waiting->kind) {
		case CPM_WAITING_JOB:
			break;
		case CPM_WAITING_MESSAGE:
			/* As if it had been answered so (RFC 3261 8.1.3.1). */
			request.s = cpm_route_text(outgoing, &request.len);
			if(request.s == NULL)
				break;
			outcome.code = 503;
			outcome.attempt = outgoing->attempt;
			outcome.request = cpm_of_str(&request);
			fate = cpm_core_api->outcome(cpm_service, &outcome, NULL);
			cpm_route_recipient_outcome(fate, outcome.code, &reason, &request);
			pkg_free(request.s);
			break;
		case CPM_WAITING_INVITE:
			cpm_dialogs_invited(outgoing, 0, 0);
			break;
		case CPM_WAITING_DIALOG_REQUEST:
			cpm_dialogs_unsent(&waiting->is.dialog_request);
			break;
		case CPM_WAITING_FORWARD:
			cpm_forward_on(waiting->is.forward.hash_index, waiting->is.forward.label,
					waiting->is.forward.request_uri, NULL);
			break;
	}
}

/* Sends a request whose places are known. 1: it is done with, 0: there is no room now. */
static int send_one(const struct place *place)
{
	const struct cpm_waiting *waiting = place->waiting;
	unsigned hash_index = 0, label = 0;
	enum cpm_sent sent;

	switch(waiting->kind) {
		case CPM_WAITING_MESSAGE:
		case CPM_WAITING_INVITE:
			sent = cpm_tm_transmit(&waiting->is.request.outgoing,
					waiting->kind == CPM_WAITING_MESSAGE ? CPM_SENDING_MESSAGE : CPM_SENDING_INVITE,
					waiting->is.request.socket, &place->places, 0, &hash_index, &label);
			if(sent == CPM_SENT_NO_ROOM || sent == CPM_SENT_BUSY)
				return 0;
			if(sent == CPM_SENT && waiting->kind == CPM_WAITING_INVITE)
				cpm_dialogs_invited(&waiting->is.request.outgoing, hash_index, label);
			else if(sent != CPM_SENT && !(sent == CPM_SENT_DROPPED && waiting->kind == CPM_WAITING_MESSAGE))
				cpm_waiting_fail(waiting);
			return 1;
		case CPM_WAITING_DIALOG_REQUEST:
			if(!cpm_dialogs_send(&waiting->is.dialog_request, &place->places))
				cpm_waiting_fail(waiting);
			return 1;
		case CPM_WAITING_FORWARD:
			cpm_forward_on(waiting->is.forward.hash_index, waiting->is.forward.label,
					waiting->is.forward.request_uri, &place->places);
			return 1;
		default:
			return 1;
	}
}

static int is_over(const struct cpm_waiting *waiting)
{
	return cpm_now_ms() >= waiting->since_ms
								   + (waiting->kind == CPM_WAITING_MESSAGE ? MESSAGE_MS : SESSION_REQUEST_MS);
}

static void wait_for_room(int number)
{
	places[number].next = NONE;
	if(last_for_room == NONE)
		first_for_room = number;
	else
		places[last_for_room].next = number;
	last_for_room = number;
}

/* One more go: sends it, gives it up, or has it wait on. */
static void try(int number)
{
	struct place *place = &places[number];

	if(place->places.n > 0 && send_one(place)) {
		leave(number);
	} else if(place->places.n == 0 || is_over(place->waiting)) {
		if(place->waiting->kind != CPM_WAITING_FORWARD) /* which says so itself */
			LM_NOTICE("a request could not be sent: %s, callid=%.*s\n",
				place->places.n == 0 ? "the name of its next hop has no address" : "there was no room for it",
				call_id_of(place->waiting).len, call_id_of(place->waiting).s);
		cpm_waiting_fail(place->waiting);
		leave(number);
	} else {
		wait_for_room(number);
	}
}

/* How many names are taken between two looks at what else there is to do. */
#define TRIES 256

int cpm_waiting_work(void)
{
	struct cpm_places found;
	uint64_t ticket;
	int last = last_for_room;
	int number = NONE;
	int i;

	/* Each of those that wait for room once. */
	while(number != last && !cpm_tm_budget_spent()) {
		number = first_for_room;
		first_for_room = places[number].next;
		if(first_for_room == NONE)
			last_for_room = NONE;
		try(number);
	}
	for(i = 0; i < TRIES && !cpm_tm_budget_spent() && cpm_core_api->names_next(lookups, &ticket, &found); i++) {
		if(ticket >= MAX_WAITING || places[ticket].waiting == NULL)
			continue;
		places[ticket].places = found;
		try((int)ticket);
	}
	return first_for_room != NONE;
}
