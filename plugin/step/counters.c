/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent counts for the node's metrics (sckpt/metrics.h). Of a step on several nodes
 * each counts its own part. */
#include <sys/mman.h>
#include <unistd.h>

#include "step.h"

static struct counters *counters;

void counters_open(int *fd)
{
	void *at;

	if (*fd < 0)
		return;
	at = mmap(NULL, COUNTERS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (at != MAP_FAILED)
		counters = at;
	close_fd(fd);
}

/* A thread may end a checkpoint while the agent counts something else. */
static void add(uint64_t *to, int64_t n)
{
	if (n > 0)
		__atomic_add_fetch(to, (uint64_t)n, __ATOMIC_RELAXED);
}

void count_checkpoint(const struct manifest *m, uint64_t taken)
{
	if (!counters)
		return;
	add(&counters->checkpoints[counted_reason(m->reason)], 1);
	add(&counters->taken, (int64_t)taken);
	add(&counters->stored, (int64_t)m->set.stored);
	add(&counters->us, m->dump_us);
	add(&counters->stopped_us, m->frozen_us);
}

void count_failure(const char *reason)
{
	if (counters)
		add(&counters->failures[counted_reason(reason)], 1);
}

void count_restore(int64_t us)
{
	if (!counters)
		return;
	add(&counters->restores, 1);
	add(&counters->restore_us, us);
}

void count_refusal(enum counted_refusal how)
{
	if (counters)
		add(&counters->refusals[how], 1);
}
