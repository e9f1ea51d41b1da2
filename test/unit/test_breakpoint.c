/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/criu.h"
#include "unit.h"

static void is_set_by_a_process_that_ends(void **state)
{
	siginfo_t si;
	int p[2];
	pid_t pid;
	char end;

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	if ((pid = breakpoint_begin()) < 0)
		skip(); /* not on this processor */
	/* It holds none of the agent's descriptors. */
	close(p[1]);
	assert_int_equal(read(p[0], &end, 1), 0);
	close(p[0]);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(si.si_code, CLD_EXITED);
	assert_int_equal(si.si_status, 0);
	breakpoint_end(pid);
	assert_int_equal(waitpid(pid, NULL, 0), -1);
	assert_int_equal(errno, ECHILD);
}

static void is_ended_at_once(void **state)
{
	pid_t pid = breakpoint_begin();

	(void)state;
	breakpoint_end(pid);
	assert_int_equal(waitpid(-1, NULL, 0), -1);
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_set_by_a_process_that_ends),
		cmocka_unit_test(is_ended_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
