/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ptrace() here is in_trace.c's, as it is in criu. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../plugin/criu/call_in.h"
#include "sckpt/criu.h"
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

/* Does a task live on, so long, when the one that traced it was killed? */
static bool lives_on(int set_options, int ms)
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
	/* The kernel has sent the signal by now, if it sends one. */
	out = poll(&p, 1, ms);
	close(p.fd);
	kill(task, SIGKILL);
	assert_int_equal(waitpid(task, &status, 0), task);
	return out == 0;
}

static void dies_with_criu_in_a_restore(void **state)
{
	(void)state;
	setenv("SCKPT_RESTORES", "1", 1);
	assert_false(lives_on(0, 60000));
	assert_false(lives_on(1, 60000));
}

static void lives_on_in_a_dump(void **state)
{
	(void)state;
	unsetenv("SCKPT_RESTORES");
	assert_true(lives_on(0, 500));
	assert_true(lives_on(1, 500));
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

/* Is put back into its system call again and again; 7 is the last one. */
static void *wait_there(void *pipe)
{
	pthread_t more;
	char byte;

	while (read(*(int *)pipe, &byte, 1) == 1) {
		if (byte == 7)
			return pipe;
		if (byte == 8 && pthread_create(&more, NULL, wait_there, pipe))
			_exit(17);
	}
	return NULL;
}

static void __attribute__((noreturn)) be_restored(int go, int ready)
{
	int pair[2], mode = 1;
	pthread_t mate;
	char byte = 0;
	socklen_t size = sizeof(mode);

	connections(pair);
	umask(022);
	if (pthread_create(&mate, NULL, wait_there, &go) || write(ready, &byte, 1) != 1 ||
	    wait_there(&go) != &go || pthread_join(mate, NULL))
		_exit(3);
	if (getsockopt(pair[1], IPPROTO_TCP, TCP_REPAIR, &mode, &size) || mode ||
	    write(pair[0], "x", 1) != 1 || read(pair[1], &byte, 1) != 1 || byte != 'x')
		_exit(4);
	_exit(0);
}

/* Of a restore: the root, and two processes below, of which the second has two threads and
 * connections. */
struct tree {
	pid_t root, other, two, mate;
	int go;
};

static void permit(uint64_t caps)
{
	if (caps_keep_own(caps))
		_exit(5);
}

static pid_t restored(pid_t set_tid)
{
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uintptr_t)&set_tid,
				   .set_tid_size = set_tid ? 1 : 0 };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		permit(UINT64_C(1) << CAP_CHECKPOINT_RESTORE | UINT64_C(1) << CAP_SYS_CHROOT | NET_ADMIN);
	return pid;
}

static pid_t second_thread(pid_t pid)
{
	struct dirent *d;
	char path[64];
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(dir = opendir(path)))
		_exit(18);
	while ((d = readdir(dir)))
		if (*d->d_name != '.' && atoi(d->d_name) != pid)
			tid = atoi(d->d_name);
	closedir(dir);
	return tid;
}

static void make(struct tree *t)
{
	int go[2], ready[2];
	char byte;

	if (pipe2(go, O_CLOEXEC) || pipe2(ready, O_CLOEXEC))
		_exit(6);
	setenv("CRTOOLS_SCRIPT_ACTION", "post-restore", 1);
	if ((t->other = restored(ROOT_PID + 5)) == 0 || (t->root = restored(ROOT_PID)) == 0) {
		umask(022);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	if ((t->two = restored(ROOT_PID + 1)) == 0)
		be_restored(go[0], ready[1]);
	for (int i = 0; i < 3; i++)
		if (read(ready[0], &byte, 1) != 1)
			_exit(7);
	t->mate = second_thread(t->two);
	t->go = go[1];
}

/* As attach_to_tasks() does it. */
static void attach(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
	    waitpid(tid, &status, __WALL) != tid ||
	    ptrace(PTRACE_SETOPTIONS, tid, NULL, PTRACE_O_TRACESYSGOOD) ||
	    ptrace(PTRACE_CONT, tid, NULL, NULL))
		_exit(8);
}

static void let_go(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) || waitpid(tid, &status, __WALL) != tid ||
	    ptrace(PTRACE_DETACH, tid, NULL, NULL))
		_exit(9);
}

/* Criu is the second process of a PID namespace, what it makes is below; the first one returns
 * its exit status, when the rest has come to its end: by SIGKILL, where `killed`. */
static int restore(void (*criu)(void), bool killed)
{
	int status, its;
	pid_t first, pid;

	if ((first = fork()) == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS))
			_exit(100);
		if ((pid = fork()) > 0)
			_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 101);
		if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) || mount("proc", "/proc", "proc", 0, NULL))
			_exit(102);
		if ((pid = fork()) == 0) {
			setenv("SCKPT_RESTORES", "1", 1);
			dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
			criu();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		/* The kernel has sent the signal by then, if it sends one. */
		for (int i = 0; killed && (pid = waitpid(-1, &its, WNOHANG)) >= 0; i++)
			if (pid ? !WIFSIGNALED(its) || WTERMSIG(its) != SIGKILL : i > 2000)
				_exit(103);
			else if (!pid)
				usleep(5000);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 104);
	}
	assert_int_equal(waitpid(first, &status, 0), first);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define NEEDED (UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_SYS_CHROOT | NET_ADMIN)

static void goes_well(void)
{
	const uint64_t kept = UINT64_C(1) << CAP_CHECKPOINT_RESTORE | UINT64_C(1) << CAP_SYS_CHROOT;
	struct tree t;
	int status;

	make(&t);
	/* Before criu comes to them. */
	if (caps_of(t.root) != kept || caps_of(t.other) != kept || caps_of(t.two) != kept || caps_of(t.mate) != kept)
		_exit(11);
	attach(t.root);
	attach(t.two);
	attach(t.mate);
	attach(t.other);
	let_go(t.two);
	let_go(t.mate);
	if (write(t.go, "\1\2\3\7\7", 5) != 5 || waitpid(t.two, &status, 0) != t.two || status)
		_exit(12);
	/* The others end with criu. */
}

static void make_and_kill_one(struct tree *t)
{
	siginfo_t info;

	make(t);
	kill(t->other, SIGKILL);
	if (waitid(P_PID, (id_t)t->other, &info, WEXITED | WNOWAIT))
		_exit(13);
}

static void one_is_killed(void)
{
	struct tree t;

	make_and_kill_one(&t);
	attach(t.root);
	attach(t.two);
	attach(t.mate);
	attach(t.other);
}

/* To a criu that has no more than its user nothing is done before. */
static void one_is_killed_of_the_user(void)
{
	struct tree t;

	make_and_kill_one(&t);
	permit(caps_of(0) & ~(UINT64_C(1) << CAP_SYS_CHROOT));
	attach(t.root);
	attach(t.other);
}

/* The umask of a process that has none in the image is not restored. */
static void one_has_net_admin(void)
{
	struct tree t;
	pid_t pid;

	make(&t);
	if ((pid = restored(ROOT_PID + 6)) == 0) {
		pause();
		_exit(0);
	}
	while (caps_of(pid) & (UINT64_C(1) << CAP_SYS_ADMIN))
		sched_yield();
	attach(t.root);
}

/* Criu has its root traced and let go before there are others (arch_shstk_unlock()). */
static void root_is_traced_before(void)
{
	struct tree t;

	make(&t);
	setenv("CRTOOLS_SCRIPT_ACTION", "pre-restore", 1);
	attach(t.root);
	let_go(t.root);
	setenv("CRTOOLS_SCRIPT_ACTION", "post-restore", 1);
	attach(t.root);
	attach(t.other);
	attach(t.two);
	attach(t.mate);
	let_go(t.root);
}

static void one_is_not_ours(void)
{
	struct tree t;
	int ready[2];
	char byte;
	pid_t pid;

	make(&t);
	if (pipe2(ready, O_CLOEXEC) || (pid = fork()) < 0)
		_exit(19);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	if (read(ready[0], &byte, 1) != 1)
		_exit(20);
	attach(t.root);
	attach(pid);
}

static void connections_cannot_be_had(void)
{
	struct rlimit few;
	struct tree t;
	int free;

	make(&t);
	/* For /proc, and one more at a time. */
	free = dup(0);
	close(free);
	few.rlim_cur = few.rlim_max = (rlim_t)free + 2;
	setrlimit(RLIMIT_NOFILE, &few);
	attach(t.root);
}

/* As parse_threads() does it. */
static int threads_of(pid_t pid)
{
	struct dirent *d;
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(dir = opendir(path)))
		_exit(14);
	while ((d = readdir(dir)))
		n += *d->d_name != '.';
	closedir(dir);
	return n;
}

static void more_threads(void)
{
	struct tree t;

	make(&t);
	attach(t.root);
	attach(t.two);
	attach(t.mate);
	if (threads_of(t.two) != 2 || threads_of(t.root) != 1)
		_exit(15);
	/* "8" has it make one. */
	if (write(t.go, "\10", 1) != 1)
		_exit(16);
	for (;;)
		threads_of(t.two);
}

static void none_goes_on_if_one_cannot_be_attached_to(void **state)
{
	(void)state;
	if ((caps_of(0) & NEEDED) != NEEDED)
		skip();
	assert_int_equal(restore(goes_well, false), 0);
	assert_int_equal(restore(root_is_traced_before, false), 0);
	assert_int_equal(restore(one_has_net_admin, true), 1);
	assert_int_equal(restore(one_is_killed, true), 1);
	assert_int_equal(restore(one_is_killed_of_the_user, false), 1);
	assert_int_equal(restore(one_is_not_ours, true), 1);
	assert_int_equal(restore(connections_cannot_be_had, false), 1);
	assert_int_equal(restore(more_threads, true), 1);
}

/* As the kernel has it. */
static uint64_t blocked(void)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	return mask;
}

static void blocks_all_in_a_restore(void **state)
{
	const uint64_t librarys = UINT64_C(3) << 31, never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);
	const uint64_t before = blocked();
	sigset_t all, old, other, saved;

	(void)state;
	/* As criu_signals_setup() does it. */
	sigfillset(&all);
	sigdelset(&all, SIGCHLD);
	assert_int_equal(sigprocmask(SIG_SETMASK, &all, &old), 0);
	assert_int_equal(blocked() & librarys, 0);
	setenv("SCKPT_RESTORES", "1", 1);
	assert_int_equal(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	assert_int_equal(~blocked(), never | UINT64_C(1) << (SIGCHLD - 1));
	/* What is there while one more is blocked for a moment is so again. */
	sigemptyset(&other);
	sigaddset(&other, SIGCHLD);
	assert_int_equal(sigprocmask(SIG_BLOCK, &other, &saved), 0);
	assert_int_equal(~blocked(), never);
	assert_int_equal(sigprocmask(SIG_SETMASK, &saved, NULL), 0);
	assert_int_equal(~blocked(), never | UINT64_C(1) << (SIGCHLD - 1));
	unsetenv("SCKPT_RESTORES");
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
	assert_int_equal(blocked(), before);
}

static volatile sig_atomic_t handled;

static void handle(int signal)
{
	(void)signal;
	handled++;
}

/* The stand-in of a zombie, with its parent's handlers, and signals that were sent. */
static int unblock_all(void)
{
	const int signals[] = { SIGUSR1, SIGURG, SIGRTMIN, SIGRTMAX };
	sigset_t all;

	setenv("SCKPT_RESTORES", "1", 1);
	sigfillset(&all);
	sigdelset(&all, SIGCHLD);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		signal(signals[i], handle);
		raise(signals[i]);
	}
	signal(SIGCHLD, handle);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	if (handled || (blocked() & ~(UINT64_C(3) << 31)))
		return 1;
	/* Criu's own. */
	raise(SIGCHLD);
	return handled == 1 ? 0 : 2;
}

static void handles_nothing_of_the_programs(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(unblock_all());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_nothing_of_the_programs),
		cmocka_unit_test(blocks_all_in_a_restore),
		cmocka_unit_test(dies_with_criu_in_a_restore),
		cmocka_unit_test(lives_on_in_a_dump),
		cmocka_unit_test(peeks_as_the_library_does),
		cmocka_unit_test(none_goes_on_if_one_cannot_be_attached_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
