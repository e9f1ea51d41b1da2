/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ptrace() here is in_trace.c's, as it is in criu. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/base.h"
#include "unit.h"

/* As attach_to_tasks() does it; then it is killed. */
static void tracer(pid_t task, int set_options)
{
	int status;

	if (ptrace(PTRACE_SEIZE, task, 0, 0) || ptrace(PTRACE_INTERRUPT, task, 0, 0) ||
	    waitpid(task, &status, __WALL) != task ||
	    (set_options && ptrace(PTRACE_SETOPTIONS, task, NULL, PTRACE_O_TRACESYSGOOD)) ||
	    ptrace(PTRACE_CONT, task, NULL, NULL))
		_exit(1);
	kill(getpid(), SIGKILL);
}

/* Does a task live on when the one that traced it was killed? */
static bool lives_on(int set_options)
{
	int status, out = -1;
	struct pollfd p;
	pid_t task, criu;

	if ((task = fork()) == 0) {
		for (;;)
			pause();
	}
	p = (struct pollfd){ (int)syscall(SYS_pidfd_open, task, 0), POLLIN, 0 };
	if ((criu = fork()) == 0) {
		tracer(task, set_options);
		_exit(1);
	}
	assert_int_equal(waitpid(criu, &status, 0), criu);
	assert_true(WIFSIGNALED(status));
	/* The kernel has sent the signal by then, if it sends one. */
	out = poll(&p, 1, 500);
	close(p.fd);
	kill(task, SIGKILL);
	assert_int_equal(waitpid(task, &status, 0), task);
	return out == 0;
}

static void dies_with_criu_in_a_restore(void **state)
{
	(void)state;
	setenv("SCKPT_RESTORES", "1", 1);
	assert_false(lives_on(0));
	assert_false(lives_on(1));
}

static void lives_on_in_a_dump(void **state)
{
	(void)state;
	unsetenv("SCKPT_RESTORES");
	assert_true(lives_on(0));
	assert_true(lives_on(1));
}

/* What is peeked is returned. */
static void peeks_as_the_library_does(void **state)
{
	long word = 0x1234567890abcdef;
	int status;
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(ptrace(PTRACE_PEEKDATA, pid, &word, 0) == word);
	word = -1;
	assert_int_equal(ptrace(PTRACE_POKEDATA, pid, &word, -1L), 0);
	errno = 77;
	assert_true(ptrace(PTRACE_PEEKDATA, pid, &word, 0) == -1);
	assert_int_equal(errno, 0);
	assert_true(ptrace(PTRACE_PEEKDATA, pid, (void *)8, 0) == -1);
	assert_int_equal(errno, EIO);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dies_with_criu_in_a_restore),
		cmocka_unit_test(lives_on_in_a_dump),
		cmocka_unit_test(peeks_as_the_library_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
