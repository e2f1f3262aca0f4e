/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "cpm_request.h"

int cpm_has_sessions = 0;

/* The request of the message being routed by this process. Released when the script ends. */
static struct {
	struct cpm_request *request;
	unsigned int msg_id;
	int process;
} current;

void cpm_script_ended(void)
{
	if(current.request != NULL)
		cpm_core_api->request_free(current.request);
	current.request = NULL;
}

struct cpm_request *cpm_current_request(const struct sip_msg *msg)
{
	if(current.request != NULL && current.msg_id == msg->id && current.process == CPM_PROXY_PROCESS_OF(msg))
		return current.request;
	return NULL;
}

/* Borrowed from the message, and from the proxy's buffer for an address as text. */
static struct cpm_received received_of(struct sip_msg *msg)
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

static void make_current(const struct sip_msg *msg)
{
	cpm_script_ended();
	current.msg_id = msg->id;
	current.process = CPM_PROXY_PROCESS_OF(msg);
}

int cpm_script_classify(struct sip_msg *msg)
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
static int about_current(struct sip_msg *msg, const char *function,
		enum cpm_script_result (*what)(struct cpm_request *request, void *context))
{
	struct cpm_request *request = cpm_current_request(msg);

	if(request != NULL)
		return what(request, msg);
	LM_ERR("%s() needs a request that cpm_classify() has accepted, callid=%.*s\n", function, CPM_CALL_ID(msg));
	return CPM_SCRIPT_NO;
}

int cpm_script_check(struct sip_msg *msg)
{
	return about_current(msg, "cpm_check", cpm_core_api->check);
}

int cpm_script_reply(struct sip_msg *msg)
{
	return about_current(msg, "cpm_reply", cpm_core_api->reply);
}

int cpm_script_fanout(struct sip_msg *msg)
{
	return about_current(msg, "cpm_fanout", cpm_core_api->fan_out);
}

int cpm_script_forward_imdn(struct sip_msg *msg)
{
	struct cpm_received received;

	if(msg->first_line.type != SIP_REQUEST)
		return CPM_SCRIPT_NO;
	received = received_of(msg);
	return cpm_core_api->forward_imdn(cpm_service, &received, msg);
}

int cpm_script_handle(struct sip_msg *msg)
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

int cpm_script_recipient_available(struct sip_msg *msg, str *uri)
{
	(void)msg;
	return cpm_core_api->recipient_available(cpm_service, cpm_of_str(uri)) ? CPM_SCRIPT_YES : CPM_SCRIPT_NO;
}
