/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that works off what is too long for others. For SIP workers: fan-outs to many recipients, to names that
 * resolve slowly, or with more transactions than shared memory holds at a time. For the process of the sessions: requests
 * to names. They hand over through a pipe of pointers to shared memory; the pointers are written atomically, so that no
 * lock is needed.
 */
/* F_SETPIPE_SZ */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/mem/shm_mem.h"
#include "core/pt.h"

#include "cpm_kamailio.h"

/* A sender gives up after 32 s (RFC 3261 timer F). What has found no room by then has failed, and the rest of
 * the time is for the reply. */
#define JOB_SECONDS 25

/* The jobs take turns of this length. */
#define TURN_MS 20

/* Between two looks for room. */
#define WAIT_FOR_ROOM_MS 20

/* Jobs at a time; the pipe holds some hundred more. When that is full too, workers keep what they have. */
#define MAX_JOBS 256

/* How old a request of a session may be when its turn has come. Whoever it is for has been given up soon after. */
#define SESSION_REQUEST_SECONDS 8

enum handed_over_kind { OF_FAN_OUT, OF_INVITE, OF_DIALOG_REQUEST };

/* What was handed over, in shared memory, which all processes see at the same addresses. */
struct handed_over {
	enum handed_over_kind kind;
	time_t since;
	union {
		struct {
			unsigned hash_index; /* of the sender's transaction */
			unsigned label;
			struct cpm_str job;
		} fan_out;
		struct cpm_outgoing invite;
		struct cpm_dialog_request request;
	} is;
	char texts[];
};

struct job {
	struct cpm_job *job;
	unsigned hash_index;
	unsigned label;
	time_t deadline;
};

static int channel[2] = {-1, -1};

int cpm_process_init(void)
{
	if(pipe(channel) < 0) {
		LM_ERR("no pipe for the fan-out process: %s\n", strerror(errno));
		return -1;
	}
	/* A full pipe must never block a SIP worker. */
	if(fcntl(channel[1], F_SETFL, O_NONBLOCK) < 0 || fcntl(channel[0], F_SETFL, O_NONBLOCK) < 0
			|| fcntl(channel[1], F_SETPIPE_SZ, CPM_PIPE_BYTES) < 0) {
		LM_ERR("the pipe of the fan-out process cannot be set up: %s\n", strerror(errno));
		return -1;
	}
	register_procs(1);
	cfg_register_child(1);
	return 0;
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static struct handed_over *block_of(enum handed_over_kind kind, size_t texts)
{
	struct handed_over *block;

	if(channel[1] < 0 || !cpm_tm_has_room(texts))
		return NULL;
	block = shm_malloc(sizeof(*block) + texts);
	if(block == NULL)
		return NULL;
	memset(block, 0, sizeof(*block));
	block->kind = kind;
	block->since = now();
	return block;
}

/* Copies a text behind those before it. */
static void keep(struct cpm_str *text, char **end)
{
	if(text->s == NULL)
		return;
	memcpy(*end, text->s, text->len);
	text->s = *end;
	*end += text->len;
}

/* 1: handed over, 0: the pipe is full. */
static int hand_over(struct handed_over *block)
{
	if(write(channel[1], &block, sizeof(block)) == sizeof(block))
		return 1;
	shm_free(block);
	return 0;
}

int cpm_process_hand_over(void *context, struct cpm_str job)
{
	sip_msg_t *msg = context;
	struct handed_over *block;
	char *end;

	if(msg == NULL || (block = block_of(OF_FAN_OUT, job.len)) == NULL)
		return 0;
	end = block->texts;
	block->is.fan_out.job = job;
	keep(&block->is.fan_out.job, &end);
	/* Where this fails, the transaction may stay open: this worker goes on and replies in it. */
	if(cpm_tm_leave_open(msg, &block->is.fan_out.hash_index, &block->is.fan_out.label) < 0) {
		shm_free(block);
		return 0;
	}
	return hand_over(block);
}

int cpm_process_invite(const struct cpm_outgoing *invite)
{
	struct handed_over *block;
	struct cpm_outgoing *copy;
	size_t size;
	char *end;
	int i;

	size = invite->method.len + invite->request_uri.len + invite->next_hop.len + invite->from.len
		   + invite->from_tag.len + invite->to.len + invite->call_id.len + invite->headers.len + invite->body.len;
	for(i = 0; i < CPM_FIELDS; i++)
		size += invite->fields[i].len;
	block = block_of(OF_INVITE, size);
	if(block == NULL)
		return 0;
	end = block->texts;
	copy = &block->is.invite;
	*copy = *invite;
	keep(&copy->method, &end);
	keep(&copy->request_uri, &end);
	keep(&copy->next_hop, &end);
	keep(&copy->from, &end);
	keep(&copy->from_tag, &end);
	keep(&copy->to, &end);
	keep(&copy->call_id, &end);
	keep(&copy->headers, &end);
	keep(&copy->body, &end);
	for(i = 0; i < CPM_FIELDS; i++)
		keep(&copy->fields[i], &end);
	return hand_over(block);
}

int cpm_process_dialog_request(const struct cpm_dialog_request *request)
{
	struct handed_over *block;
	struct cpm_dialog_request *copy;
	char *end;

	block = block_of(OF_DIALOG_REQUEST,
			request->method.len + request->target.len + request->routes.len + request->call_id.len
					+ request->from.len + request->from_tag.len + request->to.len + request->to_tag.len
					+ request->headers.len + request->body.len);
	if(block == NULL)
		return 0;
	end = block->texts;
	copy = &block->is.request;
	*copy = *request;
	keep(&copy->method, &end);
	keep(&copy->target, &end);
	keep(&copy->routes, &end);
	keep(&copy->call_id, &end);
	keep(&copy->from, &end);
	keep(&copy->from_tag, &end);
	keep(&copy->to, &end);
	keep(&copy->to_tag, &end);
	keep(&copy->headers, &end);
	keep(&copy->body, &end);
	return hand_over(block);
}

/* Sends a request of a session. */
static void send_for_session(struct handed_over *block)
{
	int left_ms = (int)(block->since + SESSION_REQUEST_SECONDS - now()) * 1000;

	if(block->kind == OF_INVITE && left_ms > 0)
		cpm_dialogs_send_invite(&block->is.invite, left_ms);
	else if(block->kind == OF_INVITE)
		cpm_sessions_see(CPM_SEEN_INVITED, 0, 0, block->is.invite.call_id.s, block->is.invite.call_id.len);
	else
		cpm_dialogs_send(&block->is.request);
}

/* Takes what workers have handed over, as far as there is place. Returns how many jobs there are. */
static int take(struct job *jobs, int n)
{
	struct handed_over *block;

	while(n < MAX_JOBS && read(channel[0], &block, sizeof(block)) == sizeof(block)) {
		if(block->kind != OF_FAN_OUT) {
			send_for_session(block);
			shm_free(block);
			continue;
		}
		jobs[n].job = cpm_core_api->job_new(cpm_service, block->is.fan_out.job);
		jobs[n].hash_index = block->is.fan_out.hash_index;
		jobs[n].label = block->is.fan_out.label;
		jobs[n].deadline = now() + JOB_SECONDS;
		shm_free(block);
		if(jobs[n].job != NULL)
			n++;
		else
			LM_CRIT("a handed over fan-out could not be read\n");
	}
	return n;
}

/* One turn for each job. Returns how many are left; `*waiting` says that all of them wait for room. */
static int run(struct job *jobs, int n, int *waiting)
{
	struct cpm_reply reply;
	int i, kept = 0;
	int done, last;

	*waiting = 1;
	for(i = 0; i < n; i++) {
		last = now() >= jobs[i].deadline;
		cpm_tm_begin(TURN_MS);
		cpm_tm_give_up(last);
		done = cpm_core_api->job_run(jobs[i].job, NULL, last);
		cpm_tm_give_up(0);
		if(done == 0) {
			if(cpm_tm_budget_spent())
				*waiting = 0;
			jobs[kept++] = jobs[i];
			continue;
		}
		if(done == 1 && cpm_core_api->job_reply(jobs[i].job, &reply) == 0)
			cpm_tm_reply_to(jobs[i].hash_index, jobs[i].label, &reply);
		cpm_core_api->job_free(jobs[i].job);
	}
	return kept;
}

static void work(void)
{
	static struct job jobs[MAX_JOBS];
	struct pollfd readable = {channel[0], POLLIN, 0};
	int n = 0;
	int waiting = 0;

	for(;;) {
		if(poll(&readable, 1, n == 0 ? -1 : waiting ? WAIT_FOR_ROOM_MS : 0) < 0 && errno != EINTR) {
			LM_CRIT("the fan-out process cannot wait: %s\n", strerror(errno));
			return;
		}
		cfg_update();
		n = run(jobs, take(jobs, n), &waiting);
	}
}

int cpm_process_child_init(int rank)
{
	int pid;

	if(rank != PROC_MAIN)
		return 0;
	/* With a socket to the TCP main process, without which it could not send over TCP. */
	pid = fork_process(PROC_XWORKER, "CPM fan-out", 1);
	if(pid < 0) {
		LM_ERR("the fan-out process could not be started\n");
		return -1;
	}
	if(pid == 0) {
		if(cfg_child_init() < 0)
			_exit(1);
		work();
		_exit(1);
	}
	return 0;
}
