/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "receive.h"
#include "socket_info.h"

#include "cpm_message.h"

struct sip_msg *cpm_message_over(struct cpm_str text, const struct receive_info *received)
{
	const struct socket_info *own = get_first_socket();
	struct sip_msg *msg = pkg_malloc(sizeof(*msg) + text.len + 1);
	char *copy = (char *)(msg + 1);

	if(msg == NULL) {
		LM_ERR("no more private memory\n");
		return NULL;
	}
	memset(msg, 0, sizeof(*msg));
	memcpy(copy, text.s, text.len);
	copy[text.len] = '\0';
	msg->buf = copy;
	msg->len = (unsigned)text.len;
	msg->id = get_next_msg_no();
	msg->ruri_q = Q_UNSPECIFIED;
	if(received != NULL) {
		msg->rcv = *received;
	} else if(own != NULL) {
		msg->rcv.proto = own->proto;
		msg->rcv.bind_address = own;
		msg->rcv.src_ip = msg->rcv.dst_ip = own->address;
		msg->rcv.src_port = msg->rcv.dst_port = own->port_no;
	}
	if(parse_msg(copy, msg->len, msg) != 0) {
		cpm_message_free(msg);
		return NULL;
	}
	return msg;
}

void cpm_message_free(struct sip_msg *msg)
{
	free_sip_msg(msg);
	pkg_free(msg);
}
