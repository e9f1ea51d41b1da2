/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Criu stops each task at a hardware breakpoint, in a dump when it takes leave of it, in a restore
 * when all is there (compel_stop_pie(), compel/src/lib/infect.c). At the first one on a machine
 * the kernel switches perf's part of the scheduler on, and waits till every processor has passed by
 * (account_event(), kernel/events/core.c): 9 to 22 ms, in which the program stands still. It stays
 * on for a second after the last one. So one is set while criu starts, by processes that are gone
 * when it comes to work.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/criu.h"

#if defined(__x86_64__)

static int set_one(pid_t pid)
{
	const size_t address = offsetof(struct user, u_debugreg[0]),
		     control = offsetof(struct user, u_debugreg[7]);

	/* Enabled locally, of one byte, for execution (Intel SDM 3, "Debug registers"). */
	return ptrace(PTRACE_POKEUSER, pid, address, set_one) < 0 ||
			       ptrace(PTRACE_POKEUSER, pid, control, 1UL) < 0 ?
		       -1 :
		       0;
}

/* Of the agent's descriptors none is kept from being closed. */
static void set_and_end(void)
{
	pid_t parent = getpid(), pid;
	int status, rc = -1;

	syscall(SYS_close_range, 0U, ~0U, 0U);
	if ((pid = fork()) == 0) {
		/* It is not to stand there, stopped, when the one that traces it was killed. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent &&
		    ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
			raise(SIGSTOP);
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		rc = set_one(pid);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	_exit(rc < 0 ? 1 : 0);
}

pid_t breakpoint_begin(void)
{
	pid_t pid = fork();

	if (pid == 0)
		set_and_end();
	return pid;
}

#else

pid_t breakpoint_begin(void)
{
	return -1;
}

#endif

void breakpoint_end(pid_t pid)
{
	if (pid < 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
