/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list in shared memory, with an entry for each transaction until tm releases it: there are few
 * different times, and few transactions are kept open at once.
 */
#include "locking.h"
#include "timer.h"

#include "cpm_kept.h"

/* A tick of OpenSIPS: a second. */
#define TICK_MS 1000

/* Both rings have a head that is no transaction. */
struct kept {
	struct kept *next, *previous; /* NULL: it is in no ring */
	uint64_t transaction;
	unsigned deadline; /* in ticks */
};

static struct {
	gen_lock_t lock;
	struct kept waiting;
	struct kept due;
} *all;

/* Under the lock. */
static void leave(struct kept *entry)
{
	if(entry->next == NULL)
		return;
	entry->next->previous = entry->previous;
	entry->previous->next = entry->next;
	entry->next = entry->previous = NULL;
}

/* Under the lock. */
static void join(struct kept *ring, struct kept *entry)
{
	entry->next = ring->next;
	entry->previous = ring;
	entry->next->previous = ring->next = entry;
}

/* Called for each. */
static void (*end_transaction)(uint64_t transaction);

/* Ends a transaction that is due, without the lock. 1, or 0: there is none. */
static int end_one(void)
{
	uint64_t transaction = 0;
	struct kept *entry;

	lock_get(&all->lock);
	entry = all->due.next;
	if(entry != &all->due) {
		transaction = entry->transaction;
		leave(entry);
	}
	lock_release(&all->lock);
	if(transaction == 0)
		return 0;
	end_transaction(transaction);
	return 1;
}

static void check(unsigned int ticks, void *param)
{
	struct kept *entry, *next;

	(void)param;
	lock_get(&all->lock);
	for(entry = all->waiting.next; entry != &all->waiting; entry = next) {
		next = entry->next;
		if((int)(ticks - entry->deadline) >= 0) {
			leave(entry);
			join(&all->due, entry);
		}
	}
	lock_release(&all->lock);
	while(end_one())
		;
}

int cpm_kept_init(void (*end)(uint64_t transaction))
{
	end_transaction = end;
	all = shm_malloc(sizeof(*all));
	if(all == NULL || lock_init(&all->lock) == NULL) {
		LM_ERR("no more shared memory\n");
		return -1;
	}
	all->waiting.next = all->waiting.previous = &all->waiting;
	all->due.next = all->due.previous = &all->due;
	if(register_timer("cpm-kept", check, NULL, 1, TIMER_FLAG_DELAY_ON_DELAY) < 0) {
		LM_ERR("no timer for transactions that are kept open\n");
		return -1;
	}
	return 0;
}

struct kept *cpm_kept_add(uint64_t transaction, unsigned milliseconds)
{
	struct kept *entry = shm_malloc(sizeof(*entry));

	if(entry == NULL)
		return NULL;
	entry->transaction = transaction;
	entry->deadline = get_ticks() + (milliseconds + TICK_MS - 1) / TICK_MS;
	lock_get(&all->lock);
	join(&all->waiting, entry);
	lock_release(&all->lock);
	return entry;
}

void cpm_kept_remove(void *kept)
{
	struct kept *entry = kept;

	lock_get(&all->lock);
	leave(entry);
	lock_release(&all->lock);
	shm_free(entry);
}
