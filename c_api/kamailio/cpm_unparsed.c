/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reply to a request that Kamailio's parser rejects, such as one with Max-Forwards twice.
 * Neither tm nor sl can make it, since both would parse that request first; so it is built from the
 * part that the core leaves, without a transaction.
 */
#include <string.h>

#include "core/data_lump_rpl.h"
#include "core/events.h"
#include "core/fmsg.h"
#include "core/forward.h"
#include "core/globals.h"
#include "core/mem/mem.h"
#include "core/msg_translator.h"
#include "core/receive.h"

#include "cpm_unparsed.h"

/* Sends `reply` to `bare`, back to its source. 0, or -1. */
static int send_reply(
		const struct receive_info *rcv, snd_flags_t flags, sip_msg_t *bare, const struct cpm_reply *reply)
{
	struct dest_info destination;
	struct bookmark bookmark;
	str headers = cpm_to_str(reply->headers);
	str to_tag = cpm_to_str(reply->to_tag);
	str reason, buf;
	unsigned int len;
	int signature = server_signature;
	int result;

	bare->rcv = *rcv;
	bare->rpl_send_flags = flags;
	if(add_lump_rpl2(bare, headers.s, headers.len, LUMP_RPL_HDR) == NULL)
		return -1;
	reason.s = (char *)reply->reason;
	reason.len = (int)strlen(reason.s);
	/* Server is among the header lines. */
	server_signature = 0;
	buf.s = build_res_buf_from_sip_req(reply->code, &reason, &to_tag, bare, &len, &bookmark);
	server_signature = signature;
	if(buf.s == NULL)
		return -1;
	init_dest_info(&destination);
	update_sock_struct_from_ip(&destination.to, bare);
	destination.proto = rcv->proto;
	destination.send_sock = rcv->bind_address;
	destination.id = rcv->proto_reserved1;
	destination.send_flags = flags;
	result = msg_send_buffer(&destination, buf.s, (int)len, 0);
	pkg_free(buf.s);
	return result < 0 ? -1 : 0;
}

static void refuse(
		struct cpm_str request, int is_unseen, const struct receive_info *rcv, snd_flags_t flags, void *context)
{
	struct cpm_unparsed unparsed;
	sip_msg_t bare;

	if(cpm_core_api->refuse_unparsed(cpm_service, request, is_unseen, &unparsed, context) != 1)
		return;
	if(build_sip_msg_from_buf(&bare, (char *)unparsed.request.s, (int)unparsed.request.len, inc_msg_no()) < 0) {
		LM_INFO("a request that cannot be parsed has no reply\n");
		return;
	}
	if(send_reply(rcv, flags, &bare, &unparsed.reply) < 0)
		LM_INFO("a request that cannot be parsed has no reply\n");
	free_sip_msg(&bare);
}

void cpm_unparsed_refuse(sip_msg_t *msg)
{
	struct cpm_str whole = {msg->buf, msg->len};

	refuse(whole, 0, &msg->rcv, msg->rpl_send_flags, msg);
}

/* A request that the core will drop before any script sees it is answered here. */
static int received(sr_event_param_t *event)
{
	const str *message = event->data;
	struct cpm_str whole;
	snd_flags_t flags;

	if(event->rcv == NULL || message->len < 4 || memcmp(message->s, "SIP/", 4) == 0)
		return 0;
	SND_FLAGS_INIT(&flags);
	whole = cpm_of_str(message);
	refuse(whole, 1, event->rcv, flags, NULL);
	return 0;
}

int cpm_unparsed_init(void)
{
	if(sr_event_register_cb(SREV_NET_DATA_IN, received) < 0) {
		LM_ERR("no callback for received requests could be registered\n");
		return -1;
	}
	return 0;
}
