/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether criu is to be the broker's (include/sckpt/broker.h). */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "sckpt/broker.h"
#include "step.h"

/* Tracing is kept from the user's criu here. */
static bool is_yama(void)
{
	cleanup_free char *scope = NULL;

	return file_read(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 16, &scope, NULL) > 0 &&
	       atoi(scope) > 0;
}

int elevate_broker(const struct step *step)
{
	cleanup_free pid_t *pids = NULL;
	struct blockers found;
	int count;

	/* Most programs need no more, and their checkpoints nobody to vouch for them. */
	if (step->spec.broker < 0)
		return -1;
	if (step->spec.elevate & ELEVATE_PTRACE && is_yama())
		return step->spec.broker;
	if ((count = program_tree(step->root, &pids, NULL)) <= 0)
		return -1;
	blockers_find(pids, count, step->spec.elevate, &found);
	/* With something else, too, it is refused as without a broker. */
	return found.needs && !(found.needs & ~step->spec.elevate) ? step->spec.broker : -1;
}

bool elevate_made(const struct manifest *m)
{
	for (size_t i = 0; i < m->set.item_count; i++)
		if (!strcmp(m->set.items[i].name, BROKER_IMAGE))
			return true;
	return false;
}
