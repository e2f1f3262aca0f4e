/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "core/parser/parse_to.h"
#include "core/script_cb.h"

#include "cpm_request.h"
#include "cpm_send.h"

/* The request of the message being routed by this process. Released when the script ends. */
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

static int script_ended(struct sip_msg *msg, unsigned int flags, void *param)
{
	(void)msg;
	(void)flags;
	(void)param;
	forget_current();
	return 1;
}

int cpm_request_init(void)
{
	if(register_script_cb(script_ended, POST_SCRIPT_CB | REQUEST_CB, 0) < 0) {
		LM_ERR("no callback at the end of the routing script could be registered\n");
		return -1;
	}
	return 0;
}

/* Borrowed from the message, and from Kamailio's buffer for an address as text. */
static struct cpm_received received_of(sip_msg_t *msg)
{
	struct cpm_received received;

	memset(&received, 0, sizeof(received));
	received.message.s = msg->buf;
	received.message.len = msg->len;
	received.request_uri = cpm_of_str(GET_RURI(msg));
	received.source_address.s = ip_addr2a(&msg->rcv.src_ip);
	received.source_address.len = strlen(received.source_address.s);
	return received;
}

static void make_current(const sip_msg_t *msg)
{
	forget_current();
	current.msg_id = msg->id;
	current.msg_pid = msg->pid;
}

int ki_cpm_classify(sip_msg_t *msg)
{
	struct cpm_received received;

	if(msg->first_line.type != SIP_REQUEST)
		return CPM_SCRIPT_NO;
	received = received_of(msg);
	make_current(msg);
	current.request = cpm_core_api->classify(cpm_service, &received);
	return current.request != NULL ? CPM_SCRIPT_YES : CPM_SCRIPT_NO;
}

/* Functions on a request that cpm_classify has accepted. */
static int about_current(sip_msg_t *msg, const char *function,
		enum cpm_script_result (*what)(struct cpm_request *request, void *context))
{
	struct cpm_request *request = cpm_current_request(msg);

	if(request != NULL)
		return what(request, msg);
	LM_ERR("%s() needs a request that cpm_classify() has accepted, callid=%.*s\n", function, CPM_CALL_ID(msg));
	return CPM_SCRIPT_NO;
}

int ki_cpm_check(sip_msg_t *msg)
{
	return about_current(msg, "cpm_check", cpm_core_api->check);
}

int ki_cpm_reply(sip_msg_t *msg)
{
	return about_current(msg, "cpm_reply", cpm_core_api->reply);
}

int ki_cpm_fanout(sip_msg_t *msg)
{
	return about_current(msg, "cpm_fanout", cpm_core_api->fan_out);
}

int ki_cpm_forward_imdn(sip_msg_t *msg)
{
	struct cpm_received received;

	if(msg->first_line.type != SIP_REQUEST)
		return CPM_SCRIPT_NO;
	received = received_of(msg);
	return cpm_core_api->forward_imdn(cpm_service, &received, msg);
}

int ki_cpm_handle(sip_msg_t *msg)
{
	struct cpm_received received;

	if(msg->first_line.type != SIP_REQUEST)
		return CPM_SCRIPT_NO;
	received = received_of(msg);
	if(cpm_has_sessions && parse_to_header(msg) == 0 && get_to(msg)->tag_value.len > 0)
		received.to_tag = cpm_of_str(&get_to(msg)->tag_value);
	make_current(msg);
	return cpm_core_api->handle(cpm_service, &received, &current.request, msg);
}
