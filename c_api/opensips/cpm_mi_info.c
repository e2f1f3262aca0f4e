/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that list parameters with their values, and counters, and the command that changes a
 * parameter. The core passes a change to every process itself (service_tune).
 */
#include <stdio.h>

#include "statistics.h"
#include "ut.h"

#include "cpm_counters.h"
#include "cpm_express.h"
#include "cpm_host.h"
#include "cpm_mi.h"
#include "cpm_size.h"

static int add_value(mi_item_t *to, const struct cpm_parameter *parameter, const str *name, struct cpm_str text)
{
	str value = cpm_to_str(text);
	int number;

	if(parameter->is_number && str2sint(&value, &number) == 0)
		return add_mi_number(to, name != NULL ? name->s : NULL, name != NULL ? name->len : 0, number);
	if(value.s == NULL)
		value.s = "";
	return add_mi_string(to, name != NULL ? name->s : NULL, name != NULL ? name->len : 0, value.s, value.len);
}

/* The values of the parameter with this number, under its name. */
static int add_parameter(mi_item_t *list, size_t number, const struct cpm_parameter *parameter)
{
	str name = cpm_to_str(parameter->name);
	struct cpm_str text;
	mi_item_t *values;
	size_t i;

	if(!parameter->is_repeatable)
		return add_value(list, parameter, &name, cpm_core_api->value(cpm_service, number, 0));
	values = add_mi_array(list, name.s, name.len);
	if(values == NULL)
		return -1;
	for(i = 0; (text = cpm_core_api->value(cpm_service, number, i)).s != NULL; i++) {
		if(add_value(values, parameter, NULL, text) < 0)
			return -1;
	}
	return 0;
}

mi_response_t *cpm_mi_config(const mi_params_t *params, struct mi_handler *asynchronous)
{
	struct cpm_parameter parameter;
	mi_response_t *response;
	mi_item_t *list;
	size_t number;
	const char *closed = cpm_express_closed();

	(void)params;
	(void)asynchronous;
	response = init_mi_result_object(&list);
	if(response == NULL)
		return NULL;
	for(number = 0; cpm_core_api->parameter(number, &parameter) == 1; number++) {
		if(add_parameter(list, number, &parameter) < 0)
			goto no_memory;
	}
	if(closed == NULL)
		closed = "open";
	if(add_mi_number(list, MI_SSTR("udp_mtu"), cpm_udp_mtu) < 0
			|| add_mi_string(list, MI_SSTR("express_lane"), (char *)closed, (int)strlen(closed)) < 0)
		goto no_memory;
	return response;

no_memory:
	free_mi_response(response);
	return NULL;
}

/* A parameter that can change: its value and its possible values. */
static int add_tunable(mi_item_t *list, size_t number, const struct cpm_parameter *parameter)
{
	mi_item_t *item = add_mi_object(list, (char *)parameter->name.s, (int)parameter->name.len);
	str value = str_init("value");

	if(item == NULL || add_value(item, parameter, &value, cpm_core_api->value(cpm_service, number, 0)) < 0
			|| add_mi_number(item, MI_SSTR("min"), parameter->min) < 0
			|| add_mi_number(item, MI_SSTR("max"), parameter->max) < 0)
		return -1;
	return add_mi_string(item, MI_SSTR("help"), (char *)parameter->help.s, (int)parameter->help.len);
}

/* All parameters that can change, or the one with this name. */
static mi_response_t *get(struct cpm_str name)
{
	struct cpm_parameter parameter;
	mi_response_t *response;
	mi_item_t *list;
	size_t number;
	int found = 0;

	response = init_mi_result_object(&list);
	if(response == NULL)
		return NULL;
	for(number = 0; cpm_core_api->parameter(number, &parameter) == 1; number++) {
		if(!parameter.is_tunable)
			continue;
		if(name.s != NULL && (name.len != parameter.name.len || memcmp(name.s, parameter.name.s, name.len) != 0))
			continue;
		found = 1;
		if(add_tunable(list, number, &parameter) < 0) {
			free_mi_response(response);
			return NULL;
		}
	}
	if(found)
		return response;
	free_mi_response(response);
	return init_mi_error(404, MI_SSTR("There is no such parameter that can change"));
}

mi_response_t *cpm_mi_get_all(const mi_params_t *params, struct mi_handler *asynchronous)
{
	struct cpm_str all = {NULL, 0};

	(void)params;
	(void)asynchronous;
	return get(all);
}

/* A text among the parameters of the command. 0, or -1: it is missing. */
static int text_of(const mi_params_t *params, char *name, struct cpm_str *text)
{
	char *s;
	int len;

	if(get_mi_string_param(params, name, &s, &len) < 0)
		return -1;
	text->s = s;
	text->len = (size_t)len;
	return 0;
}

mi_response_t *cpm_mi_get(const mi_params_t *params, struct mi_handler *asynchronous)
{
	struct cpm_str name;

	(void)asynchronous;
	if(text_of(params, "name", &name) < 0)
		return init_mi_param_error();
	return get(name);
}

/* The parameter of the command with this name, as text: OpenSIPS passes digits as a number. */
static int value_of(const mi_params_t *params, char *room, size_t len, struct cpm_str *text)
{
	int number;

	if(try_get_mi_int_param(params, "value", &number) == 0) {
		text->s = room;
		text->len = (size_t)snprintf(room, len, "%d", number);
		return 0;
	}
	return text_of(params, "value", text);
}

mi_response_t *cpm_mi_set(const mi_params_t *params, struct mi_handler *asynchronous)
{
	char room[CPM_NUMBER_BYTES];
	struct cpm_str name, value;

	(void)asynchronous;
	if(text_of(params, "name", &name) < 0 || value_of(params, room, sizeof(room), &value) < 0)
		return init_mi_param_error();
	if(cpm_core_api->service_tune(cpm_service, name, value, 0) != 0)
		return init_mi_error(400, MI_SSTR("The parameter does not take this value now: see the log"));
	return init_mi_result_ok();
}

mi_response_t *cpm_mi_stats(const mi_params_t *params, struct mi_handler *asynchronous)
{
	struct cpm_row row;
	mi_response_t *response;
	mi_item_t *list;
	size_t number;

	(void)params;
	(void)asynchronous;
	response = init_mi_result_object(&list);
	if(response == NULL)
		return NULL;
	for(number = 0; cpm_core_api->counter(number, &row) == 1; number++) {
		if(add_mi_number(list, (char *)row.name.s, (int)row.name.len, (double)cpm_counted((uint32_t)number)) < 0)
			goto no_memory;
	}
	for(number = 0; cpm_core_api->gauge(number, &row) == 1; number++) {
		if(add_mi_number(
				   list, (char *)row.name.s, (int)row.name.len, (double)cpm_core_api->gauge_value(cpm_service, number))
				< 0)
			goto no_memory;
	}
	return response;

no_memory:
	free_mi_response(response);
	return NULL;
}
