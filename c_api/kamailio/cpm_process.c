/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that works off what is too long for a SIP worker: fan-outs to many recipients, to names that resolve
 * slowly, or with more transactions than shared memory holds at a time. Workers hand over through a pipe of pointers
 * to shared memory; the pointers are written atomically, so that no lock is needed.
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

/* One fan-out in shared memory. */
struct handed_over {
	unsigned hash_index; /* of the sender's transaction */
	unsigned label;
	size_t len;
	char job[];
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

int cpm_process_hand_over(void *context, struct cpm_str job)
{
	sip_msg_t *msg = context;
	struct handed_over *block;

	if(msg == NULL || channel[1] < 0 || !cpm_tm_has_room(job.len))
		return 0;
	block = shm_malloc(sizeof(*block) + job.len);
	if(block == NULL)
		return 0;
	block->len = job.len;
	memcpy(block->job, job.s, job.len);
	if(cpm_tm_leave_open(msg, &block->hash_index, &block->label) == 0
			&& write(channel[1], &block, sizeof(block)) == sizeof(block))
		return 1;
	/* The transaction may stay open: this worker goes on and replies in it. */
	shm_free(block);
	return 0;
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

/* Takes what workers have handed over, as far as there is place. Returns how many jobs there are. */
static int take(struct job *jobs, int n)
{
	struct handed_over *block;
	struct cpm_str text;

	while(n < MAX_JOBS && read(channel[0], &block, sizeof(block)) == sizeof(block)) {
		text.s = block->job;
		text.len = block->len;
		jobs[n].job = cpm_core_api->job_new(cpm_service, text);
		jobs[n].hash_index = block->hash_index;
		jobs[n].label = block->label;
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
