/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A job whose program has ended is started once more. Slurm does that without
 * anybody's order (a requeue that crossed the program's end; a flag of the grace
 * time that is still set, _slurm_rpc_complete_batch_script), and people do it on
 * purpose. Slurm's record of the job does not tell which, but it counts the times
 * that slurmctld itself put the job back (BatchFlag, _job_complete).
 */
#include "sckpt/policy.h"

/* Times of one node are whole seconds; slurmctld's clock may be another's. In doubt the
 * program runs again. */
#define SLACK 2
#define CLOCKS 5

static bool is_since(int64_t time, int64_t begin, int slack)
{
	return time && time >= begin - slack;
}

enum ending ending_of(const struct job_facts *f, const struct own_end *end)
{
	int64_t touched = end->signalled > end->stopped ? end->signalled :
							  end->stopped;

	if (!f->answered || !f->batch || !f->requeue)
		return ENDING_FORGET;
	/* Ended by the stop is not ended. */
	if (f->pending && (f->preempt_time || end->ours) && !end->requeue_exit)
		return is_since(touched, end->told, SLACK) ? ENDING_TOLD : ENDING_REQUEUED;
	/* Often that was the program's own order, for a signal too, and it relies on it. */
	if (f->pending)
		return is_since(end->stopped, end->told, SLACK) ? ENDING_TOLD : ENDING_AFRESH;
	if (!f->running)
		return ENDING_FORGET;
	if (f->preempt_time && is_since(touched, f->preempt_time, CLOCKS))
		return ENDING_TOLD;
	/* What it has saved itself is read there; a checkpoint would come to the same
	 * exit again, for ever. */
	if (end->requeue_exit)
		return ENDING_AFRESH;
	if (f->preempt_time)
		return ENDING_MAYBE;
	return end->run > 0 ? ENDING_MAYBE : ENDING_FORGET;
}

enum rerun rerun_of(const struct past *was, int run, int batch_flag)
{
	int requeues = run - was->run, known = was->requeued;

	if (requeues <= 0)
		return RERUN_GO_ON; /* it is not of the past */
	if (was->batch_flag > 0 && batch_flag > was->batch_flag)
		known += batch_flag - was->batch_flag;
	if (known >= requeues)
		return RERUN_END;
	return was->failed ? RERUN_GO_ON : RERUN_AFRESH;
}

bool rerun_asks(const struct past *was, int run)
{
	return rerun_of(was, run, 0) != RERUN_END && was->batch_flag > 0;
}

int requeue_wait(const struct job_facts *f, int wait, int slurms, int64_t now)
{
	if (wait <= 0 || wait >= slurms || !f->answered || !f->batch || !f->pending ||
	    !f->completing)
		return 0;
	/* Somebody has said when, or that it is to be asked again; and one that is
	 * expedited does not wait at all. */
	if (f->held || f->begin > now || f->expedited)
		return 0;
	return wait;
}
