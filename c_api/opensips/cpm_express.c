/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RTLD_DEFAULT */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "modules/tm/t_hooks.h"
#include "msg_translator.h"
#include "route.h"
#include "sr_module.h"

#include "cpm_datagrams.h"
#include "cpm_express.h"
#include "cpm_express_ways.h"
#include "cpm_host.h"
#include "cpm_outgoing.h"
#include "cpm_send.h"
#include "cpm_size.h"

/* Sockets that only tm and the transport serve: those of several hosts, and those that write
 * something before the request. */
#ifdef CPM_HAS_PROXY_PROTOCOL
#define FOREIGN (SI_IS_MCAST | SI_IS_ANYCAST | SI_INTERNAL | SI_PROXY_OUT)
#else
#define FOREIGN (SI_IS_MCAST | SI_IS_ANYCAST | SI_INTERNAL)
#endif

/* Whether the service uses the lane; set before the fork. */
static int is_used = 0;

/* Timers of tm in milliseconds, which do not change. */
static uint32_t t1_ms, t2_ms, f_ms;

/* Whether the script that OpenSIPS has started with has a local_route, and tm a
 * local_request_route. */
static int had_local_route = 0;
static int has_local_request_route = 0;

/* Lists of OpenSIPS and tm that no header names; NULL: this release does not have it. */
static void *const *changes_to_output = NULL;
static struct tmcb_head_list *const *new_transactions = NULL;

static const char *why_closed(void)
{
	/* The script may be loaded anew. A process may be without one. */
	if(sroutes != NULL ? sroutes->local.a != NULL : had_local_route)
		return "there is a local_route";
	if(has_local_request_route)
		return "tm has a local_request_route";
	if(changes_to_output == NULL || *changes_to_output != NULL)
		return "a module changes what is sent (topology_hiding, compression, ...)";
	if(new_transactions == NULL || *new_transactions == NULL
			|| ((*new_transactions)->reg_types & TMCB_LOCAL_TRANS_NEW))
		return "a module follows the requests of tm (rtp_relay, ...)";
	return NULL;
}

const char *cpm_express_closed(void)
{
	return is_used ? why_closed() : "express is set to no";
}

static uint32_t parameter_of_tm(const char *name, unsigned per_ms, unsigned ms_per)
{
	const unsigned *value = find_param_export("tm", name, INT_PARAM);

	return value != NULL ? *value / per_ms * ms_per : 0;
}

void cpm_express_init(void)
{
	struct sr_module *module = modules;
	char *const *route;

	is_used = cpm_core_api->uses_express(cpm_service);
	/* tm has turned the first two into microseconds. */
	t1_ms = parameter_of_tm("T1_timer", 1000, 1);
	t2_ms = parameter_of_tm("T2_timer", 1000, 1);
	f_ms = parameter_of_tm("fr_timeout", 1, 1000);
	had_local_route = sroutes->local.a != NULL;
	route = find_param_export("tm", "local_request_route", STR_PARAM);
	has_local_request_route = route != NULL && *route != NULL;
	changes_to_output = dlsym(RTLD_DEFAULT, "post_processing_cb_list");
	while(module != NULL && strcmp(module->exports->name, "tm") != 0)
		module = module->next;
	if(module != NULL)
		new_transactions = dlsym(module->handle, "new_tran_tmcb_hl");
}

int cpm_express_child_init(int rank)
{
	/* All modules are initialised; among the workers there is always a first one. */
	const char *closed = rank == 1 && is_used ? why_closed() : NULL;

	if(closed != NULL)
		LM_NOTICE("the express lane is closed: %s\n", closed);
	return 0;
}

int cpm_express_find(const str *uri, const void *socket, struct cpm_express_hop *hop)
{
	struct cpm_place place;

	if(cpm_send_place(uri, socket, &place) < 0 || place.proto != PROTO_UDP || (place.socket->flags & FOREIGN))
		return 0;
	hop->proto = place.proto;
	hop->socket = place.socket;
	hop->ip = place.ip;
	hop->port = su_getport(&place.address);
	return 1;
}

char *cpm_express_via(const struct cpm_express_hop *hop, str *branch, unsigned int *len)
{
	struct hostport own;

	set_hostport(&own, (struct sip_msg *)NULL);
	return via_builder(len, hop->socket, branch, NULL, hop->proto, &own);
}

int cpm_express_way(const struct cpm_outgoing *o, struct cpm_str hop, struct cpm_express_way *way)
{
	if(cpm_express_closed() != NULL || !cpm_express_way_to(cpm_to_str(hop), o->socket, way))
		return 0;
	way->t1_ms = t1_ms;
	way->t2_ms = t2_ms;
	way->f_ms = f_ms;
	way->max_datagram_bytes = cpm_size_limit();
	return cpm_express_size(o, way) <= way->max_datagram_bytes;
}

size_t cpm_express_send(const struct cpm_express_batch *batch)
{
	cpm_datagrams_send(((const struct socket_info *)(uintptr_t)batch->socket)->socket, batch);
	return batch->n;
}

int cpm_express_response(const struct sip_msg *msg)
{
	struct cpm_express_response response = {{msg->buf, msg->len}, 0};

	/* Copies may be outstanding from before the lane was closed. */
	if(is_used)
		cpm_core_api->express_heard(cpm_service, &response, 1);
	return response.is_ours;
}
