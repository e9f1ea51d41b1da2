/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics (base/metrics.c): what a step's agent counts, and what slurmstepd adds to the
 * node's figures when the step has ended (spank/metrics.c).
 *
 * Between them lies a memory file without a name, sealed to COUNTERS_SIZE. The user can write
 * to it whatever they like; so it is believed within the limits of counters_check(), once.
 */
#ifndef SCKPT_METRICS_H
#define SCKPT_METRICS_H

#include "sckpt/base.h"

/* Of checkpoints and their failures. */
enum counted_reason {
	COUNTED_PREEMPTION,
	COUNTED_REQUEUE,
	COUNTED_TIMELIMIT,
	COUNTED_CANCEL,
	COUNTED_CLOCK, /* every= */
	COUNTED_REQUEST, /* sckpt create, sckpt vacate */
	COUNTED_CHECK,
	COUNTED_OTHER,
	COUNTED_REASONS
};

/* Of restores that were refused. */
enum counted_refusal {
	REFUSED_NODE, /* this node has not what it needs */
	REFUSED_OLDER, /* an older generation was taken */
	REFUSED_AFRESH, /* the step started afresh (on-restore-failure=fresh) */
	REFUSED_LOST, /* the step did not start */
	REFUSALS
};

/* All only grow. Alike on both sides: what is written by one release is read by the same. */
struct counters {
	uint64_t checkpoints[COUNTED_REASONS];
	uint64_t failures[COUNTED_REASONS];
	uint64_t taken; /* bytes of memory that criu handed over */
	uint64_t stored; /* bytes that the store got more */
	uint64_t us; /* of checkpoints, until they were durable */
	uint64_t stopped_us; /* in which programs stood still for them */
	uint64_t restores;
	uint64_t refusals[REFUSALS];
	uint64_t restore_us;
};

#define COUNTERS_SIZE 4096 /* of the memory file; a page */
_Static_assert(sizeof(struct counters) <= COUNTERS_SIZE, "it fits");

/* From the words that a manifest has. */
enum counted_reason counted_reason(const char *reason);

/* Can a step that lived so long have such? */
int counters_check(const struct counters *c, uint64_t lived_us, struct err *e);

/* What a node has counted since it was booted. */
struct node_counters {
	char magic[8];
	struct counters sum;
	uint64_t steps; /* that ended */
	uint64_t bad; /* whose figures were not believed */
};
#define NODE_COUNTERS_MAGIC "sckptN1"

/* No sum goes beyond the largest number. */
void counters_add(struct counters *sum, const struct counters *c);

/* Prometheus' text format. Returns its size in bytes; -1: it does not fit. */
#define METRICS_TEXT_MAX 8192
int metrics_print(const struct node_counters *n, char text[METRICS_TEXT_MAX]);

#endif
