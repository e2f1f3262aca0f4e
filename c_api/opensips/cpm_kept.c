/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list in shared memory, with an entry for each transaction until tm releases it: there are few
 * different times, and few transactions are kept open at once.
 */
#include "locking.h"
#include "timer.h"

#include "cpm_kept.h"
#include "cpm_transaction.h"

/* A tick of OpenSIPS: a second. */
#define TICK_MS 1000

/* Transactions that are ended at a time, without the lock. */
#define MAX_DUE 64

struct kept {
	struct kept *next, *previous; /* a ring, whose head is struct all; NULL: no longer in it */
	uint64_t transaction;
	unsigned deadline; /* in ticks */
};

static struct {
	gen_lock_t lock;
	struct kept head;
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

/* Takes transactions whose deadline has passed from the ring: as many as there is room for. */
static size_t take_due(unsigned now, uint64_t due[MAX_DUE])
{
	struct kept *entry, *next;
	size_t n = 0;

	lock_get(&all->lock);
	for(entry = all->head.next; entry != &all->head && n < MAX_DUE; entry = next) {
		next = entry->next;
		if((int)(now - entry->deadline) < 0)
			continue;
		due[n++] = entry->transaction;
		leave(entry);
	}
	lock_release(&all->lock);
	return n;
}

/* Called for each. */
static void (*end_transaction)(uint64_t transaction);

static void check(unsigned int ticks, void *param)
{
	uint64_t due[MAX_DUE];
	size_t n, i;

	(void)param;
	do {
		n = take_due(ticks, due);
		for(i = 0; i < n; i++)
			end_transaction(due[i]);
	} while(n == MAX_DUE);
}

int cpm_kept_init(void (*end)(uint64_t transaction))
{
	end_transaction = end;
	all = shm_malloc(sizeof(*all));
	if(all == NULL || lock_init(&all->lock) == NULL) {
		LM_ERR("no more shared memory\n");
		return -1;
	}
	all->head.next = all->head.previous = &all->head;
	if(register_timer("cpm-kept", check, NULL, 1, TIMER_FLAG_DELAY_ON_DELAY) < 0) {
		LM_ERR("no timer for transactions that are kept open\n");
		return -1;
	}
	return 0;
}

static void nothing(struct cell *t, int type, struct tmcb_params *params)
{
	(void)t;
	(void)type;
	(void)params;
}

static void release(void *kept)
{
	struct kept *entry = kept;

	lock_get(&all->lock);
	leave(entry);
	lock_release(&all->lock);
	shm_free(entry);
}

int cpm_kept_add(struct sip_msg *msg, struct cell *t, unsigned milliseconds)
{
	struct kept *entry = shm_malloc(sizeof(*entry));

	if(entry == NULL)
		return -1;
	entry->transaction = cpm_number_of(t->hash_index, t->label);
	entry->deadline = get_ticks() + (milliseconds + TICK_MS - 1) / TICK_MS;
	entry->next = entry->previous = NULL;
	if(cpm_tm.register_tmcb(msg, t, TMCB_TRANS_DELETED, nothing, entry, release) < 0) {
		shm_free(entry);
		return -1;
	}
	lock_get(&all->lock);
	entry->next = all->head.next;
	entry->previous = &all->head;
	entry->next->previous = all->head.next = entry;
	lock_release(&all->lock);
	return 0;
}
