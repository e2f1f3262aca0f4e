/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "cpm_host.h"
#include "cpm_recipient_request.h"

enum cpm_routed cpm_route_recipient_request(
		const struct cpm_outgoing *outgoing, struct cpm_str text, struct cpm_changed *changed)
{
	/* Lent by the previous call. */
	static struct sip_msg *msg = NULL;
	static char *rebuilt = NULL;
	static int is_running = 0;
	struct cpm_running running;
	unsigned int rebuilt_len;
	int goes_on;

	/* A script that sends from within the route would free its own message. */
	if(is_running)
		return CPM_ROUTED_FAILED;
	if(msg != NULL)
		cpm_shown_free(msg);
	if(rebuilt != NULL)
		pkg_free(rebuilt);
	rebuilt = NULL;
	msg = cpm_shown_over(text);
	if(msg == NULL)
		return CPM_ROUTED_FAILED;
	memset(&running, 0, sizeof(running));
	running.about = &outgoing->about;
	running.recipient = cpm_to_str(outgoing->request_uri);
	is_running = 1;
	goes_on = cpm_shown_run(msg, &running);
	is_running = 0;
	if(!goes_on)
		return CPM_ROUTED_DROPPED;
	rebuilt = cpm_shown_build(msg, &rebuilt_len);
	if(rebuilt == NULL)
		return CPM_ROUTED_FAILED;
	changed->text.s = rebuilt;
	changed->text.len = rebuilt_len;
	changed->request_uri = cpm_of_str(&msg->new_uri);
	changed->next_hop = cpm_of_str(&msg->dst_uri);
	changed->socket = (uint64_t)(uintptr_t)msg->force_send_socket;
	return CPM_ROUTED;
}
