/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-root PID:----- …: the root of the tree that criu dumps, an argument for each
 * task. It catches the orphans that would otherwise fall to PID 1 and be left out of
 * the dump, and tells how its tasks ended: in its arguments, where anybody can read
 * them (PID:WAITSTATUS), and with a SIGUSR1 to PID 1. So that is dumped and restored
 * with the rest. It does not end by itself.
 *
 * It is small, static and does nothing: what it maps must be the same on the
 * next node.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
	if (chdir("/") < 0)
		return 1;
	for (;;) {
		pid = waitpid(-1, &status, 0);
		if (pid > 0)
			note(argv, pid, status);
		else if (errno == ECHILD)
			pause(); /* every signal is blocked: for SIGKILL */
	}
}
