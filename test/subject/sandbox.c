/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program under seccomp, for elevate=seccomp: a strict list of system calls for all of its
 * threads (SECCOMP_FILTER_FLAG_TSYNC), a second filter within it, and a child under strict mode.
 * Every tenth of a second, or at once when the home has a file `quick`, a line on standard output,
 * "tick N", that tells when one of two threads stands still; they try all the time what a filter
 * forbids, and end it all when that is let through.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define PASS(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void put_filter(struct sock_filter *list, size_t count, unsigned flags)
{
	struct sock_fprog prog = { (unsigned short)count, list };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog)) {
		perror("seccomp");
		exit(1);
	}
}

/* Everything else fails with EUCLEAN, which no system call of these says. */
static void allow_few(void)
{
	struct sock_filter list[] = {
		LOAD(nr),
		PASS(SYS_write), PASS(SYS_read), PASS(SYS_close), PASS(SYS_nanosleep), PASS(SYS_clock_nanosleep),
		PASS(SYS_futex), PASS(SYS_exit), PASS(SYS_exit_group), PASS(SYS_rt_sigreturn),
		PASS(SYS_rt_sigprocmask), PASS(SYS_restart_syscall), PASS(SYS_seccomp),
		PASS(SYS_getppid), PASS(SYS_faccessat), PASS(SYS_wait4), PASS(SYS_madvise), PASS(SYS_munmap),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EUCLEAN),
	};

	put_filter(list, sizeof(list) / sizeof(list[0]), SECCOMP_FILTER_FLAG_TSYNC);
}

/* Within the first: getppid, too. */
static void forbid_one(void)
{
	struct sock_filter list[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	put_filter(list, sizeof(list) / sizeof(list[0]), SECCOMP_FILTER_FLAG_TSYNC);
}

static unsigned long counts[2];
static bool closed; /* the sandbox */

static void *count(void *arg)
{
	unsigned long *mine = arg;

	for (;;) {
		struct timespec moment = { 0, 1000000 };

		__atomic_add_fetch(mine, 1, __ATOMIC_RELAXED);
		nanosleep(&moment, NULL);
		if (!__atomic_load_n(&closed, __ATOMIC_ACQUIRE))
			continue;
		/* Where one of the two filters is missing, for this thread. */
		if (syscall(SYS_getpid) != -1 || errno != EUCLEAN ||
		    syscall(SYS_getppid) != -1 || errno != EXDEV) {
			static const char said[] = "a thread is out of its sandbox\n";

			if (write(1, said, sizeof(said) - 1) < 0)
				_exit(3);
			_exit(2);
		}
	}
	return NULL;
}

/* Mode 1: read, write, exit alone. */
static void strict_child(int rd, int wr)
{
	char byte;

	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	while (read(rd, &byte, 1) == 1 && write(wr, &byte, 1) == 1)
		;
	syscall(SYS_exit, 0);
}

int main(int argc, char *argv[])
{
	int ticks = argc > 1 ? atoi(argv[1]) : 100, to[2], from[2];
	const char *home = getenv("HOME");
	pthread_t threads[2];
	char line[128], quick[256];

	snprintf(quick, sizeof(quick), "%s/quick", home ? home : ".");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || pipe(to) || pipe(from))
		return 1;
	if (fork() == 0) {
		close(to[1]);
		close(from[0]);
		strict_child(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, count, &counts[i]))
			return 1;
	/* What a thread does at its start it may not do in the sandbox. */
	while (!__atomic_load_n(&counts[0], __ATOMIC_ACQUIRE) ||
	       !__atomic_load_n(&counts[1], __ATOMIC_ACQUIRE))
		usleep(1000);
	allow_few();
	forbid_one();
	__atomic_store_n(&closed, true, __ATOMIC_RELEASE);
	for (int i = 1; i <= ticks; i++) {
		struct timespec tenth = { 0, 100000000 }, moment = { 0, 1000000 };
		unsigned long was[2] = { counts[0], counts[1] };
		char byte = (char)i, back = 0;
		int n;

		if (syscall(SYS_faccessat, AT_FDCWD, quick, F_OK) < 0)
			nanosleep(&tenth, NULL);
		/* They may have to wait for a processor. */
		for (int ms = 0; ms < 10000 && (counts[0] == was[0] || counts[1] == was[1]); ms++)
			nanosleep(&moment, NULL);
		if (write(to[1], &byte, 1) != 1 || read(from[0], &back, 1) != 1 || back != byte)
			return 1;
		n = snprintf(line, sizeof(line), "tick %d%s\n", i,
			     counts[0] > was[0] && counts[1] > was[1] ? "" : " standing still");
		if (write(1, line, (size_t)n) != n)
			return 1;
	}
	close(to[1]);
	wait(NULL);
	return 0;
}
