/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions of the routing script, and the one request that a process works on at a time.
 */
#include "core/script_cb.h"

#include "cpm_kamailio.h"

/* The request of the message that this process is routing. Released when the script ends. */
static struct {
	struct cpm_request *request;
	unsigned int msg_id;
	int msg_pid;
} current;

static void forget_current(void)
{
	if(current.request != NULL)
		cpm_core_api->request_free(current.request);
	current.request = NULL;
}

struct cpm_request *cpm_current_request(const sip_msg_t *msg)
{
	if(current.request != NULL && current.msg_id == msg->id && current.msg_pid == msg->pid)
		return current.request;
	return NULL;
}

struct cpm_request *cpm_script_adopt(const sip_msg_t *msg, struct cpm_request *request)
{
	forget_current();
	current.request = request;
	if(msg != NULL) {
		current.msg_id = msg->id;
		current.msg_pid = msg->pid;
	}
	return request;
}

static int script_ended(struct sip_msg *msg, unsigned int flags, void *param)
{
	(void)msg;
	(void)flags;
	(void)param;
	forget_current();
	return 1;
}

int cpm_script_init(void)
{
	if(register_script_cb(script_ended, POST_SCRIPT_CB | REQUEST_CB, 0) < 0) {
		LM_ERR("the end of the routing script could not be hooked\n");
		return -1;
	}
	return 0;
}

/* Borrowed from the message, and from Kamailio's room for an address as text. */
static struct cpm_received received_of(sip_msg_t *msg)
{
	struct cpm_received received;

	received.message.s = msg->buf;
	received.message.len = msg->len;
	received.request_uri = cpm_of_str(GET_RURI(msg));
	received.source_address.s = ip_addr2a(&msg->rcv.src_ip);
	received.source_address.len = strlen(received.source_address.s);
	return received;
}

static int classify(sip_msg_t *msg)
{
	struct cpm_received received;

	forget_current();
	if(msg->first_line.type != SIP_REQUEST || !(msg->REQ_METHOD & (METHOD_MESSAGE | METHOD_INVITE)))
		return -1;
	received = received_of(msg);
	return cpm_script_adopt(msg, cpm_core_api->classify(cpm_service, &received)) != NULL ? 1 : -1;
}

/* cpm_check, cpm_reply and cpm_fanout are about a request that cpm_classify has accepted. */
static struct cpm_request *classified(sip_msg_t *msg, const char *function)
{
	struct cpm_request *request = cpm_current_request(msg);

	if(request == NULL)
		LM_ERR("%s() needs a request that cpm_classify() has accepted, callid=%.*s\n", function,
				CPM_CALL_ID(msg));
	return request;
}

int ki_cpm_classify(sip_msg_t *msg)
{
	return classify(msg);
}

/* A request that was taken before, and whose transaction tm has forgotten: what tm would do if it had it still. */
static int repeated(sip_msg_t *msg, const struct cpm_request *request)
{
	struct cpm_reply answer;

	if(cpm_core_api->reply(request, &answer) < 0)
		cpm_tm_absorb(msg);
	else
		cpm_tm_reply(msg, &answer);
	return 0;
}

/* 1: accepted, 0: a retransmission, or another process has it (both end the script), -1: refused. */
static int check(sip_msg_t *msg, struct cpm_request *request)
{
	struct cpm_str originator = {NULL, 0};
	int absorbed = cpm_tm_transaction(msg);
	int result;

	if(absorbed <= 0)
		return absorbed;
	result = cpm_core_api->check(request, msg);
	if(result == 2) {
		if(cpm_groups_hand_over(msg, request) == 0)
			return 0;
		/* No process can take it: as if no source could be asked. */
		originator = cpm_core_api->field(request, CPM_FIELD_ORIGINATOR);
		result = cpm_core_api->check_group(request, originator, NULL, 0, msg);
	}
	if(result == 3)
		return repeated(msg, request);
	return result == 1 ? 1 : -1;
}

int ki_cpm_check(sip_msg_t *msg)
{
	struct cpm_request *request = classified(msg, "cpm_check");

	return request != NULL ? check(msg, request) : -1;
}

int cpm_script_reply(sip_msg_t *msg, const struct cpm_request *request)
{
	struct cpm_reply answer;

	if(cpm_core_api->reply(request, &answer) < 0) {
		LM_ERR("cpm_reply() has nothing to say before cpm_check(), callid=%.*s\n", CPM_CALL_ID(msg));
		return -1;
	}
	return cpm_tm_reply(msg, &answer);
}

int ki_cpm_reply(sip_msg_t *msg)
{
	struct cpm_request *request = classified(msg, "cpm_reply");
	int absorbed;

	if(request == NULL)
		return -1;
	absorbed = cpm_tm_transaction(msg);
	return absorbed <= 0 ? absorbed : cpm_script_reply(msg, request);
}

/* What a SIP worker spends on one fan-out before it hands over the rest: well below the half second after which
 * a client over UDP repeats its request (RFC 3261 T1). */
#define WORKER_BUDGET_MS 50

int cpm_script_fan_out(sip_msg_t *msg, struct cpm_request *request)
{
	int result;

	cpm_tm_begin(WORKER_BUDGET_MS);
	result = cpm_core_api->fan_out(request, msg);
	if(result == 2) /* the process that has the rest replies */
		return 1;
	if(result == 3)
		return repeated(msg, request);
	if(cpm_script_reply(msg, request) < 0)
		return -1;
	return result == 1 ? 1 : -1;
}

int ki_cpm_fanout(sip_msg_t *msg)
{
	struct cpm_request *request = classified(msg, "cpm_fanout");
	int checked;

	if(request == NULL)
		return -1;
	/* Says again what cpm_check() has said, or what it would have. */
	checked = check(msg, request);
	if(checked == 0)
		return 0;
	if(checked < 0) {
		cpm_script_reply(msg, request);
		return -1;
	}
	return cpm_script_fan_out(msg, request);
}

/* 1: it goes on, or has been answered; 0: a retransmission; -1: it is no notification to be forwarded. */
static int forward_imdn(sip_msg_t *msg, int is_asked)
{
	struct cpm_received received;
	struct cpm_forwarding forwarding;
	int result, absorbed;

	if(msg->first_line.type != SIP_REQUEST || msg->REQ_METHOD != METHOD_MESSAGE)
		return -1;
	received = received_of(msg);
	result = cpm_core_api->forward_imdn(cpm_service, &received, is_asked, &forwarding, msg);
	if(result == 0)
		return -1;
	absorbed = cpm_tm_transaction(msg);
	if(absorbed <= 0)
		return absorbed;
	if(result == 2) {
		cpm_tm_reply(msg, &forwarding.reply);
		return 1;
	}
	if(result == 3) {
		result = cpm_core_api->send_receipt(cpm_service, &forwarding.reply, msg);
		if(result < 0)
			return -1;
		if(result == 1)
			cpm_count(CPM_COUNT_IMDN_FORWARDED, 1);
		cpm_tm_reply(msg, &forwarding.reply);
		return 1;
	}
	cpm_forward(msg, &forwarding);
	return 1;
}

int ki_cpm_forward_imdn(sip_msg_t *msg)
{
	return forward_imdn(msg, 1);
}

int ki_cpm_handle(sip_msg_t *msg)
{
	int dealt_with, checked;

	dealt_with = cpm_dialogs_request(msg);
	if(dealt_with >= 0)
		return dealt_with;
	if(classify(msg) < 0)
		return forward_imdn(msg, 0);
	checked = check(msg, current.request);
	if(checked == 0)
		return 0;
	if(checked < 0)
		cpm_script_reply(msg, current.request);
	else
		cpm_script_fan_out(msg, current.request);
	return 1;
}
