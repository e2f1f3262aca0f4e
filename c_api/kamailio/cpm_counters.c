/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/counters.h"
#include "core/mem/mem.h"

#include "cpm_counters.h"
#include "cpm_host.h"

/* Indexed by their numbers in the core. */
static counter_handle_t *counters;

/* `param` is the number of the gauge. */
static counter_val_t gauge(counter_handle_t handle, void *param)
{
	(void)handle;
	return (counter_val_t)cpm_core_api->gauge_value(cpm_service, (size_t)param);
}

static int add(counter_handle_t *handle, const struct cpm_row *row, counter_cbk_f callback, size_t number)
{
	char *name = cpm_chars_of(row->name), *help = cpm_chars_of(row->help);

	if(name == NULL || help == NULL || counter_register(handle, "cpm", name, 0, callback, (void *)number, help, 0) < 0) {
		LM_ERR("the counter %.*s could not be registered\n", (int)row->name.len, row->name.s);
		return -1;
	}
	return 0;
}

int cpm_counters_register(void)
{
	struct cpm_row row;
	counter_handle_t handle;
	size_t n, number;

	for(n = 0; cpm_core_api->counter(n, &row) == 1; n++)
		;
	counters = pkg_malloc(n * sizeof(*counters));
	if(counters == NULL) {
		PKG_MEM_ERROR;
		return -1;
	}
	for(number = 0; cpm_core_api->counter(number, &row) == 1; number++) {
		if(add(&counters[number], &row, NULL, 0) < 0)
			return -1;
	}
	for(number = 0; cpm_core_api->gauge(number, &row) == 1; number++) {
		if(add(&handle, &row, gauge, number) < 0)
			return -1;
	}
	return 0;
}

void cpm_count(uint32_t counter, uint32_t n)
{
	counter_add(counters[counter], (int)n);
}

uint64_t cpm_counted(uint32_t counter)
{
	return (uint64_t)counter_get_val(counters[counter]);
}
