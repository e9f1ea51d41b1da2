/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The word timelimit: before its time limit ends it, the job is checkpointed
 * and requeued. When is asked of slurmctld, for limits are changed in the
 * meantime; seldom, for there are thousands of jobs.
 */
#include <stdio.h>

#include "sckpt/policy.h"

/* For what the estimate does not know, and for slurmctld to answer. */
#define MARGIN 5
/* A warning comes up to a minute earlier than was asked for (slurmctld looks
 * at limits every 30 s); nobody asks for one an hour ahead to save state. */
#define WARNED_MOST 600
#define ASK_LEAST 2
#define ASK_MOST (6 * 3600)
#define ASK_AGAIN 60

struct limit_plan limit_plan(const struct job_facts *f, int64_t now,
			     int64_t need_us)
{
	int64_t need = (need_us + 999999) / 1000000, lead = MARGIN + 2 * need;
	int64_t left = f->end - now, spare = left - lead, half = spare / 2;

	if (!f->answered)
		return (struct limit_plan){ LIMIT_ASK, ASK_AGAIN, "" };
	/* Being stopped, or suspended: then its limit does not run down. */
	if (!f->running)
		return (struct limit_plan){ LIMIT_ASK, ASK_AGAIN, "" };
	if (!f->batch)
		return (struct limit_plan){
			LIMIT_NEVER, 0,
			"the word timelimit is for batch jobs, Slurm requeues no others: at its limit this step ends without a checkpoint"
		};
	if (!f->requeue)
		return (struct limit_plan){
			LIMIT_NEVER, 0,
			"the job may not be requeued, so that nothing goes on after its time limit: submit with --requeue"
		};
	if (f->end <= 0)
		return (struct limit_plan){ LIMIT_ASK, ASK_MOST, "" };
	/* Else it would do nothing but checkpoint and restore. */
	if (f->start > 0 && lead > (f->end - f->start) * 3 / 4)
		return (struct limit_plan){
			LIMIT_NEVER, 0,
			"the time limit is too short to go on in slices, for most of it would be spent on checkpoints: submit with a longer --time"
		};
	if (spare <= 0)
		return (struct limit_plan){ LIMIT_ACT, 0, "" };
	if (half < 20)
		half = spare;
	return (struct limit_plan){ LIMIT_ASK,
				    half > ASK_MOST ? ASK_MOST :
				    half < ASK_LEAST ? ASK_LEAST : (int)half,
				    "" };
}

bool warning_saves(const struct job_facts *f, const struct spec *spec,
		   int64_t now)
{
	if (!f->answered || !f->running || (!spec->every && !spec->timelimit))
		return false;
	if (f->preempted)
		return true;
	/* With timelimit the plan takes care of it. */
	return !spec->timelimit && f->end > now && f->end - now <= WARNED_MOST;
}
