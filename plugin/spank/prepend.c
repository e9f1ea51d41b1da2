/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A helper in front of the task's program. Slurm has a call for it since 23.11. Before,
 * slurmstepd executes the list of arguments that it shows to plugins (task.c, exec_task), which
 * in the task is a copy of the task's own: its first is replaced, and cannot be more than one.
 * So that is sckpt-prepend (step/prepend.c), which finds in a descriptor what stands there
 * with newer releases.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spank_sckpt.h"

#if HAVE_DECL_SPANK_PREPEND_TASK_ARGV

bool prepend_is_slurms(void)
{
	return true;
}

bool prepend_possible(spank_t sp)
{
	(void)sp;
	return true;
}

int prepend(spank_t sp, int argc, const char *argv[], struct err *e)
{
	int rc = spank_prepend_task_argv(sp, argc, argv);

	return rc == ESPANK_SUCCESS ? 0 : err_set(e, "cannot start %s: %s", argv[0],
						  spank_strerror(rc));
}

#else

bool prepend_is_slurms(void)
{
	return false;
}

bool prepend_possible(spank_t sp)
{
	char text[8];

	/* Each task has a list of its own then, which plugins do not see. */
	return spank_getenv(sp, MULTI_PROG_VARIABLE, text, sizeof(text)) == ESPANK_ENV_NOEXIST;
}

/* The strings, each with its NUL; nobody can change them any more. */
static int make_list(int argc, const char *argv[], const char *program, struct err *e)
{
	cleanup_fd int fd = memfd_create("sckpt-prepend", MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, "cannot make the arguments of %s", argv[0]);
	for (int i = 0; i <= argc; i++) {
		const char *one = i < argc ? argv[i] : program;

		if (file_write(fd, one, strlen(one) + 1, e) < 0)
			return -1;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_sys(e, "cannot seal the arguments of %s", argv[0]);
	return steal_fd(&fd);
}

int prepend(spank_t sp, int argc, const char *argv[], struct err *e)
{
	int count = 0, fd, rc;
	char **task = NULL, text[16];

	if (spank_get_item(sp, S_JOB_ARGV, &count, &task) != ESPANK_SUCCESS || count < 1 ||
	    !task || !task[0])
		return err_set(e, "cannot start %s: Slurm does not tell the task's arguments",
			       argv[0]);
	if ((fd = make_list(argc, argv, task[0], e)) < 0)
		return -1;
	snprintf(text, sizeof(text), "%d", fd);
	if ((rc = spank_setenv(sp, PREPEND_VARIABLE, text, 1)) != ESPANK_SUCCESS) {
		close(fd);
		return err_set(e, "cannot start %s: %s", argv[0], spank_strerror(rc));
	}
	/* Nobody frees it before exec. */
	task[0] = (char *)PREPEND_PATH;
	return 0;
}

#endif
