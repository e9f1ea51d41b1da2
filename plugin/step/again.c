/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program of a batch step has ended, and its job may be started once more though
 * nobody wants that. Then the step ends as the program did; and since Slurm has emptied
 * its output files, what it wrote is written again.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sckpt/policy.h"
#include "step.h"

void end_note(struct ended *ended, int run, int status, const struct control *keep)
{
	ended->run = run;
	/* What ended well, and was not put back by slurmctld itself, is run afresh. */
	ended->status = keep->value == ENDING_AFRESH ? 0 : status;
	ended->requeued = keep->value == ENDING_REQUEUED;
	ended->batch_flag = keep->batch_flag;
}

int end_keep(const struct step *step, int status, const struct control *keep,
	     struct err *e)
{
	struct ended ended = { .time = time(NULL) };
	struct manifest m = { .job = step->spec.job };
	char node[256];
	int rc;

	end_note(&ended, step->spec.restart, status, keep);
	/* What another run has kept is not to be written over. */
	if (store_superseded(&step->store, ended.run, node, e))
		return err_set(e, "the job goes on on %.200s since", node);
	rc = stdio_settle(step->io, &m, e);
	if (rc == 0)
		rc = stdio_sync(step->io, e);
	for (int i = 0; rc == 0 && i < TASK_STREAMS; i++) {
		ended.length[i] = -1;
		if (i == 0 || step->io->s[i].output != i)
			continue;
		ended.length[i] = m.streams[i].length;
		rc = ended_keep_output(&step->spec, &step->store, i, e);
	}
	manifest_free(&m);
	return rc < 0 ? -1 : ended_write(&step->spec, &ended, e);
}

int end_again(const struct step *step, struct ended *ended, struct err *e)
{
	int rc = ended_read(&step->spec, ended, e);

	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, "it is not known any more how its program ended");
	for (int i = 1; i < TASK_STREAMS; i++) {
		cleanup_fd int log = -1;

		if (ended->length[i] < 0)
			continue;
		if ((log = ended_output(&step->spec, i, e)) < 0 ||
		    stdio_say_again(step->io, i, log, ended->length[i], e) < 0)
			return -1;
	}
	return 0;
}
