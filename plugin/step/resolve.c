/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As slurmstepd resolves a command (task.c, _build_path and exec_task's --bcast):
 * it saw only the helper's name in front. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tasks.h"

char *program_resolve(const char *name, unsigned job, const char *step,
		      const char *node)
{
	const char *path = getenv("PATH");
	cleanup_free char *dirs = NULL;
	char *rest, *dir, *full = NULL;

	if (*name && name[strlen(name) - 1] == '/')
		return asprintf(&full, "%sslurm_bcast_%u.%s_%s", name, job, step,
				node) < 0 ?
			       NULL :
			       full;
	if (strchr(name, '/') || !path || !(dirs = rest = strdup(path)))
		return strdup(name);
	while ((dir = strsep(&rest, ":"))) {
		struct stat st;

		if (asprintf(&full, "%s/%s", *dir ? dir : ".", name) < 0)
			return NULL;
		if (stat(full, &st) == 0 && S_ISREG(st.st_mode) &&
		    access(full, X_OK) == 0)
			return full;
		free(full);
	}
	return strdup(name);
}
