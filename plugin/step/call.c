/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes stand in srun's place, and for what call. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/image.h"

#include "step.h"

bool call_is_srun(pid_t pid)
{
	char path[64], exe[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if ((n = readlink(path, exe, sizeof(exe) - 1)) < 0)
		return false;
	exe[n] = '\0';
	/* The first as long as it does not stand alone (alone.h). */
	return !strcmp(exe, SRUN_PATH) || !strcmp(exe, SRUN_EXE);
}

int call_command(pid_t pid, uint8_t command[IMAGE_SHA256], struct err *e)
{
	cleanup_free char *args = NULL, *all = NULL;
	char path[64], where[PATH_MAX];
	ssize_t size, n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if ((size = file_read(AT_FDCWD, path, 64 << 20, &args, e)) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	if ((n = readlink(path, where, sizeof(where))) < 0)
		return err_sys(e, "%s", path);
	if (!(all = realloc(args, (size_t)(size + n))))
		return err_set(e, "no memory for a call of srun");
	args = NULL;
	memcpy(all + size, where, (size_t)n);
	image_sha256(all, (size_t)(size + n), command);
	return 0;
}
