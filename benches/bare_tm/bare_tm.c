/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ceiling of the fan-out benchmark: what Kamailio's transaction module alone costs. For each
 * uri="..." in the request's body one t_uac() with a header block and a body that were made
 * beforehand, then 202. Nothing is parsed, nothing is checked.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "core/mod_fix.h"
#include "core/parser/msg_parser.h"
#include "core/sr_module.h"
#include "modules/tm/tm_load.h"

MODULE_VERSION

#define ATTRIBUTE "uri=\""
#define MAX_TO 256

static struct tm_binds tm;

static str from = STR_NULL;
static char *headers_file = NULL;
static char *body_file = NULL;

static char headers_bytes[8192];
static char body_bytes[65536];
static str headers = {headers_bytes, 0};
static str body = {body_bytes, 0};

static int send_one(const char *uri, int length, unsigned int request, int place)
{
	char to[MAX_TO];
	/* As long as those of cpm, so that the requests have the same size. */
	char call_id[64];
	str method = str_init("MESSAGE");
	uac_req_t uac;
	dlg_t dialog;

	memset(&dialog, 0, sizeof(dialog));
	dialog.state = DLG_CONFIRMED;
	dialog.id.call_id.s = call_id;
	dialog.id.call_id.len =
			snprintf(call_id, sizeof(call_id), "cpm-%024x%08x-%d", 0, request, place);
	dialog.id.loc_tag.s = "0123456789abcdef";
	dialog.id.loc_tag.len = 16;
	dialog.loc_uri = from;
	dialog.rem_uri.s = to;
	dialog.rem_uri.len = snprintf(to, sizeof(to), "<%.*s>", length, uri);
	if(dialog.rem_uri.len >= MAX_TO)
		return -1;
	dialog.rem_target.s = (char *)uri;
	dialog.rem_target.len = length;
	dialog.loc_seq.value = 1;
	dialog.loc_seq.is_set = 1;
	set_uac_req(&uac, &method, &headers, &body, &dialog, 0, NULL, NULL);
	return tm.t_uac(&uac);
}

static int bare_fanout(sip_msg_t *msg, char *unused1, char *unused2)
{
	static unsigned int requests = 0;
	const char *at = get_body(msg);
	const char *end = msg->buf + msg->len;
	int place = 0;

	(void)unused1;
	(void)unused2;
	if(at == NULL || tm.t_newtran(msg) <= 0)
		return -1;
	requests++;
	while((at = memmem(at, end - at, ATTRIBUTE, sizeof(ATTRIBUTE) - 1)) != NULL) {
		const char *uri = at + sizeof(ATTRIBUTE) - 1;

		at = memchr(uri, '"', end - uri);
		if(at == NULL || send_one(uri, (int)(at - uri), requests, place++) < 0)
			return -1;
	}
	return tm.t_reply(msg, 202, "Accepted") < 0 ? -1 : 1;
}

static int read_file(const char *path, char *bytes, size_t room)
{
	FILE *file = path == NULL ? NULL : fopen(path, "rb");
	size_t length;

	if(file == NULL) {
		LM_ERR("cannot open %s\n", path == NULL ? "(no file named)" : path);
		return -1;
	}
	length = fread(bytes, 1, room, file);
	fclose(file);
	return length < room ? (int)length : -1;
}

static int mod_init(void)
{
	headers.len = read_file(headers_file, headers_bytes, sizeof(headers_bytes));
	body.len = read_file(body_file, body_bytes, sizeof(body_bytes));
	return headers.len < 0 || body.len < 0 ? -1 : load_tm_api(&tm);
}

static cmd_export_t commands[] = {
		{"bare_fanout", (cmd_function)bare_fanout, 0, 0, 0, REQUEST_ROUTE},
		{0, 0, 0, 0, 0, 0}};

static param_export_t parameters[] = {{"from", PARAM_STR, &from},
		{"headers_file", PARAM_STRING, &headers_file},
		{"body_file", PARAM_STRING, &body_file}, {0, 0, 0}};

struct module_exports exports = {.name = "bare_tm",
		.dlflags = DEFAULT_DLFLAGS,
		.cmds = commands,
		.params = parameters,
		.init_mod_f = mod_init};
