/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ptrace() here is in_trace.c's, as it is in criu. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../plugin/criu/call_in.h"
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

/* ---- a task that has connections in repair mode ---------------------------------- */

#define NET_ADMIN (UINT64_C(1) << CAP_NET_ADMIN)

/* Connected to each other. */
static void connections(int pair[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	socklen_t size = sizeof(at);

	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&at, &size) ||
	    connect(pair[0], (struct sockaddr *)&at, size) ||
	    (pair[1] = accept(listener, NULL, NULL)) < 0)
		_exit(1);
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
			_exit(2);
}

/* Is put back into its system call again and again; 7 comes from the last one. */
static void *wait_there(void *pipe)
{
	char byte;

	while (read(*(int *)pipe, &byte, 1) == 1)
		if (byte == 7)
			return pipe;
	return NULL;
}

static void __attribute__((noreturn)) be_restored(int go, int ready)
{
	int pair[2], mode = 1;
	pthread_t mate;
	char byte = 0;
	socklen_t size = sizeof(mode);

	connections(pair);
	if (pthread_create(&mate, NULL, wait_there, &go) || write(ready, &byte, 1) != 1 ||
	    wait_there(&go) != &go || pthread_join(mate, NULL))
		_exit(3);
	if (getsockopt(pair[1], IPPROTO_TCP, TCP_REPAIR, &mode, &size) || mode ||
	    write(pair[0], "x", 1) != 1 || read(pair[1], &byte, 1) != 1 || byte != 'x')
		_exit(4);
	_exit(0);
}

struct restored {
	pid_t pid, tids[2];
	int go;
};

static void restored(struct restored *r)
{
	int go[2], ready[2];
	char byte, path[64];

	assert_int_equal(pipe2(go, O_CLOEXEC) | pipe2(ready, O_CLOEXEC), 0);
	if ((r->pid = fork()) == 0)
		be_restored(go[0], ready[1]);
	close(go[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	r->go = go[1];
	r->tids[0] = r->pid;
	/* Made behind it. */
	for (r->tids[1] = r->pid + 1;; r->tids[1]++) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d", r->pid, r->tids[1]);
		if (access(path, F_OK) == 0)
			break;
	}
}

/* As attach_to_tasks() does it. */
static void attach(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
	    waitpid(tid, &status, __WALL) != tid ||
	    ptrace(PTRACE_SETOPTIONS, tid, NULL, PTRACE_O_TRACESYSGOOD) ||
	    ptrace(PTRACE_CONT, tid, NULL, NULL))
		_exit(1);
}

static void has_no_net_admin_when_it_goes_on(void **state)
{
	uint64_t had = caps_of(0);
	struct restored r;
	int status;

	(void)state;
	if (!(had & NET_ADMIN))
		skip();
	setenv("SCKPT_RESTORES", "1", 1);
	restored(&r);
	for (int i = 0; i < 2; i++) {
		assert_true(caps_of(r.tids[i]) & NET_ADMIN);
		attach(r.tids[i]);
		assert_true(caps_of(r.tids[i]) == (had & ~NET_ADMIN));
		/* Again, as criu does where there is a seccomp filter: nothing to do. */
		ptrace(PTRACE_INTERRUPT, r.tids[i], 0, 0);
		assert_int_equal(waitpid(r.tids[i], &status, __WALL), r.tids[i]);
		assert_int_equal(ptrace(PTRACE_SETOPTIONS, r.tids[i], NULL, 0), 0);
		assert_int_equal(ptrace(PTRACE_DETACH, r.tids[i], NULL, NULL), 0);
	}
	assert_int_equal(write(r.go, "\1\2\3\7\7", 5), 5);
	assert_int_equal(waitpid(r.pid, &status, 0), r.pid);
	assert_int_equal(status, 0);
	close(r.go);
}

/* Criu ends, and its tasks with it. */
static void criu_ends_where_one_cannot_give_it_up(void **state)
{
	const struct rlimit none = { 3, 3 };
	struct restored r;
	int status;
	pid_t criu;

	(void)state;
	if (!(caps_of(0) & NET_ADMIN))
		skip();
	setenv("SCKPT_RESTORES", "1", 1);
	restored(&r);
	if ((criu = fork()) == 0) {
		setrlimit(RLIMIT_NOFILE, &none);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		attach(r.pid);
		_exit(0);
	}
	assert_int_equal(waitpid(criu, &status, 0), criu);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_int_equal(waitpid(r.pid, &status, 0), r.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(r.go);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dies_with_criu_in_a_restore),
		cmocka_unit_test(lives_on_in_a_dump),
		cmocka_unit_test(peeks_as_the_library_does),
		cmocka_unit_test(has_no_net_admin_when_it_goes_on),
		cmocka_unit_test(criu_ends_where_one_cannot_give_it_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
