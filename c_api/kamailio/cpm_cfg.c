/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tunable parameters as the group "cpm" of Kamailio's cfg framework, for the operator. The core
 * defines them and their ranges, and distributes changes to its own part of every process
 * (service_tune).
 */
#include <string.h>

#include "core/cfg/cfg.h"
#include "core/cfg/cfg_struct.h"

#include "cpm_cfg.h"

#define GROUP "cpm"

/* One for each tunable parameter, and an empty one at the end. */
static cfg_def_t *definitions;

/* The values. This points to them before the fork; later it is a copy of them in shared memory. */
static void *handle;

/* The text for cfg.help, allocated as by cpm_chars_of(). */
static char *help_of(const struct cpm_parameter *parameter)
{
	size_t len = parameter->help.len + sizeof(" ()") + parameter->values.len;
	char *text = pkg_malloc(len);

	if(text != NULL)
		snprintf(text, len, "%.*s (%.*s)", (int)parameter->help.len, parameter->help.s, (int)parameter->values.len,
				parameter->values.s);
	return text;
}

static int tune(const str *name, int value, int only_try)
{
	char number[INT2STR_MAX_LEN];
	struct cpm_str text = {number, 0};

	text.len = (size_t)snprintf(number, sizeof(number), "%d", value);
	return cpm_core_api->service_tune(cpm_service, cpm_of_str(name), text, only_try);
}

/* In the process that receives the change, before any other sees it: it may refuse. */
static int is_possible(void *unused, str *group_name, str *name, void **value)
{
	(void)unused;
	(void)group_name;
	return tune(name, (int)(long)*value, 1);
}

/* The last committed block. To be released with CFG_UNREF. */
static cfg_block_t *newest(void)
{
	cfg_block_t *block;

	CFG_LOCK();
	block = *cfg_global;
	CFG_REF(block);
	CFG_UNLOCK();
	return block;
}

/* In each process, before its next piece of work (cfg_update): the first one makes the core apply
 * the committed values, the others find them applied. A process that was slower than the next
 * commit, and has made the core apply older values, notices it here and corrects them. */
static void changed(str *unused_group, str *unused_name)
{
	cfg_group_t *group = cfg_lookup_group(GROUP, sizeof(GROUP) - 1);
	cfg_block_t *block;
	const int *committed;
	str name;
	int i, is_newest;

	(void)unused_group;
	(void)unused_name;
	do {
		block = newest();
		committed = (const int *)CFG_GROUP_DATA(block, group);
		for(i = 0; definitions[i].name != NULL; i++) {
			name.s = definitions[i].name;
			name.len = (int)strlen(name.s);
			tune(&name, committed[i], 0);
		}
		is_newest = block == *(cfg_block_t *volatile *)cfg_global;
		CFG_UNREF(block);
	} while(!is_newest);
}

/* Room for all tunable parameters. -1: there is no memory. */
static int make_room(void)
{
	struct cpm_parameter parameter;
	size_t number, n = 0;

	for(number = 0; cpm_core_api->parameter(number, &parameter) == 1; number++)
		n += parameter.is_tunable != 0;
	definitions = pkg_malloc((n + 1) * sizeof(*definitions));
	handle = pkg_malloc((n + 1) * sizeof(int));
	if(definitions == NULL || handle == NULL) {
		PKG_MEM_ERROR;
		return -1;
	}
	memset(definitions, 0, (n + 1) * sizeof(*definitions));
	return 0;
}

int cpm_cfg_declare(void)
{
	struct cpm_parameter parameter;
	str value;
	int *values;
	size_t number;
	int n = 0;

	if(make_room() < 0)
		return -1;
	values = handle;
	for(number = 0; cpm_core_api->parameter(number, &parameter) == 1; number++) {
		if(!parameter.is_tunable)
			continue;
		value = cpm_to_str(cpm_core_api->value(cpm_service, number, 0));
		if(str2sint(&value, &values[n]) < 0) {
			LM_CRIT("parameter %.*s is not a number\n", (int)parameter.name.len, parameter.name.s);
			return -1;
		}
		definitions[n].name = cpm_chars_of(parameter.name);
		definitions[n].descr = help_of(&parameter);
		if(definitions[n].name == NULL || definitions[n].descr == NULL)
			return -1;
		definitions[n].type = CFG_VAR_INT;
		definitions[n].min = parameter.min;
		definitions[n].max = parameter.max;
		/* The framework checks the range itself. The callback reads only data that no other process
		 * changes. */
		definitions[n].on_change_cb = parameter.is_checked ? is_possible : NULL;
		definitions[n].on_set_child_cb = changed;
		n++;
	}
	if(cfg_declare(GROUP, definitions, values, n * (int)sizeof(int), &handle) < 0) {
		LM_ERR("the parameters that can change while running could not be declared\n");
		return -1;
	}
	return 0;
}
