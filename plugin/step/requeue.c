/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What slurmctld is asked, and told, when a step is over and its job may not be. */
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "sckpt/store.h"
#include "supervise.h"

/* When the step was told to stop, seconds since 1970; or now. */
static int64_t told_at(const struct supervisor *s)
{
	int64_t ago = clock_ns(CLOCK_MONOTONIC) - s->told;

	return time(NULL) - (s->told ? ago / 1000000000 : 0);
}

static bool is_requeue_exit(const struct job_facts *facts, int status)
{
	cleanup_free char *config = NULL;

	/* Slurm asks no more of one that was killed. */
	if (!facts->batch || !facts->requeue || !WIFEXITED(status) || !WEXITSTATUS(status))
		return false;
	config = config_ask(NULL);
	return config && config_requeue_exit(config, WEXITSTATUS(status));
}

void answer_end(struct supervisor *s, int64_t touched)
{
	struct control msg = { .kind = CONTROL_KEEP, .value = ENDING_FORGET,
			       .batch_flag = -1 };
	struct job_facts facts;
	struct own_end end = { .run = s->spec.restart,
				     .signalled = s->passed,
				     .stopped = s->stopped > touched ?
							s->stopped :
							touched,
				     .told = told_at(s),
				     .ours = s->requeue_ordered };

	job_ask(s->spec.job, &facts, NULL);
	end.requeue_exit = is_requeue_exit(&facts, s->status);
	msg.value = ending_of(&facts, &end);
	/* In the first run nothing has been counted yet. */
	if (msg.value == ENDING_MAYBE || msg.value == ENDING_REQUEUED)
		msg.batch_flag = s->spec.restart > 0 ?
					 job_batch_flag(s->spec.job, NULL) :
					 1;
	control_send(s->spec.control, &msg, NULL);
}

void start_soon(const struct supervisor *s)
{
	cleanup_free char *config = NULL;
	struct err e = { "" };
	struct job_facts facts;
	int wait;

	/* A script's steps are over before it is. */
	if (!s->spec.limits.requeue_wait ||
	    is_call_step(s->spec.step))
		return;
	if (!(config = config_ask(NULL)))
		return;
	job_ask(s->spec.job, &facts, NULL);
	wait = requeue_wait(&facts, s->spec.limits.requeue_wait,
			    config_requeue_delay(config), time(NULL));
	if (wait && job_start_in(&facts, wait, &e) < 0)
		say(SAYS "job %u starts again when Slurm lets it, for it could not be let start sooner: %s",
		    s->spec.job, e.text);
}
