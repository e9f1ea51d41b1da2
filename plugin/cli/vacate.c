/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt vacate: a checkpoint, and only then the node is given up. The SIGTERM of the
 * requeue makes each step save once more, only what changed since, and end. */
#include <stdio.h>

#include "cli.h"

int cmd_vacate(const struct options *o)
{
	char number[16], *argv[] = { SCONTROL_PATH, "requeue", number, NULL };
	struct err e = { "" };
	struct job job;
	int rc = ask_steps(o, ASK_VACATE, &job);

	if (rc)
		return rc == EXIT_USAGE || rc == EXIT_NOT_FOUND ?
			       rc :
			       complain(rc, "job %s is not vacated", o->argv[0]);
	snprintf(number, sizeof(number), "%u", job.number);
	if ((rc = slurm_run(argv, &e)))
		return complain(EXIT_FAILED, "job %u is checkpointed, and runs on: %s",
				job.number,
				rc < 0 ? e.text : "scontrol requeue refuses, see above");
	if (!o->json)
		printf("job %u is requeued; it goes on where Slurm starts it next\n",
		       job.number);
	return EXIT_OK;
}
