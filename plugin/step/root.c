/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-root PID:----- …: the root of the tree that criu dumps, an argument for each
 * task. It catches the orphans that would otherwise fall to PID 1 and be left out of
 * the dump, and tells how its tasks ended: in its arguments, where anybody can read
 * them (PID:WAITSTATUS), and with a SIGUSR1 to PID 1. So that is dumped and restored
 * with the rest. It does not end by itself.
 *
 * It is small, static and does nothing, and stands alone (alone.h). It has no
 * capability, whatever the tasks have.
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alone.h"

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_capset, &header, none);
}

static void note(char *argv[], pid_t pid, int status)
{
	char was[24], is[24];

	snprintf(was, sizeof(was), "%d:-----", pid);
	snprintf(is, sizeof(is), "%d:%05d", pid, status);
	for (argv++; *argv; argv++)
		if (!strcmp(*argv, was)) {
			memcpy(*argv, is, strlen(was));
			kill(1, SIGUSR1);
			return;
		}
}

int main(int argc, char *argv[])
{
	int status;
	pid_t pid;

	if (argc < 2 || getppid() != 1) {
		fprintf(stderr, "sckpt-root: started by sckpt-agent, not by hand\n");
		return 1;
	}
	close(0);
	close(1);
	close(2);
	/* Where it fails, a restore needs this very sckpt-root, and looks for it. */
	alone_become(ROOT_EXE);
	if (drop_capabilities() < 0 || chdir("/") < 0)
		return 1;
	for (;;) {
		pid = waitpid(-1, &status, 0);
		if (pid > 0)
			note(argv, pid, status);
		else if (errno == ECHILD)
			pause(); /* every signal is blocked: for SIGKILL */
	}
}
