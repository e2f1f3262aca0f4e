/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sr_module.h"
#include "mi/mi.h"
#include "modules/httpd/httpd_load.h"

#include "cpm_page.h"
#include "cpm_shim.h"

char *cpm_page_file = NULL;
char *cpm_page_password = NULL;
int cpm_page_metrics = 0;

static str page = STR_NULL;

/* Status codes of HTTP that httpd passes on. */
enum { OK = 200, BAD_REQUEST = 400, UNAUTHORIZED = 401, FORBIDDEN = 403, NOT_FOUND = 404, NOT_ALLOWED = 405, ERROR = 500 };

/* What the page asks for, by its name under Kamailio, and the command of that name here. */
static const struct {
	const char *method;
	const char *command;
} asked[] = {
	{"cpm.config", "cpm_config"},
	{"cpm.stats", "cpm_stats"},
	{"cpm.messages", "cpm_messages"},
	{"cpm.message", "cpm_message"},
	{"cpm.sessions", "cpm_sessions"},
	{"cpm.session", "cpm_session"},
	{"cpm.relay", "cpm_relay"},
	{"cpm.end", "cpm_end"},
	{"cpm.groups_flush", "cpm_groups_flush"},
	{NULL, NULL},
};

static int say(str *answer, int code, const char *words)
{
	init_str(answer, words);
	return code;
}

/* Why this is not served at this path, or OK. */
static int look_at(const char *url, const char *path, const char *method, str *answer)
{
	if(strcmp(url, path) != 0)
		return say(answer, NOT_FOUND, "Not Found");
	if(strcmp(method, "GET") != 0)
		return say(answer, NOT_ALLOWED, "Method Not Allowed");
	return OK;
}

static int serve_page(void *cls, void *connection, const char *url, const char *method, const char *version,
		const char *body, size_t len, void **con_cls, str *buffer, str *answer, union sockaddr_union *client)
{
	int code;

	(void)cls;
	(void)connection;
	(void)version;
	(void)body;
	(void)len;
	(void)con_cls;
	(void)buffer;
	(void)client;
	code = look_at(url, "/", method, answer);
	if(code == OK)
		*answer = page;
	return code;
}

static int serve_metrics(void *cls, void *connection, const char *url, const char *method, const char *version,
		const char *body, size_t len, void **con_cls, str *buffer, str *answer, union sockaddr_union *client)
{
	struct cpm_str text;
	int code;

	(void)cls;
	(void)connection;
	(void)version;
	(void)body;
	(void)len;
	(void)con_cls;
	(void)buffer;
	(void)client;
	code = look_at(url, "", method, answer);
	if(code != OK)
		return code;
	text = cpm_core_api->metrics(cpm_service);
	if(text.s == NULL)
		return say(answer, ERROR, "Internal Server Error");
	*answer = cpm_to_str(text);
	return OK;
}

/* How long it takes tells nobody how much of a guess is right. */
static int is_password(const mi_item_t *given)
{
	size_t len = strlen(cpm_page_password), guessed, i;
	unsigned char differs = 0;

	if(given == NULL || !(given->type & cJSON_String))
		return 0;
	guessed = strlen(given->valuestring);
	for(i = 0; i < guessed; i++)
		differs |= (unsigned char)(given->valuestring[i] ^ cpm_page_password[i % len]);
	return differs == 0 && guessed == len;
}

/* The command that a request asks for. NULL: none that the page may use. */
static struct mi_cmd *command_of(mi_request_t *request)
{
	const char *method = mi_get_req_method(request);
	size_t i;

	for(i = 0; method != NULL && asked[i].method != NULL; i++) {
		if(strcmp(method, asked[i].method) == 0)
			return lookup_mi_cmd((char *)asked[i].command, (int)strlen(asked[i].command));
	}
	return NULL;
}

static int run(mi_request_t *request, str *buffer, str *answer)
{
	struct mi_cmd *command;
	mi_response_t *response;
	int printed;

	if(request->req_obj == NULL)
		return say(answer, BAD_REQUEST, "Bad Request");
	if(!is_password(cJSON_GetObjectItem(request->req_obj, "password"))) {
		LM_NOTICE("a request to the operator's page has a wrong password\n");
		return say(answer, UNAUTHORIZED, "Unauthorized");
	}
	command = command_of(request);
	if(command == NULL)
		return say(answer, FORBIDDEN, "Forbidden");
	response = handle_mi_request(request, command, NULL);
	if(response == NULL)
		return say(answer, ERROR, "Internal Server Error");
	printed = print_mi_response(response, request->id, buffer, 0);
	free_mi_response(response);
	if(printed < 0) {
		LM_ERR("an answer is longer than httpd's buf_size\n");
		return say(answer, ERROR, "Internal Server Error");
	}
	if(printed == MI_NO_RPL)
		return say(answer, BAD_REQUEST, "Bad Request");
	init_str(answer, buffer->s);
	return OK;
}

static int serve_commands(void *cls, void *connection, const char *url, const char *method, const char *version,
		const char *body, size_t len, void **con_cls, str *buffer, str *answer, union sockaddr_union *client)
{
	mi_request_t request;
	char *text;
	int code;

	(void)cls;
	(void)connection;
	(void)version;
	(void)con_cls;
	(void)client;
	if(url[0] != '\0')
		return say(answer, NOT_FOUND, "Not Found");
	if(strcmp(method, "POST") != 0)
		return say(answer, NOT_ALLOWED, "Method Not Allowed");
	/* httpd reads no body but JSON and XML: what a form of a foreign page sends has none here. */
	if(len == 0)
		return say(answer, BAD_REQUEST, "Bad Request");
	text = pkg_malloc(len + 1);
	if(text == NULL)
		return say(answer, ERROR, "Internal Server Error");
	memcpy(text, body, len);
	text[len] = '\0';
	memset(&request, 0, sizeof(request));
	parse_mi_request(text, NULL, &request);
	code = run(&request, buffer, answer);
	free_mi_request_parsed(&request);
	pkg_free(text);
	return code;
}

/* httpd asks for more of an answer that had none: there is none. */
static ssize_t no_more(void *cls, uint64_t at, char *room, size_t max)
{
	(void)cls;
	(void)at;
	(void)room;
	(void)max;
	return -1;
}

/* 0, or -1 with errno. */
static int read_page(void)
{
	FILE *file = fopen(cpm_page_file, "r");
	struct stat about;
	int is_read = 0;

	if(file == NULL)
		return -1;
	if(fstat(fileno(file), &about) == 0 && about.st_size > 0 && about.st_size < INT_MAX) {
		page.len = (int)about.st_size;
		page.s = pkg_malloc(page.len);
		is_read = page.s != NULL && fread(page.s, 1, page.len, file) == (size_t)page.len;
	}
	fclose(file);
	return is_read ? 0 : -1;
}

/* 0, or -1. */
static int metrics_init(httpd_api_t *api)
{
	static str at = str_init("cpm_metrics");

	if(api->register_httpdcb("cpm", &at, serve_metrics, no_more, HTTPD_TEXT_PLAIN_PROMETHEUS_TYPE, NULL) < 0) {
		LM_ERR("httpd does not serve the metrics\n");
		return -1;
	}
	return 0;
}

int cpm_page_init(void)
{
	static str at = str_init("cpm"), rpc = str_init("cpm_rpc");
	static const char name[] = "cpm";
	httpd_api_t api;
	int has_page = cpm_page_file != NULL || cpm_page_password != NULL;

	if(has_page && (cpm_page_file == NULL || cpm_page_password == NULL || cpm_page_password[0] == '\0')) {
		LM_ERR("operator_page and operator_password need each other\n");
		return -1;
	}
	if(!has_page && !cpm_page_metrics)
		return 0;
	if(load_httpd_api(&api) < 0) {
		LM_ERR("%s needs loadmodule \"httpd.so\"\n", has_page ? "operator_page" : "metrics");
		return -1;
	}
	if(cpm_page_metrics && metrics_init(&api) < 0)
		return -1;
	if(!has_page)
		return 0;
	if(read_page() < 0) {
		LM_ERR("operator_page: %s cannot be read: %s\n", cpm_page_file, strerror(errno));
		return -1;
	}
	if(api.register_httpdcb(name, &at, serve_page, no_more, HTTPD_TEXT_HTML_TYPE, NULL) < 0
			|| api.register_httpdcb(name, &rpc, serve_commands, no_more, HTTPD_APPLICATION_JSON_CNT_TYPE, NULL)
					< 0) {
		LM_ERR("httpd does not serve the operator's page\n");
		return -1;
	}
	return 0;
}
