/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Module parameters. The core defines them all, with type, range and default; this file builds
 * the proxy's table from them when the module is loaded. The proxy passes a setter the value but
 * not the name, so each parameter has its own setter, by number.
 */
#include <stdio.h>
#include <string.h>

#include "cpm_parameters.h"

#define MAX_PARAMETERS 100
/* Those that a shim may add. */
#define MAX_OWN_PARAMETERS 4

static int set_parameter(int number, modparam_t type, void *value);

/* set_100() sets parameter 0: in C a number that begins with 0 would be octal. */
#define SETTER(n)                                     \
	static int set_##n(modparam_t type, void *value)  \
	{                                                 \
		return set_parameter((n)-100, type, value);   \
	}
#define NAMED(n) set_##n,
#define TEN(X, n) X(n##0) X(n##1) X(n##2) X(n##3) X(n##4) X(n##5) X(n##6) X(n##7) X(n##8) X(n##9)
#define HUNDRED(X)                                                                   \
	TEN(X, 10) TEN(X, 11) TEN(X, 12) TEN(X, 13) TEN(X, 14) TEN(X, 15) TEN(X, 16) TEN(X, 17) TEN(X, 18) TEN(X, 19)
HUNDRED(SETTER)
static int (*const setters[MAX_PARAMETERS])(modparam_t type, void *value) = {HUNDRED(NAMED)};

/* Each may be given as a number or as a string. */
param_export_t cpm_parameters[2 * MAX_PARAMETERS + MAX_OWN_PARAMETERS + 1];

/* If a setter refuses a value, the proxy reports a syntax error after the core's log line. */
static int set_parameter(int number, modparam_t type, void *value)
{
	char text[CPM_NUMBER_BYTES];
	struct cpm_str value_text;

	if(cpm_ensure_service() < 0)
		return -1;
	if(PARAM_TYPE_MASK(type) == CPM_PROXY_NUMBER) {
		snprintf(text, sizeof(text), "%ld", (long)value);
		value_text.s = text;
	} else {
		value_text.s = value != NULL ? (const char *)value : "";
	}
	value_text.len = strlen(value_text.s);
	return cpm_core_api->service_set(cpm_service, cpm_of_chars(cpm_parameters[2 * number].name), value_text);
}

int cpm_parameters_register(const param_export_t *own_parameters, size_t own)
{
	struct cpm_parameter parameter;
	param_export_t *row = cpm_parameters;
	char *name;
	size_t number;

	for(number = 0; cpm_core_api->parameter(number, &parameter) == 1; number++) {
		name = number < MAX_PARAMETERS ? cpm_chars_of(parameter.name) : NULL;
		if(name == NULL) {
			LM_CRIT("no room for parameter %.*s\n", (int)parameter.name.len, parameter.name.s);
			return -1;
		}
		row->type = CPM_PROXY_TEXT | CPM_PROXY_BY_FUNCTION;
		row[1].type = CPM_PROXY_NUMBER | CPM_PROXY_BY_FUNCTION;
		row->name = row[1].name = name;
		row->param_pointer = row[1].param_pointer = (void *)setters[number];
		row += 2;
	}
	if(own > MAX_OWN_PARAMETERS) {
		LM_CRIT("no room for the parameters of the proxy alone\n");
		return -1;
	}
	memcpy(row, own_parameters, own * sizeof(*row));
	return 0;
}
