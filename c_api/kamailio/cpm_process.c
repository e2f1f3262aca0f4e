/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that works off what is too long for others: fan-outs to many recipients or with more transactions than shared
 * memory holds at a time, and requests whose next hop is a name that has to be looked up (cpm_waiting.c). Others hand over
 * through a pipe of pointers to shared memory; the pointers are written atomically, so that no lock is needed.
 */
/* F_SETPIPE_SZ */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/mem/shm_mem.h"
#include "core/pt.h"

#include "cpm_waiting.h"

/* A sender gives up after 32 s (RFC 3261 timer F). What has found no room by then has failed, and the rest of
 * the time is for the reply. */
#define JOB_SECONDS 25

/* The jobs take turns of this length. */
#define TURN_MS 20

/* Between two looks for room. */
#define WAIT_FOR_ROOM_MS 20

/* Jobs at a time; the pipe holds some thousand more. When that is full too, workers keep what they have. */
#define MAX_JOBS 256

struct job {
	struct cpm_job *job;
	unsigned hash_index; /* of the sender's transaction */
	unsigned label;
	uint64_t deadline_ms;
	int is_answered;
};

static int channel[2] = {-1, -1};

/* Whether this is the process. */
static int is_here;

int cpm_process_init(void)
{
	if(pipe(channel) < 0) {
		LM_ERR("no pipe for the fan-out process: %s\n", strerror(errno));
		return -1;
	}
	/* A full pipe must never block a SIP worker. */
	if(fcntl(channel[1], F_SETFL, O_NONBLOCK) < 0 || fcntl(channel[0], F_SETFL, O_NONBLOCK) < 0
			|| fcntl(channel[1], F_SETPIPE_SZ, CPM_FAN_OUT_PIPE_BYTES) < 0) {
		LM_ERR("the pipe of the fan-out process cannot be set up: %s\n", strerror(errno));
		return -1;
	}
	register_procs(1);
	cfg_register_child(1);
	return 0;
}

/* 1: handed over, 0: there is no memory, or the pipe is full. */
static int hand_over(const struct cpm_waiting *waiting)
{
	size_t size = cpm_waiting_size(waiting);
	struct cpm_waiting *block;

	if(channel[1] < 0 || !cpm_tm_has_room(size))
		return 0;
	block = shm_malloc(size);
	if(block == NULL)
		return 0;
	cpm_waiting_copy(block, waiting);
	if(write(channel[1], &block, sizeof(block)) == sizeof(block))
		return 1;
	shm_free(block);
	return 0;
}

int cpm_process_hand_over(void *context, struct cpm_str job)
{
	sip_msg_t *msg = context;
	struct cpm_waiting waiting;

	if(msg == NULL || channel[1] < 0 || !cpm_tm_has_room(job.len))
		return 0;
	memset(&waiting, 0, sizeof(waiting));
	waiting.kind = CPM_WAITING_JOB;
	waiting.is.job.text = job;
	/* Where this fails, the transaction may stay open: this worker goes on and replies in it. */
	if(cpm_tm_leave_open(msg, &waiting.is.job.hash_index, &waiting.is.job.label) < 0)
		return 0;
	return hand_over(&waiting);
}

int cpm_process_wait(struct cpm_waiting *waiting)
{
	waiting->since_ms = cpm_now_ms();
	return is_here ? cpm_waiting_take(waiting) : hand_over(waiting);
}

int cpm_process_can_wait(const struct cpm_outgoing *outgoing)
{
	return !is_here || cpm_waiting_has_place(outgoing);
}

enum cpm_sent cpm_process_wait_for_name(const struct cpm_outgoing *outgoing, enum cpm_sending sending,
		struct socket_info *socket, struct cpm_str hop)
{
	struct cpm_waiting waiting;

	memset(&waiting, 0, sizeof(waiting));
	waiting.kind = sending == CPM_SENDING_MESSAGE ? CPM_WAITING_MESSAGE : CPM_WAITING_INVITE;
	waiting.hop = hop;
	waiting.is.request.outgoing = *outgoing;
	waiting.is.request.socket = socket;
	if(cpm_process_wait(&waiting))
		return CPM_SENT;
	return is_here ? CPM_SENT_BUSY : CPM_SENT_NO_ROOM;
}

/* Takes what others have handed over, as far as there is place. Returns how many jobs there are. */
static int take(struct job *jobs, int n)
{
	struct cpm_waiting *block;

	while(n < MAX_JOBS && read(channel[0], &block, sizeof(block)) == sizeof(block)) {
		if(block->kind != CPM_WAITING_JOB) {
			if(!cpm_waiting_take(block))
				cpm_waiting_fail(block);
			shm_free(block);
			continue;
		}
		jobs[n].job = cpm_core_api->job_new(cpm_service, block->is.job.text);
		jobs[n].hash_index = block->is.job.hash_index;
		jobs[n].label = block->is.job.label;
		jobs[n].deadline_ms = cpm_now_ms() + JOB_SECONDS * 1000;
		jobs[n].is_answered = 0;
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
		last = cpm_now_ms() >= jobs[i].deadline_ms;
		cpm_tm_begin(TURN_MS);
		cpm_tm_give_up(last);
		done = cpm_core_api->job_run(jobs[i].job, NULL, last);
		cpm_tm_give_up(0);
		/* It does not wait for those whose connection is full. */
		if(done >= 0 && !jobs[i].is_answered && cpm_core_api->job_reply(jobs[i].job, &reply) == 0) {
			cpm_tm_reply_to(jobs[i].hash_index, jobs[i].label, &reply);
			jobs[i].is_answered = 1;
		}
		if(done == 0) {
			if(cpm_tm_budget_spent())
				*waiting = 0;
			jobs[kept++] = jobs[i];
			continue;
		}
		cpm_core_api->job_free(jobs[i].job);
	}
	return kept;
}

static void work(struct cpm_names *names)
{
	static struct job jobs[MAX_JOBS];
	struct pollfd fds[] = {{channel[0], POLLIN, 0}, {cpm_core_api->names_fd(names), POLLIN, 0}};
	int n = 0;
	int jobs_wait = 0;
	int wait_ms = -1;

	for(;;) {
		if(poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms) < 0 && errno != EINTR) {
			LM_CRIT("the fan-out process cannot wait: %s\n", strerror(errno));
			return;
		}
		cfg_update();
		n = run(jobs, take(jobs, n), &jobs_wait);
		cpm_tm_begin(TURN_MS);
		wait_ms = cpm_waiting_work() ? WAIT_FOR_ROOM_MS : -1;
		if(n > 0)
			wait_ms = jobs_wait ? WAIT_FOR_ROOM_MS : 0;
	}
}

int cpm_process_child_init(int rank)
{
	struct cpm_names *names;
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
		if(cfg_child_init() < 0 || (names = cpm_core_api->names_new(cpm_service)) == NULL
				|| cpm_waiting_init(names) < 0)
			_exit(1);
		is_here = 1;
		work(names);
		_exit(1);
	}
	return 0;
}
