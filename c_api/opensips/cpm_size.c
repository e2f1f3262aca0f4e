/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long an outgoing request will be: tm writes some of its lines, and the transport may depend
 * on the length.
 */
#include "modules/tm/config.h"
#include "hash_func.h"
#include "msg_translator.h"
#include "ut.h"

#include "cpm_outgoing.h"
#include "cpm_size.h"

int cpm_udp_mtu = 0;

static size_t address_size(const struct cpm_address *address)
{
	return address->uri.len + sizeof("<>") - 1 + (address->display.len > 0 ? address->display.len + 1 : 0);
}

/* All lines but Via, as tm writes them (t_msgbuilder.c, build_uac_req). */
static size_t size_without_via(const struct cpm_outgoing *o)
{
	static const char lines[] = "  SIP/2.0\r\nTo: \r\nFrom: ;tag=\r\nCSeq:  \r\nCall-ID: \r\nMax-Forwards: \r\n"
								"Content-Length: \r\n\r\n";
	static const char tag[] = ";tag=";

	return sizeof(lines) - 1 + 2 * o->method.len + o->request_uri.len + address_size(&o->to)
		   + (o->to_tag.len > 0 ? sizeof(tag) - 1 + o->to_tag.len : 0) + address_size(&o->from)
		   + o->from_tag.len + cpm_outgoing_digits(o->cseq) + o->call_id.len + cpm_outgoing_digits(o->max_forwards) + cpm_outgoing_digits(o->body.len)
		   + o->headers.len + o->body.len;
}

/* A transaction's label as nearly all have it. tm chooses it only when it makes the transaction:
 * one in eight is a digit or more shorter, and so is the request. */
#define LONG_LABEL 0xffffffff

/* The length of the Via line that tm will write. 0: there is no memory. */
static size_t via_size(const struct cpm_outgoing *o, const struct socket_info *socket)
{
	char branch_bytes[MAX_BRANCH_PARAM_LEN];
	struct hostport own;
	str branch, call_id = cpm_to_str(o->call_id);
	str cseq;
	unsigned int len = 0;
	char *via;

	cseq.s = int2str(o->cseq, &cseq.len);
	branch.s = branch_bytes;
	if(!branch_builder(tm_hash(call_id, cseq), LONG_LABEL, NULL, 0, branch.s, &branch.len))
		return 0;
	set_hostport(&own, (struct sip_msg *)NULL);
	via = via_builder(&len, socket, &branch, NULL, socket->proto, &own);
	if(via == NULL)
		return 0;
	pkg_free(via);
	return len;
}

size_t cpm_size_at_most(const struct cpm_outgoing *o)
{
	return size_without_via(o) + CPM_MAX_VIA_BYTES;
}

unsigned cpm_size_limit(void)
{
	return cpm_udp_mtu > 0 && cpm_udp_mtu < CPM_MAX_DATAGRAM_BYTES ? (unsigned)cpm_udp_mtu : CPM_MAX_DATAGRAM_BYTES;
}

int cpm_size_exceeds_datagram(const struct cpm_outgoing *o, const struct socket_info *socket)
{
	size_t limit = cpm_size_limit();
	size_t size = size_without_via(o);

	/* Nearly every request is far below or above. */
	if(socket == NULL || size >= limit || size + CPM_MAX_VIA_BYTES <= limit)
		return size >= limit;
	return size + via_size(o, socket) > limit;
}
