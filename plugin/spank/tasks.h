/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_SPANK_TASKS_H
#define SCKPT_SPANK_TASKS_H

#include "helper.h"

/* slurmstepd, before it forks the tasks, and when it has. */
void tasks_prepare(struct spec *spec);
void tasks_forked(void);

/* The first task's: where links come from, and tasks join. */
int tasks_door(void);
int tasks_joins(void);
/* The others hear from it that they run as the answer says, and not in its tree. */
void tasks_answer(int count, const struct control *answer);

/* Any task's: what it needs to become sckpt-task. Its link is on its way. */
int tasks_helper(struct helper *h, int task, struct err *e);

/*
 * The ranks of an MPI program on one node talk through shared memory that can be
 * dumped: not System V's, and not over the network, which UCX takes otherwise. True:
 * that is so from now on; the user had not said anything of it.
 */
bool tasks_limit_mpi(spank_t sp);

/* A task that is not the first. Returns what task_init returns, or 1: the step is not
 * protected, and the task is to run as it is. */
int tasks_follow(spank_t sp, const struct spec *spec, int task);

#endif
