/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "statistics.h"

#include "cpm_counters.h"
#include "cpm_host.h"

/* Indexed by their numbers in the core. */
static stat_var **counters;

/* `number` is the gauge's. */
static unsigned long gauge(void *number)
{
	return (unsigned long)cpm_core_api->gauge_value(cpm_service, (size_t)number);
}

static int add(const struct cpm_row *row, stat_var **variable, unsigned short flags, size_t number)
{
	char *name = cpm_chars_of(row->name);

	if(name == NULL || register_stat2("cpm", name, variable, flags, (void *)number, 0) != 0) {
		LM_ERR("the statistic %.*s could not be registered\n", (int)row->name.len, row->name.s);
		return -1;
	}
	return 0;
}

int cpm_counters_register(void)
{
	struct cpm_row row;
	size_t n, number;

	for(n = 0; cpm_core_api->counter(n, &row) == 1; n++)
		;
	counters = pkg_malloc(n * sizeof(*counters));
	if(counters == NULL) {
		LM_ERR("no more private memory\n");
		return -1;
	}
	for(number = 0; cpm_core_api->counter(number, &row) == 1; number++) {
		if(add(&row, &counters[number], 0, 0) < 0)
			return -1;
	}
	for(number = 0; cpm_core_api->gauge(number, &row) == 1; number++) {
		/* OpenSIPS takes the function in place of a variable. */
		if(add(&row, (stat_var **)(void (*)(void))gauge, STAT_IS_FUNC, number) < 0)
			return -1;
	}
	return 0;
}

void cpm_count(uint32_t counter, uint32_t n)
{
	update_stat(counters[counter], (int)n);
}

uint64_t cpm_counted(uint32_t counter)
{
	return get_stat_val(counters[counter]);
}
