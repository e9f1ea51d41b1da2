/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt create: a checkpoint now, and the job goes on. */
#include "cli.h"

int cmd_create(const struct options *o)
{
	struct job job;

	return ask_steps(o, ASK_CREATE, &job);
}
