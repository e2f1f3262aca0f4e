/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The length of an outgoing request: tm writes some of its lines, and the transport may depend on
 * the length.
 */
#include <stdio.h>
#include <string.h>

#include "core/cfg/cfg.h"
#include "core/cfg_core.h"
#include "core/config.h"
#include "core/globals.h"
#include "core/hash_func.h"
#include "core/mem/mem.h"
#include "core/msg_translator.h"
#include "core/ut.h"
#include "modules/tm/ut.h"

#include "cpm_outgoing.h"
#include "cpm_size.h"

size_t cpm_size_at_most(const struct cpm_outgoing *o)
{
	return cpm_outgoing_size_without_via(o) + CPM_MAX_VIA_BYTES;
}

/* The length of the Via line that tm will write; only the content of its branch is not known yet.
 * 0: the proxy cannot send to `hop`, which has an IP address, so that no name is looked up here. */
static size_t via_size(const struct cpm_outgoing *o, str *hop)
{
	struct socket_info *socket = (struct socket_info *)(uintptr_t)o->socket;
	char branch_bytes[MAX_BRANCH_PARAM_LEN];
	char hash_of_request[MD5_LEN];
	struct dest_info destination;
	struct hostport own;
	snd_flags_t flags;
	str branch, rport = str_init(";rport");
	str call_id = cpm_to_str(o->call_id);
	str cseq;
	unsigned int len = 0;
	char *via;

	SND_FLAGS_INIT(&flags);
	if(socket != NULL)
		flags.f |= SND_F_FORCE_SOCKET;
	if(uri2dst2(NULL, &destination, socket, flags, hop, PROTO_NONE) == NULL || destination.send_sock == NULL)
		return 0;
	memset(hash_of_request, '0', sizeof(hash_of_request));
	cseq.s = int2str(o->cseq, &cseq.len);
	branch.s = branch_bytes;
	if(!branch_builder(hash(call_id, cseq), 0, hash_of_request, 0, branch.s, &branch.len))
		return 0;
	set_hostport(&own, (sip_msg_t *)NULL);
	via = via_builder(&len, NULL, &destination, &branch, ksr_local_rport ? &rport : NULL, &own);
	if(via == NULL)
		return 0;
	pkg_free(via);
	return len;
}

int cpm_size_exceeds_datagram(const struct cpm_outgoing *o, str *hop)
{
	size_t limit = cfg_get(core, core_cfg, udp_mtu);
	size_t size = cpm_outgoing_size_without_via(o);

	if(limit == 0 || limit > CPM_MAX_DATAGRAM_BYTES)
		limit = CPM_MAX_DATAGRAM_BYTES;
	/* Nearly every request is far below or above the limit. */
	if(hop == NULL || size >= limit || size + CPM_MAX_VIA_BYTES <= limit)
		return size >= limit;
	return size + via_size(o, hop) > limit;
}
