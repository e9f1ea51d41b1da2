/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the job's state to the cause of a SIGTERM (Slurm 24.11: preempt.c,
 * job_mgr.c _job_requeue_op, slurmd/req.c).
 */
#include "sckpt/policy.h"

enum cause stop_cause(const struct job_facts *f)
{
	if (!f->answered)
		return CAUSE_UNKNOWN;
	if (f->running)
		return f->preempted ? CAUSE_GRACE : CAUSE_SIGNAL;
	if (f->cancelled)
		return CAUSE_CANCELLED;
	if (f->timeout)
		return CAUSE_TIMEOUT;
	if (f->evicted)
		return CAUSE_EVICTED;
	if (f->pending)
		return f->preempted ? CAUSE_PREEMPTED : CAUSE_REQUEUED;
	return CAUSE_ENDED;
}

enum action stop_action(enum cause cause, const struct spec *spec)
{
	switch (cause) {
	case CAUSE_GRACE:
		/* It may run until the end of the grace, and is told again. */
		return ACTION_SAVE;
	case CAUSE_PREEMPTED:
	case CAUSE_REQUEUED:
	case CAUSE_UNKNOWN:
	/* It was not the user's wish that it ends. */
	case CAUSE_EVICTED:
		return ACTION_SAVE_AND_END;
	case CAUSE_TIMEOUT:
		/* Usually this was forestalled (limit.c). */
		if (spec->timelimit)
			return ACTION_SAVE_AND_REQUEUE;
		break;
	case CAUSE_CANCELLED:
		if (spec->cancel)
			return ACTION_SAVE_AND_END;
		break;
	case CAUSE_SIGNAL:
	case CAUSE_ENDED:
		break;
	}
	/* Nothing would restore it: the program's own handler comes first. */
	return ACTION_PASS;
}

const char *cause_name(enum cause cause)
{
	switch (cause) {
	case CAUSE_SIGNAL:
		return "a signal";
	case CAUSE_GRACE:
		return "preemption, in its grace time";
	case CAUSE_PREEMPTED:
	case CAUSE_EVICTED:
		return "preemption";
	case CAUSE_REQUEUED:
		return "requeue";
	case CAUSE_TIMEOUT:
		return "time limit";
	case CAUSE_CANCELLED:
		return "scancel";
	case CAUSE_ENDED:
		return "the job's end";
	case CAUSE_UNKNOWN:
		break;
	}
	return "a stop, with slurmctld not answering why";
}
