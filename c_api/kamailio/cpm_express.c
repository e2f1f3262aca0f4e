/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recvmmsg */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/cfg/cfg.h"
#include "core/cfg/cfg_struct.h"
#include "core/cfg_core.h"
#include "core/events.h"
#include "core/forward.h"
#include "core/globals.h"
#include "core/kemi.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/msg_translator.h"
#include "core/onsend.h"
#include "core/parser/parse_uri.h"
#include "core/receive.h"
#include "core/route.h"
#include "core/stun.h"
#include "core/tcp_conn.h"
#include "core/tcp_options.h"
#include "core/tcp_server.h"
#include "core/timer_ticks.h"
#include "core/udp_server.h"

#include "cpm_datagrams.h"
#include "cpm_express.h"
#include "cpm_express_ways.h"
#include "cpm_host.h"
#include "cpm_outgoing.h"
#include "cpm_send.h"
#include "cpm_size.h"

/* The reason why the lane is closed; NULL: it is open. */
static const char *closed = "the proxy has not started yet";

/* For the operator, if it is open. */
static const char *state;

static int has_event_route(const char *name)
{
	int index = route_lookup(&event_rt, (char *)name);

	return index >= 0 && event_rt.rlist[index] != NULL;
}

/* Whether tm calls a function of a KEMI script with its events. */
static int has_tm_callback(void)
{
	struct sr_module *tm = find_module_by_name("tm");
	modparam_t type;
	str *callback = tm != NULL ? find_param_export(tm, "event_callback", PARAM_STR, &type) : NULL;

	return callback != NULL && callback->len > 0;
}

/* The feature of the proxy that would see requests sent by tm, but not those of the lane. */
static const char *why_closed(void)
{
	if(onsend_route_enabled(SIP_REQUEST))
		return "there is an onsend_route";
	if(has_event_route("tm:local-request"))
		return "there is an event_route[tm:local-request]";
	if(has_tm_callback())
		return "tm has an event_callback";
	if(sr_event_enabled(SREV_NET_DATA_OUT))
		return "a module changes or watches what is sent (topoh, topos, sipdump, ...)";
	if(sr_event_enabled(SREV_NET_DATA_SENT) || sr_event_enabled(SREV_NET_DATA_RECV))
		return "a module traces what is sent (siptrace)";
	if(cfg_get(core, core_cfg, use_dst_blocklist))
		return "use_dst_blocklist is on";
	if(cfg_get(core, core_cfg, udp4_raw))
		return "udp4_raw is on";
	return NULL;
}

/* The feature of the proxy that would see responses before tm does. */
static const char *why_late(void)
{
	if(onreply_rt.rlist[DEFAULT_RT] != NULL)
		return "there is a reply_route";
	if(kemi_reply_route_callback.len > 0 && sr_kemi_eng_get() != NULL)
		return "the script is in a language of its own";
	if(ksr_evrt_received_mode != 0)
		return "there is an event_route[core:msg-received]";
	if(has_event_route("core:pre-routing") || (kemi_pre_routing_callback.len > 0 && sr_kemi_eng_get() != NULL))
		return "there is an event_route[core:pre-routing]";
	return NULL;
}

const char *cpm_express_closed(void)
{
	return closed;
}

const char *cpm_express_state(void)
{
	return closed != NULL ? closed : state;
}

/* The process that gathers, for all of them: where, and until when if it does not say so again.
 * NULL: there is no memory. Of two processes that begin at the same time both gather. */
static struct {
	const struct socket_info *volatile socket;
	volatile uint64_t until_us;
} *gathering;

static int received(sr_event_param_t *event);
static int received_over_tcp(sr_event_param_t *event);

/* Whether responses over TCP come to the lane before Kamailio parses them. */
static int is_early_over_tcp;

/* Parameters of tm; they can change while the proxy runs. */
static struct {
	const char *name;
	int is_in_ticks;
	cfg_group_t *group;
	cfg_mapping_t *var;
} timers[] = {
	{"retr_timer1", 0, NULL, NULL},
	{"retr_timer2", 0, NULL, NULL},
	{"fr_timer", 1, NULL, NULL},
};

static void find_timers(void)
{
	str group = str_init("tm");
	size_t i;

	for(i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
		str name = {(char *)timers[i].name, (int)strlen(timers[i].name)};

		if(cfg_lookup_var(&group, &name, &timers[i].group, &timers[i].var) != 0)
			timers[i].var = NULL;
	}
}

/* The current value of a timer in milliseconds; 0: unknown. */
static uint32_t milliseconds(size_t timer)
{
	void *handle = timers[timer].var != NULL ? *timers[timer].group->handle : NULL;
	int value = handle != NULL ? *(int *)((char *)handle + timers[timer].var->offset) : 0;

	if(value <= 0)
		return 0;
	return timers[timer].is_in_ticks ? TICKS_TO_MS((ticks_t)value) : (uint32_t)value;
}

int cpm_express_child_init(int rank)
{
	const char *late;

	/* All modules are initialised, and nothing has been forked. */
	if(rank != PROC_INIT)
		return 0;
	closed = cpm_core_api->uses_express(cpm_service) ? why_closed() : "express is set to no";
	if(closed != NULL) {
		if(cpm_core_api->uses_express(cpm_service))
			LM_NOTICE("the express lane is closed: %s\n", closed);
		return 0;
	}
	find_timers();
	late = why_late();
	if(late == NULL && (sr_event_enabled(SREV_NET_DGRAM_IN) || sr_event_register_cb(SREV_NET_DGRAM_IN, received) != 0))
		late = "another module takes datagrams as they come in";
	if(late == NULL) {
		/* After the callbacks of other modules, which see what has been received. */
		is_early_over_tcp = sr_event_register_cb(SREV_NET_DATA_IN, received_over_tcp) == 0;
		gathering = shm_malloc(sizeof(*gathering));
		if(gathering == NULL)
			SHM_MEM_ERROR;
		else
			memset(gathering, 0, sizeof(*gathering));
	}
	if(late != NULL) {
		LM_NOTICE("the express lane is open, but responses take the usual way: %s\n", late);
		state = "open, but responses take the usual way";
	} else {
		state = "open";
	}
	return 0;
}

int cpm_express_find(const str *uri, const void *socket, struct cpm_express_hop *hop)
{
	struct socket_info *own = (struct socket_info *)socket;
	struct dest_info destination;
	struct sip_uri parsed;

	if(parse_uri(uri->s, uri->len, &parsed) < 0 || parsed.type != SIP_URI_T
			|| cpm_send_destination(&parsed, own, &destination) < 0)
		return 0;
	if((destination.proto != PROTO_UDP && destination.proto != PROTO_TCP) || (destination.send_sock->flags & SI_IS_MCAST))
		return 0;
	/* A connection is found by its destination alone; only tm can choose the local address. */
	if(destination.proto == PROTO_TCP && own != NULL)
		return 0;
	hop->proto = destination.proto;
	hop->socket = destination.send_sock;
	su2ip_addr(&hop->ip, &destination.to);
	hop->port = su_getport(&destination.to);
	return 1;
}

char *cpm_express_via(const struct cpm_express_hop *hop, str *branch, unsigned int *len)
{
	str rport = str_init(";rport");
	struct dest_info destination;
	struct hostport own;

	init_dest_info(&destination);
	destination.proto = hop->proto;
	destination.send_sock = (struct socket_info *)hop->socket;
	set_hostport(&own, (sip_msg_t *)NULL);
	return via_builder(len, NULL, &destination, branch, ksr_local_rport ? &rport : NULL, &own);
}

int cpm_express_way(const struct cpm_outgoing *o, struct cpm_str hop, struct cpm_express_way *way)
{
	str uri = cpm_to_str(hop);
	union sockaddr_union to;
	unsigned limit;

	/* These can be turned on while the proxy runs. */
	if(cfg_get(core, core_cfg, use_dst_blocklist) || cfg_get(core, core_cfg, udp4_raw))
		return 0;
	if(closed != NULL || !cpm_express_way_to(uri, o->socket, way))
		return 0;
	way->t1_ms = milliseconds(0);
	way->t2_ms = milliseconds(1);
	way->f_ms = milliseconds(2);
	limit = cfg_get(core, core_cfg, udp_mtu);
	way->max_datagram_bytes = limit == 0 || limit > CPM_MAX_DATAGRAM_BYTES ? CPM_MAX_DATAGRAM_BYTES : limit;
	if(!way->is_reliable)
		return cpm_express_size(o, way) <= way->max_datagram_bytes;
	cpm_express_to_su(&way->to, &to);
	return !cpm_send_is_full(&to, cpm_size_at_most(o));
}

/* Free bytes in the queue of the connection to a place, within Kamailio's limit. */
static size_t room_of(struct dest_info *destination)
{
	size_t limit = cfg_get(tcp, tcp_cfg, tcpconn_wq_max);
	struct tcp_connection *connection;
	struct ip_addr ip;
	size_t queued;

	su2ip_addr(&ip, &destination->to);
	connection = tcpconn_get(0, &ip, su_getport(&destination->to), NULL, 0);
	if(connection == NULL)
		return limit;
	queued = connection->wbuf_q.queued;
	tcpconn_put(connection);
	return queued < limit ? limit - queued : 0;
}

/* Sends many copies in one piece, as far as the connections have room. Returns how many were
 * sent. */
static size_t send_pieces(const struct cpm_express_batch *batch)
{
	size_t piece_bytes = cpm_core_api->limits.express_piece_bytes;
	struct dest_info destination;
	size_t from = 0;

	while(from < batch->n) {
		const struct cpm_express_copy *first = &batch->copies[from];
		size_t n = 0;
		size_t len = 0;
		size_t room;

		init_dest_info(&destination);
		destination.proto = PROTO_TCP;
		destination.send_sock = (struct socket_info *)(uintptr_t)batch->socket;
		cpm_express_to_su(&first->to, &destination.to);
		room = room_of(&destination);
		if(room > piece_bytes)
			room = piece_bytes;
		while(from + n < batch->n && cpm_express_is_same_place(&batch->copies[from + n], first)
				&& len + batch->copies[from + n].text.len <= room) {
			len += batch->copies[from + n].text.len;
			n++;
		}
		if(n == 0)
			return from;
		if(tcp_send(&destination, NULL, (char *)first->text.s, (unsigned)len) < 0) {
			LM_NOTICE("%u copies could not be sent over TCP\n", (unsigned)n);
			memset(batch->lost + from, 1, n);
		}
		from += n;
	}
	return from;
}

size_t cpm_express_send(const struct cpm_express_batch *batch)
{
	if(batch->is_reliable)
		return send_pieces(batch);
	cpm_datagrams_send(((struct socket_info *)(uintptr_t)batch->socket)->socket, batch);
	return batch->n;
}

/* Responses. */

int cpm_express_response(sip_msg_t *msg)
{
	struct cpm_express_response response = {{msg->buf, msg->len}, 0};

	if(closed == NULL && !(is_early_over_tcp && msg->rcv.proto == PROTO_TCP))
		cpm_core_api->express_heard(cpm_service, &response, 1);
	return response.is_ours;
}

/* A request of a protocol that nobody speaks, with the one header field that the parser wants:
 * Kamailio drops it at once. Shorter than any response to a copy. */
static const char nothing[] = "X / NONE\r\nZ: 1\r\n\r\n";

/* A message that Kamailio has read from a connection and not parsed yet. It cannot be taken from
 * Kamailio here, but it may be changed: of a response to a copy nothing is left to parse. 0. */
static int received_over_tcp(sr_event_param_t *event)
{
	str *message = event->data;
	struct cpm_express_response response = {{message->s, message->len}, 0};

	if(event->rcv == NULL || event->rcv->proto != PROTO_TCP || message->len <= (int)sizeof(nothing)
			|| memcmp(message->s, "SIP/", 4) != 0)
		return 0;
	cpm_core_api->express_heard(cpm_service, &response, 1);
	if(response.is_ours) {
		memcpy(message->s, nothing, sizeof(nothing));
		message->len = sizeof(nothing) - 1;
	}
	return 0;
}

/* Handles a received datagram as Kamailio's own loop does (udp_server.c). */
static void pass_on(char *buf, unsigned len, receive_info_t *rcv)
{
	if(len < MIN_UDP_PACKET && !(sr_event_enabled(SREV_STUN_IN) && (unsigned char)*buf == 0x00))
		return;
	if(rcv->src_port == 0) {
		LM_INFO("a datagram from port 0 is dropped\n");
		return;
	}
	cfg_update();
	if(sr_event_enabled(SREV_STUN_IN) && (unsigned char)*buf == 0x00)
		stun_process_msg(buf, len, rcv);
	else
		receive_msg(buf, len, rcv);
}

/* Room for one of the datagrams that are read together. */
struct taken {
	struct iovec room;
	union sockaddr_union from;
	char bytes[BUF_SIZE + 1];
};

/* What many datagrams are read into. */
static struct mmsghdr *headers;
static struct cpm_express_response *responses;

/* Makes room for `n` datagrams, of the system's memory: what is not written to takes none. -1:
 * there is no memory, so Kamailio's own loop reads the datagrams. */
static int make_room(size_t n)
{
	struct taken *taken;
	size_t i;

	if(headers != NULL)
		return 0;
	headers = calloc(n, sizeof(*headers));
	responses = calloc(n, sizeof(*responses));
	taken = calloc(n, sizeof(*taken));
	if(headers == NULL || responses == NULL || taken == NULL) {
		free(headers);
		free(responses);
		free(taken);
		headers = NULL;
		return -1;
	}
	for(i = 0; i < n; i++) {
		taken[i].room.iov_base = taken[i].bytes;
		taken[i].room.iov_len = BUF_SIZE;
		headers[i].msg_hdr.msg_iov = &taken[i].room;
		headers[i].msg_hdr.msg_iovlen = 1;
		headers[i].msg_hdr.msg_name = &taken[i].from;
		responses[i].text.s = taken[i].bytes;
	}
	return 0;
}

/* Handles a datagram of somebody else's that was read among responses. */
static void pass_on_taken(const struct mmsghdr *header, const receive_info_t *rcv)
{
	char *bytes = header->msg_hdr.msg_iov->iov_base;
	receive_info_t info = *rcv;

	info.src_su = *(const union sockaddr_union *)header->msg_hdr.msg_name;
	su2ip_addr(&info.src_ip, &info.src_su);
	info.src_port = su_getport(&info.src_su);
	bytes[header->msg_len] = '\0';
	pass_on(bytes, header->msg_len, &info);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void gathers(const struct socket_info *socket, unsigned for_us)
{
	if(gathering == NULL)
		return;
	gathering->socket = socket;
	gathering->until_us = for_us > 0 ? now_us() + for_us : 0;
}

/* Lets another process read what arrives at a socket, if it gathers there. Each response wakes one
 * of the processes that wait at the socket: this one is not to be woken by the next. It is back
 * soon, in case that the other one has come upon something that takes its time. */
static int leaves_to_another(const struct socket_info *socket)
{
	struct timespec while_it_gathers = {0, (long)cpm_core_api->limits.express_leave_us * 1000};

	if(gathering == NULL || gathering->socket != socket || gathering->until_us <= now_us())
		return 0;
	nanosleep(&while_it_gathers, NULL);
	return 1;
}

/* Reads what arrives while responses to many copies are expected, with one sleep for many. Ends
 * when few are outstanding, or nothing has arrived meanwhile. */
static void gather(const receive_info_t *rcv)
{
	const int most = (int)cpm_core_api->limits.express_gather_datagrams;
	struct timespec while_they_gather = {0, (long)cpm_core_api->limits.express_gather_us * 1000};
	int are_many = 1;
	int are_others = 0;
	int n = 0;
	int i;

	if(make_room(most) < 0 || leaves_to_another(rcv->bind_address))
		return;
	do {
		gathers(rcv->bind_address, cpm_core_api->limits.express_leave_us);
		if(n < most)
			nanosleep(&while_they_gather, NULL);
		for(i = 0; i < most; i++)
			headers[i].msg_hdr.msg_namelen = sizeof(union sockaddr_union);
		n = recvmmsg(rcv->bind_address->socket, headers, (unsigned)most, MSG_DONTWAIT, NULL);
		if(n <= 0)
			break;
		for(i = 0; i < n; i++) {
			responses[i].text.len = headers[i].msg_len;
			responses[i].is_ours = 0;
		}
		are_many = cpm_core_api->express_heard(cpm_service, responses, n);
		for(i = 0, are_others = 0; i < n; i++)
			are_others |= !responses[i].is_ours;
		/* The script may take its time with these. */
		if(are_others)
			gathers(rcv->bind_address, 0);
		for(i = 0; are_others && i < n; i++) {
			if(!responses[i].is_ours)
				pass_on_taken(&headers[i], rcv);
		}
	} while(are_many || n == most);
	gathers(rcv->bind_address, 0);
}

/* A datagram that Kamailio has just read. -1: handled, 0: Kamailio continues with it. */
static int received(sr_event_param_t *event)
{
	void **data = event->data;
	struct cpm_express_response datagram = {{data[0], *(unsigned *)data[1]}, 0};
	int are_many;

	/* Every response begins with this, and hardly anything else does. */
	if(datagram.text.len < 4 || memcmp(datagram.text.s, "SIP/", 4) != 0)
		return 0;
	are_many = cpm_core_api->express_heard(cpm_service, &datagram, 1);
	if(!datagram.is_ours)
		return 0;
	if(are_many)
		gather(data[2]);
	return -1;
}
