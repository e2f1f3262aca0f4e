/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue is a pipe of pointers to entries in shared memory. Pointers are written atomically, so no
 * lock is needed and the order of each sender is kept. A full pipe never blocks a sender; several
 * processes of one kind read from the same pipe.
 */
/* F_SETPIPE_SZ */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cpm_processes.h"

struct entry {
	size_t len;
	char bytes[];
};

static int queues[CPM_PROCESSES][2] = {{-1, -1}, {-1, -1}, {-1, -1}};

int cpm_process_open(enum cpm_process process, const struct cpm_process_plan *plan)
{
	int *queue = queues[process];

	if(pipe(queue) < 0 || fcntl(queue[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(queue[1], F_SETFL, O_NONBLOCK) < 0) {
		LM_ERR("no pipe for the process \"%s\": %s\n", plan->title, strerror(errno));
		return -1;
	}
	if(fcntl(queue[1], F_SETPIPE_SZ, (int)(plan->pending * sizeof(struct entry *))) < 0)
		LM_WARN("the pipe of the process \"%s\" keeps its usual size: %s\n", plan->title, strerror(errno));
	return 0;
}

int cpm_process_post(enum cpm_process process, struct cpm_str bytes)
{
	struct entry *entry;

	if(queues[process][1] < 0)
		return 0;
	entry = shm_malloc(sizeof(*entry) + bytes.len);
	if(entry == NULL)
		return 0;
	entry->len = bytes.len;
	memcpy(entry->bytes, bytes.s, bytes.len);
	if(write(queues[process][1], &entry, sizeof(entry)) == sizeof(entry))
		return 1;
	shm_free(entry);
	return 0;
}

static void take(struct cpm_mailbox *mailbox, int queue)
{
	struct entry *entry;
	struct cpm_str bytes;

	while(cpm_core_api->mailbox_takes(mailbox) && read(queue, &entry, sizeof(entry)) == sizeof(entry)) {
		bytes.s = entry->bytes;
		bytes.len = entry->len;
		cpm_core_api->mailbox_take(mailbox, bytes);
		shm_free(entry);
	}
}

/* Makes the signals that end the proxy readable, so that peers can be told first: the proxy's own
 * handler would exit at once. -1: not possible. */
static int take_signals(void)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if(sigprocmask(SIG_BLOCK, &ends, NULL) < 0)
		return -1;
	/* A main process that is killed cannot tell its children, and would leave this one running. */
	if(prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return -1;
	return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cpm_process_run(enum cpm_process process, const struct cpm_process_plan *plan)
{
	int signals = plan->stop_seconds > 0 ? take_signals() : -1;
	struct cpm_mailbox *mailbox;
	struct pollfd fds[3];
	int wait_ms = 0;

	if(plan->stop_seconds > 0 && signals < 0) {
		LM_ERR("the process \"%s\" cannot take signals: %s\n", plan->title, strerror(errno));
		return -1;
	}
	mailbox = cpm_core_api->mailbox_new(cpm_service, process);
	if(mailbox == NULL)
		return -1;
	memset(fds, 0, sizeof(fds));
	fds[0].fd = queues[process][0];
	fds[1].fd = cpm_core_api->mailbox_fd(mailbox);
	fds[1].events = POLLIN;
	fds[2].fd = signals;
	fds[2].events = POLLIN;
	for(;;) {
		fds[0].events = cpm_core_api->mailbox_takes(mailbox) ? POLLIN : 0;
		if(poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms) < 0 && errno != EINTR) {
			LM_CRIT("the process \"%s\" cannot wait: %s\n", plan->title, strerror(errno));
			return -1;
		}
		if(fds[2].revents & POLLIN)
			break;
		cpm_proxy_refresh();
		take(mailbox, queues[process][0]);
		wait_ms = cpm_core_api->mailbox_work(mailbox);
	}
	/* The processes that the proxy sends through are ending too: waiting for one of them must not
	 * delay the end of the proxy. */
	signal(SIGALRM, SIG_DFL);
	alarm(plan->stop_seconds);
	cpm_core_api->mailbox_stop(mailbox);
	return 0;
}
