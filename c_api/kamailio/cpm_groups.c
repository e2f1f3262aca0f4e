/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processes that look pre-defined groups up. A source may be slow (a database, an XDMS across the network), and a
 * SIP worker must not wait for it: the worker leaves the request's transaction open and hands a copy over, and the
 * process that takes it finishes it: checks, refusal or fan-out.
 */
/* F_SETPIPE_SZ */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/atomic_ops.h"
#include "core/cfg/cfg_struct.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/msg_translator.h"
#include "core/pt.h"
#include "core/receive.h"

#include "cpm_kamailio.h"

/* A sender gives up after 32 s (RFC 3261 timer F): what is older has no use for an answer. */
#define WAIT_SECONDS 25

/* Groups are looked up by so many processes, unless told. */
int cpm_group_processes = 2;

/* One request in shared memory: the texts lie behind each other in `texts`. */
struct handed_over {
	unsigned hash_index; /* of its transaction */
	unsigned label;
	time_t deadline;
	struct receive_info rcv;
	size_t originator_len;
	size_t uri_len;
	size_t message_len;
	char texts[];
};

static int channel[2] = {-1, -1};

/* In shared memory: how often the caches were to be forgotten. */
static atomic_t *flushes;

static uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int cpm_groups_init(void)
{
	if(!cpm_core_api->uses_groups(cpm_service))
		return 0;
	if(cpm_group_processes < 1 || cpm_group_processes > CPM_MAX_GROUP_PROCESSES) {
		LM_ERR("parameter group_processes: %d is not a number from 1 to %d\n", cpm_group_processes,
				CPM_MAX_GROUP_PROCESSES);
		return -1;
	}
	/* A full pipe must never block a SIP worker; its readers wait in it. */
	if(pipe(channel) < 0 || fcntl(channel[1], F_SETFL, O_NONBLOCK) < 0
			|| fcntl(channel[1], F_SETPIPE_SZ, CPM_PIPE_BYTES) < 0) {
		LM_ERR("no pipe for the group processes: %s\n", strerror(errno));
		return -1;
	}
	flushes = shm_malloc(sizeof(*flushes));
	if(flushes == NULL) {
		SHM_MEM_ERROR;
		return -1;
	}
	atomic_set(flushes, 0);
	register_procs(cpm_group_processes);
	cfg_register_child(cpm_group_processes);
	return 0;
}

int cpm_groups_forget(void)
{
	if(flushes == NULL)
		return -1;
	atomic_inc(flushes);
	return 0;
}

int cpm_groups_hand_over(sip_msg_t *msg, const struct cpm_request *request)
{
	struct cpm_str originator = cpm_core_api->field(request, CPM_FIELD_ORIGINATOR);
	str *uri = GET_RURI(msg);
	struct handed_over *block;
	char *write_to;

	if(channel[1] < 0 || !cpm_tm_has_room(msg->len))
		return -1;
	block = shm_malloc(sizeof(*block) + originator.len + uri->len + msg->len);
	if(block == NULL)
		return -1;
	block->deadline = (time_t)(now_ms() / 1000) + WAIT_SECONDS;
	block->rcv = msg->rcv;
	block->originator_len = originator.len;
	block->uri_len = uri->len;
	block->message_len = msg->len;
	write_to = block->texts;
	memcpy(write_to, originator.s, originator.len);
	memcpy(write_to + originator.len, uri->s, uri->len);
	memcpy(write_to + originator.len + uri->len, msg->buf, msg->len);
	if(cpm_tm_leave_open(msg, &block->hash_index, &block->label) == 0
			&& write(channel[1], &block, sizeof(block)) == sizeof(block))
		return 0;
	shm_free(block);
	return -1;
}

/* A message over a copy of the received one, for event routes and variables. NULL, or to be released with
 * free_message. */
static sip_msg_t *message_of(const struct handed_over *block)
{
	sip_msg_t *msg = pkg_malloc(sizeof(*msg) + block->message_len + 1);
	char *text;

	if(msg == NULL) {
		PKG_MEM_ERROR;
		return NULL;
	}
	text = (char *)(msg + 1);
	memcpy(text, block->texts + block->originator_len + block->uri_len, block->message_len);
	text[block->message_len] = '\0';
	if(build_sip_msg_from_buf(msg, text, (int)block->message_len, inc_msg_no()) < 0) {
		pkg_free(msg);
		return NULL;
	}
	msg->rcv = block->rcv;
	return msg;
}

static void finish(struct cpm_groups *groups, const struct handed_over *block, sip_msg_t *msg)
{
	struct cpm_received received;
	struct cpm_str originator = {block->texts, block->originator_len};
	struct cpm_request *request;

	received.message.s = msg->buf;
	received.message.len = msg->len;
	received.request_uri.s = block->texts + block->originator_len;
	received.request_uri.len = block->uri_len;
	received.source_address.s = ip_addr2a(&msg->rcv.src_ip);
	received.source_address.len = strlen(received.source_address.s);
	request = cpm_script_adopt(msg, cpm_core_api->classify(cpm_service, &received));
	if(request == NULL)
		return;
	cpm_tm_adopt(block->hash_index, block->label);
	if(cpm_core_api->check_group(request, originator, groups, now_ms(), msg) == 1)
		cpm_script_fan_out(msg, request);
	else
		cpm_script_reply(msg, request);
	cpm_tm_adopt(0, 0);
	cpm_script_adopt(NULL, NULL);
}

static void work(struct cpm_groups *groups)
{
	struct handed_over *block;
	sip_msg_t *msg;
	ssize_t n;
	int flushed = atomic_get(flushes);

	for(;;) {
		n = read(channel[0], &block, sizeof(block));
		cfg_update();
		if(n < 0 && errno == EINTR)
			continue;
		if(n != sizeof(block)) {
			LM_CRIT("a group process cannot read: %s\n", n < 0 ? strerror(errno) : "end of file");
			return;
		}
		if(flushed != atomic_get(flushes)) {
			flushed = atomic_get(flushes);
			cpm_core_api->groups_flush(groups);
		}
		if((time_t)(now_ms() / 1000) < block->deadline && (msg = message_of(block)) != NULL) {
			finish(groups, block, msg);
			free_sip_msg(msg);
			pkg_free(msg);
		}
		shm_free(block);
	}
}

int cpm_groups_child_init(int rank)
{
	struct cpm_groups *groups;
	int i, pid;

	if(rank != PROC_MAIN || channel[0] < 0)
		return 0;
	for(i = 0; i < cpm_group_processes; i++) {
		pid = fork_process(PROC_XWORKER, "CPM groups", 1);
		if(pid < 0) {
			LM_ERR("a group process could not be started\n");
			return -1;
		}
		if(pid == 0) {
			if(cfg_child_init() < 0 || (groups = cpm_core_api->groups_new(cpm_service)) == NULL)
				_exit(1);
			work(groups);
			_exit(1);
		}
	}
	return 0;
}
