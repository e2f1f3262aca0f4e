/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendmmsg */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "cpm_datagrams.h"
#include "cpm_express_ways.h"
#include "cpm_outgoing.h"

/* Since Linux 4.18; an older kernel rejects it with an error. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* The kernel cuts a datagram into at most this many (include/linux/udp.h). As many are passed to it
 * if it does not cut. */
#ifndef UDP_MAX_SEGMENTS
#define UDP_MAX_SEGMENTS 64
#endif

/* Whether the kernel cuts one long datagram into many. */
static int can_segment = 1;

/* Buffers, one set for each process. */
static struct mmsghdr messages[UDP_MAX_SEGMENTS];
static struct iovec pieces[UDP_MAX_SEGMENTS];
static union sockaddr_union addresses[UDP_MAX_SEGMENTS];

static void fill(const struct cpm_express_batch *batch, size_t from, size_t n)
{
	size_t i;

	for(i = 0; i < n; i++) {
		const struct cpm_express_copy *copy = &batch->copies[from + i];

		pieces[i].iov_base = (char *)copy->text.s;
		pieces[i].iov_len = copy->text.len;
		if(i > 0 && cpm_express_is_same_place(copy, copy - 1))
			addresses[i] = addresses[i - 1];
		else
			cpm_express_to_su(&copy->to, &addresses[i]);
		memset(&messages[i], 0, sizeof(messages[i]));
		messages[i].msg_hdr.msg_iov = &pieces[i];
		messages[i].msg_hdr.msg_iovlen = 1;
		messages[i].msg_hdr.msg_name = &addresses[i];
		messages[i].msg_hdr.msg_namelen = sockaddru_len(addresses[i]);
	}
}

/* Sends copies of one length to one place as one datagram that the kernel cuts. 1, or 0: not
 * sent. */
static int send_segmented(int fd, const struct cpm_express_batch *batch, size_t from, size_t n)
{
	union {
		char room[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control;
	const struct cpm_str *first = &batch->copies[from].text;
	uint16_t size = (uint16_t)first->len;
	struct iovec whole = {(char *)first->s, n * first->len};
	struct msghdr message;
	struct cmsghdr *option;
	ssize_t sent;

	cpm_express_to_su(&batch->copies[from].to, &addresses[0]);
	memset(&message, 0, sizeof(message));
	memset(&control, 0, sizeof(control));
	message.msg_iov = &whole;
	message.msg_iovlen = 1;
	message.msg_name = &addresses[0];
	message.msg_namelen = sockaddru_len(addresses[0]);
	message.msg_control = control.room;
	message.msg_controllen = sizeof(control.room);
	option = CMSG_FIRSTHDR(&message);
	option->cmsg_level = SOL_UDP;
	option->cmsg_type = UDP_SEGMENT;
	option->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(option), &size, sizeof(size));
	do {
		sent = sendmsg(fd, &message, 0);
	} while(sent < 0 && errno == EINTR);
	if(sent >= 0)
		return 1;
	/* The device has no checksum offload, or the kernel lacks the option. Other errors, such as a
	 * datagram too long for the path, concern only this batch. */
	if(errno == EIO || errno == EINVAL || errno == ENOPROTOOPT || errno == EOPNOTSUPP) {
		LM_INFO("datagrams are sent one by one: %s\n", strerror(errno));
		can_segment = 0;
	}
	return 0;
}

static void send_each(int fd, const struct cpm_express_batch *batch, size_t from, size_t n)
{
	size_t i = 0;
	int sent;

	fill(batch, from, n);
	while(i < n) {
		sent = sendmmsg(fd, messages + i, (unsigned)(n - i), 0);
		if(sent > 0) {
			i += sent;
		} else if(errno != EINTR) {
			/* As with tm, its timer sends it again. */
			LM_NOTICE("a datagram could not be sent: %s\n", strerror(errno));
			i++;
		}
	}
}

/* How many copies, from this one on, have the same place and length and fit into one datagram for
 * the kernel to cut. */
static size_t run_of(const struct cpm_express_batch *batch, size_t from)
{
	const struct cpm_express_copy *first = &batch->copies[from];
	size_t most = CPM_MAX_DATAGRAM_BYTES / first->text.len;
	size_t n = 1;

	if(most > UDP_MAX_SEGMENTS)
		most = UDP_MAX_SEGMENTS;
	while(n < most && from + n < batch->n && batch->copies[from + n].text.len == first->text.len
			&& cpm_express_is_same_place(&batch->copies[from + n], first))
		n++;
	return n;
}

void cpm_datagrams_send(int fd, const struct cpm_express_batch *batch)
{
	size_t min_segmented = cpm_core_api->limits.express_min_segmented;
	size_t from = 0;
	size_t n, run;

	while(from < batch->n) {
		run = can_segment ? run_of(batch, from) : 1;
		if(run >= min_segmented && send_segmented(fd, batch, from, run)) {
			from += run;
			continue;
		}
		/* Includes copies to other places, up to the next run that can be segmented. */
		n = run;
		while(n < UDP_MAX_SEGMENTS && from + n < batch->n && !(can_segment && run_of(batch, from + n) >= min_segmented))
			n++;
		send_each(fd, batch, from, n);
		from += n;
	}
}
