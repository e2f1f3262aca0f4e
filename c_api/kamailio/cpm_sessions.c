/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that has all large message sessions. Other processes tell it what they have seen through a pipe of pointers
 * to shared memory; the pointers are written atomically, so that no lock is needed and the order of what one process has
 * seen is kept. Its one thread that uses Kamailio is this one; the relay's threads never do.
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

#include "core/atomic_ops.h"
#include "core/cfg/cfg_struct.h"
#include "core/mem/shm_mem.h"
#include "core/pt.h"

#include "cpm_kamailio.h"

/* What the pipe holds: some hundred thousand pointers, the most that a process without privileges may ask for. A fan-out to
 * hundreds is answered by hundreds at once. */
#define PIPE_BYTES (1024 * 1024)

/* What is taken from the pipe before the sessions go on. */
#define SEEN_PER_TURN 256

/* How long everybody in a session may take to be told that the proxy ends. */
#define SHUT_DOWN_SECONDS 2

/* How long an operator's command waits for its answer. */
#define ASK_MS 2000

/* A question in shared memory. Whoever changes `state` last frees it. */
enum { ASKED, ANSWERED, GIVEN_UP };
struct asked {
	atomic_t state;
	enum cpm_question question;
	int result;
	str answer; /* in shared memory */
	size_t session_len;
	char session[64];
};

/* One entry of the pipe: something seen, or a question. */
struct entry {
	struct asked *asked; /* NULL: something seen */
	struct cpm_seen seen;
	char message[];
};

static int channel[2] = {-1, -1};

struct cpm_gauges *cpm_sessions_gauges = NULL;

int cpm_sessions_init(void)
{
	if(!cpm_core_api->uses_sessions(cpm_service))
		return 0;
	/* A full pipe must never block a SIP worker. */
	if(pipe(channel) < 0 || fcntl(channel[1], F_SETFL, O_NONBLOCK) < 0
			|| fcntl(channel[0], F_SETFL, O_NONBLOCK) < 0) {
		LM_ERR("no pipe for the process of the sessions: %s\n", strerror(errno));
		return -1;
	}
	if(fcntl(channel[1], F_SETPIPE_SZ, PIPE_BYTES) < 0)
		LM_WARN("the pipe of the sessions keeps its usual size: %s\n", strerror(errno));
	cpm_sessions_gauges = shm_malloc(sizeof(*cpm_sessions_gauges));
	if(cpm_sessions_gauges == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(cpm_sessions_gauges, 0, sizeof(*cpm_sessions_gauges));
	register_procs(1);
	cfg_register_child(1);
	return 0;
}

int cpm_sessions_see(enum cpm_seen_kind kind, uint64_t transaction, int code, const char *message, size_t len)
{
	struct entry *entry;

	if(channel[1] < 0)
		return -1;
	entry = shm_malloc(sizeof(*entry) + len);
	if(entry == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	memset(entry, 0, sizeof(*entry));
	entry->seen.kind = kind;
	entry->seen.transaction = transaction;
	entry->seen.code = code;
	entry->seen.message.len = len;
	memcpy(entry->message, message, len);
	if(write(channel[1], &entry, sizeof(entry)) == sizeof(entry))
		return 0;
	LM_ERR("the process of the sessions is behind: something it had to see is lost\n");
	shm_free(entry);
	return -1;
}

static void free_asked(struct asked *asked)
{
	if(asked->answer.s != NULL)
		shm_free(asked->answer.s);
	shm_free(asked);
}

int cpm_sessions_ask(enum cpm_question question, const str *session, str *answer)
{
	struct asked *asked;
	struct entry *entry;
	int waited = 0;
	int result;

	memset(answer, 0, sizeof(*answer));
	if(channel[1] < 0 || (session != NULL && session->len >= (int)sizeof(asked->session)))
		return session != NULL && channel[1] >= 0 ? 0 : -1;
	asked = shm_malloc(sizeof(*asked));
	entry = shm_malloc(sizeof(*entry));
	if(asked == NULL || entry == NULL) {
		SHM_MEM_ERROR;
		goto unasked;
	}
	memset(asked, 0, sizeof(*asked));
	memset(entry, 0, sizeof(*entry));
	atomic_set(&asked->state, ASKED);
	asked->question = question;
	if(session != NULL) {
		asked->session_len = session->len;
		memcpy(asked->session, session->s, session->len);
	}
	entry->asked = asked;
	if(write(channel[1], &entry, sizeof(entry)) != sizeof(entry))
		goto unasked;
	while(atomic_get(&asked->state) == ASKED && waited++ < ASK_MS)
		usleep(1000);
	if(atomic_cmpxchg(&asked->state, ASKED, GIVEN_UP) == ASKED)
		return -1; /* the process of the sessions frees it */
	result = asked->result;
	*answer = asked->answer;
	shm_free(asked);
	return result;
unasked:
	if(asked != NULL)
		shm_free(asked);
	if(entry != NULL)
		shm_free(entry);
	return -1;
}

static void answer(struct cpm_sessions *sessions, struct asked *asked)
{
	struct cpm_str session = {asked->session, asked->session_len};
	struct cpm_str text = {NULL, 0};

	asked->result = cpm_core_api->sessions_ask(sessions, asked->question, session, &text, NULL);
	if(asked->result == 1 && text.len > 0) {
		asked->answer.s = shm_malloc(text.len);
		if(asked->answer.s != NULL) {
			memcpy(asked->answer.s, text.s, text.len);
			asked->answer.len = (int)text.len;
		} else {
			SHM_MEM_ERROR;
			asked->result = -1;
		}
	}
	if(atomic_cmpxchg(&asked->state, ASKED, ANSWERED) != ASKED)
		free_asked(asked);
}

/* Takes what others have seen. Returns whether there may be more. */
static int take(struct cpm_sessions *sessions)
{
	struct entry *entries[SEEN_PER_TURN];
	ssize_t n = read(channel[0], entries, sizeof(entries));
	int i, count = n > 0 ? (int)(n / (ssize_t)sizeof(entries[0])) : 0;

	for(i = 0; i < count; i++) {
		if(entries[i]->asked != NULL) {
			answer(sessions, entries[i]->asked);
		} else {
			entries[i]->seen.message.s = entries[i]->message;
			cpm_core_api->sessions_see(sessions, &entries[i]->seen, NULL);
		}
		shm_free(entries[i]);
	}
	return count == SEEN_PER_TURN;
}

/* Only this process writes them, each in one go. */
static void publish(const struct cpm_sessions *sessions)
{
	struct cpm_gauges now;

	cpm_core_api->sessions_gauges(sessions, &now);
	__atomic_store_n(&cpm_sessions_gauges->sessions, now.sessions, __ATOMIC_RELAXED);
	__atomic_store_n(&cpm_sessions_gauges->connections, now.connections, __ATOMIC_RELAXED);
	__atomic_store_n(&cpm_sessions_gauges->memory, now.memory, __ATOMIC_RELAXED);
	__atomic_store_n(&cpm_sessions_gauges->spool, now.spool, __ATOMIC_RELAXED);
	__atomic_store_n(&cpm_sessions_gauges->held_back, now.held_back, __ATOMIC_RELAXED);
}

/* The relay moves on while nothing happens here. */
#define PUBLISH_MS 1000

static void work(struct cpm_sessions *sessions, int signals)
{
	struct pollfd fds[] = {{channel[0], POLLIN, 0}, {cpm_core_api->sessions_fd(sessions), POLLIN, 0},
			{signals, POLLIN, 0}};
	int wait_ms = 0;

	for(;;) {
		if(poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms) < 0 && errno != EINTR) {
			LM_CRIT("the process of the sessions cannot wait: %s\n", strerror(errno));
			return;
		}
		if(fds[2].revents & POLLIN)
			return;
		cfg_update();
		if(take(sessions)) {
			cpm_core_api->sessions_work(sessions, NULL);
			wait_ms = 0;
		} else {
			wait_ms = cpm_core_api->sessions_work(sessions, NULL);
		}
		publish(sessions);
		if(cpm_sessions_gauges->sessions + cpm_sessions_gauges->connections > 0
				&& (wait_ms < 0 || wait_ms > PUBLISH_MS))
			wait_ms = PUBLISH_MS;
	}
}

/* Makes the end of the proxy something to be read, so that everybody can be told first. Kamailio's own handler would leave
 * the process at once. */
static int take_signals(void)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if(sigprocmask(SIG_BLOCK, &ends, NULL) < 0)
		return -1;
	/* Killed without a chance to tell its children, the main process would leave this one behind. */
	if(prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return -1;
	return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cpm_sessions_child_init(int rank)
{
	struct cpm_sessions *sessions;
	int pid, signals;

	if(rank != PROC_MAIN || channel[0] < 0)
		return 0;
	/* With a socket to the TCP main process, without which it could not send over TCP. */
	pid = fork_process(PROC_XWORKER, "CPM sessions", 1);
	if(pid < 0) {
		LM_ERR("the process of the sessions could not be started\n");
		return -1;
	}
	if(pid > 0)
		return 0;
	signals = take_signals();
	if(signals < 0) {
		LM_ERR("the process of the sessions cannot take signals: %s\n", strerror(errno));
		_exit(1);
	}
	if(cfg_child_init() < 0 || (sessions = cpm_core_api->sessions_new(cpm_service)) == NULL)
		_exit(1);
	work(sessions, signals);
	/* The processes that Kamailio sends through are ending too: whatever waits for one of them must not hold up the
	 * end of the proxy. */
	signal(SIGALRM, SIG_DFL);
	alarm(SHUT_DOWN_SECONDS);
	cpm_core_api->sessions_shut_down(sessions, NULL);
	_exit(0);
}
