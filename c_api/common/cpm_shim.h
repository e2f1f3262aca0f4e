/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions shared by all files of every shim. A shim holds what is specific to its proxy:
 * tables, variables, routes, transactions. Every decision is the core's (c_api/cpm.h).
 *
 * Each shim provides "cpm_proxy.h" with everything that differs between the proxies and that
 * c_api/common needs: headers, types, and cpm_proxy_refresh(), which applies changed settings. str,
 * struct sip_msg, pkg_malloc, shm_malloc and LM_* have the same names in all of them.
 */
#ifndef CPM_SHIM_H
#define CPM_SHIM_H

#include <string.h>

#include "cpm.h"
#include "cpm_proxy.h"

/* The core's table, and this process's copy of the configured service (made before the fork). */
extern const struct cpm_core *cpm_core_api;
extern struct cpm_service *cpm_service;
/* Makes the service unless it exists: the first parameter is set before mod_init. 0, or -1 after
 * one log line. */
int cpm_ensure_service(void);

/* Identifies a request or response in a log line: its Call-ID, truncated as by the core.
 * CPM_CALL_ID is for "callid=%.*s" in a format. */
#define CPM_CALL_ID(msg) cpm_call_id(msg).len, cpm_call_id(msg).s
static inline str cpm_call_id(struct sip_msg *msg)
{
	str call_id = str_init("-");

	if(parse_headers(msg, HDR_CALLID_F, 0) == 0 && msg->callid != NULL)
		call_id = msg->callid->body;
	if((size_t)call_id.len > cpm_core_api->limits.logged_call_id_bytes)
		call_id.len = (int)cpm_core_api->limits.logged_call_id_bytes;
	return call_id;
}

/* The proxy's str over borrowed bytes of the contract, and back. The proxy does not write through
 * it. */
static inline str cpm_to_str(struct cpm_str text)
{
	str s;
	s.s = (char *)text.s;
	s.len = (int)text.len;
	return s;
}

static inline struct cpm_str cpm_of_str(const str *s)
{
	struct cpm_str text;
	text.s = s->s;
	text.len = s->len > 0 ? (size_t)s->len : 0;
	return text;
}

static inline struct cpm_str cpm_of_chars(const char *s)
{
	struct cpm_str text = {s, strlen(s)};
	return text;
}

/* Room for a number of 64 bits as text, with a sign or three decimals, and its NUL. */
#define CPM_NUMBER_BYTES 32

/* A NUL-terminated copy in pkg memory that lives as long as the module. NULL: there is no memory,
 * after a log line. */
static inline char *cpm_chars_of(struct cpm_str text)
{
	char *copy = pkg_malloc(text.len + 1);

	if(copy == NULL) {
		LM_ERR("no more private memory\n");
		return NULL;
	}
	memcpy(copy, text.s, text.len);
	copy[text.len] = '\0';
	return copy;
}

/* Switches the proxy's Server and User-Agent off around a call of tm, since the core's own header
 * lines have them (OMA CPM Appendix D). Returns the result of the call. */
#define CPM_WITHOUT_SIGNATURE(call)                \
	({                                             \
		int was_signature = server_signature;      \
		int call_result;                           \
		server_signature = 0;                      \
		call_result = (call);                      \
		server_signature = was_signature;          \
		call_result;                               \
	})

#endif
