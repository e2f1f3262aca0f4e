/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reply to a request that Kamailio's parser refuses, such as one with Max-Forwards twice. Neither tm nor sl can make
 * one, since both would read that request first; so it is made of what the core leaves of it, and no transaction keeps it.
 */
#include <string.h>

#include "core/data_lump_rpl.h"
#include "core/fmsg.h"
#include "core/forward.h"
#include "core/globals.h"
#include "core/mem/mem.h"
#include "core/msg_translator.h"
#include "core/receive.h"

#include "cpm_kamailio.h"

/* Sends `reply` to `bare`, which came the way that `msg` came. 0, or -1. */
static int send_reply(sip_msg_t *msg, sip_msg_t *bare, const struct cpm_reply *reply)
{
	struct dest_info destination;
	struct bookmark bookmark;
	str headers = cpm_to_str(reply->headers);
	str to_tag = cpm_to_str(reply->to_tag);
	str reason, buf;
	unsigned int len;
	int signature = server_signature;
	int result;

	bare->rcv = msg->rcv;
	bare->rpl_send_flags = msg->rpl_send_flags;
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
	destination.proto = msg->rcv.proto;
	destination.send_sock = msg->rcv.bind_address;
	destination.id = msg->rcv.proto_reserved1;
	destination.send_flags = msg->rpl_send_flags;
	result = msg_send_buffer(&destination, buf.s, (int)len, 0);
	pkg_free(buf.s);
	return result < 0 ? -1 : 0;
}

void cpm_unparsed_refuse(sip_msg_t *msg)
{
	struct cpm_str whole = {msg->buf, msg->len};
	struct cpm_unparsed unparsed;
	sip_msg_t bare;

	if(cpm_core_api->refuse_unparsed(cpm_service, whole, &unparsed, msg) != 1)
		return;
	if(build_sip_msg_from_buf(&bare, (char *)unparsed.request.s, (int)unparsed.request.len, inc_msg_no()) < 0) {
		LM_INFO("a request that cannot be parsed has no reply\n");
		return;
	}
	if(send_reply(msg, &bare, &unparsed.reply) < 0)
		LM_INFO("a request that cannot be parsed has no reply\n");
	free_sip_msg(&bare);
}
