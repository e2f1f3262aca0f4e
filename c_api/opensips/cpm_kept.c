/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list in shared memory, with each entry until its deadline: there are few different times, and
 * few transactions are kept open at once.
 */
#include "locking.h"
#include "timer.h"

#include "cpm_kept.h"

/* A tick of OpenSIPS: a second. */
#define TICK_MS 1000

struct kept {
	struct kept *next;
	uint64_t transaction;
	unsigned deadline; /* in ticks */
};

static struct {
	gen_lock_t lock;
	struct kept *first;
} *all;

/* Removes the entries whose deadline has passed from the list, and returns them. */
static struct kept *take_due(unsigned now)
{
	struct kept *due = NULL, *entry, **at;

	lock_get(&all->lock);
	at = &all->first;
	while((entry = *at) != NULL) {
		if((int)(now - entry->deadline) < 0) {
			at = &entry->next;
			continue;
		}
		*at = entry->next;
		entry->next = due;
		due = entry;
	}
	lock_release(&all->lock);
	return due;
}

/* Called for each. */
static void (*end_transaction)(uint64_t transaction);

static void check(unsigned int ticks, void *param)
{
	struct kept *due = take_due(ticks), *entry;

	(void)param;
	while((entry = due) != NULL) {
		due = entry->next;
		end_transaction(entry->transaction);
		shm_free(entry);
	}
}

int cpm_kept_init(void (*end)(uint64_t transaction))
{
	end_transaction = end;
	all = shm_malloc(sizeof(*all));
	if(all == NULL || lock_init(&all->lock) == NULL) {
		LM_ERR("no more shared memory\n");
		return -1;
	}
	all->first = NULL;
	if(register_timer("cpm-kept", check, NULL, 1, TIMER_FLAG_DELAY_ON_DELAY) < 0) {
		LM_ERR("no timer for transactions that are kept open\n");
		return -1;
	}
	return 0;
}

int cpm_kept_add(uint64_t transaction, unsigned milliseconds)
{
	struct kept *entry = shm_malloc(sizeof(*entry));

	if(entry == NULL)
		return -1;
	entry->transaction = transaction;
	entry->deadline = get_ticks() + (milliseconds + TICK_MS - 1) / TICK_MS;
	lock_get(&all->lock);
	entry->next = all->first;
	all->first = entry;
	lock_release(&all->lock);
	return 0;
}
