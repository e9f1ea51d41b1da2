/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt vacate: a checkpoint, and only then the node is given up. The SIGTERM of the
 * requeue makes each step save once more, only what changed since, and end. */
#include <stdio.h>

#include "cli.h"

int cmd_vacate(const struct options *o)
{
	struct err e = { "" };
	struct job job;
	char *argv[] = { SCONTROL_PATH, "requeue", job.name, NULL };
	int rc = ask_steps(o, ASK_VACATE, &job);

	if (rc)
		return rc == EXIT_USAGE || rc == EXIT_NOT_FOUND ?
			       rc :
			       complain(rc, "job %s is not vacated", o->argv[0]);
	if ((rc = slurm_run(argv, NULL, 0, &e)))
		return complain(EXIT_FAILED, "job %s is checkpointed, and runs on: %s",
				job.name,
				rc < 0 ? e.text : "scontrol requeue refuses, see above");
	if (!o->json)
		printf("job %s is requeued; it goes on where Slurm starts it next\n",
		       job.name);
	return EXIT_OK;
}
