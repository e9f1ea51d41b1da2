/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tasks of a step on one node are one process tree below sckpt-root. Where
 * they are several, each process that slurmstepd made for one becomes two:
 *
 *   sckpt-task   (task.c) Slurm's task: passes on its signals, and ends as the
 *                task's program ends. Its link, a socket pair, leads to
 *                sckpt-supervise (links.c), which is nobody's task then;
 *   sckpt-join   (join.c) goes through slurmstepd's TaskProlog, environment and
 *                limits, hands all that over to the agent, and ends. (The first
 *                task's is the agent itself.)
 *
 * The agent starts all of them at once (tasks.c, program.c).
 */
#ifndef SCKPT_TASKS_H
#define SCKPT_TASKS_H

#include <sched.h>

#include "sckpt/base.h"

/* What sckpt-join sends. Behind it come descriptors: a file that holds the state
 * (struct join_state), then those that the program gets under `numbers`. */
struct join_message {
	int32_t task;
	int32_t failed; /* it cannot join, and sckpt-task says so; the rest is void */
	int32_t status; /* its wait status then */
	int32_t count;
	int32_t numbers[FDS_MAX - 1];
};

/* Begin of the state; then arguments and environment, each string with its NUL. */
struct join_state {
	uint32_t arguments, environment; /* bytes */
	cpu_set_t cpus; /* where Slurm has bound the task */
};

#define JOIN_STATE_MAX (16 << 20)

/* resolve.c: the file that Slurm would run; malloc'ed, the caller's. */
char *program_resolve(const char *name, unsigned job, const char *step,
		      const char *node);

#endif
