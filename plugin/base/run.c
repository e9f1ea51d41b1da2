/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running another program and taking what it prints. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/base.h"

static int64_t now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

static int spawn(char *const argv[], char *const envp[],
		 const posix_spawn_file_actions_t *files, const sigset_t *blocked,
		 short more, pid_t *pid, struct err *e)
{
	posix_spawnattr_t attr;
	sigset_t none, dflt;

	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&dflt);
	posix_spawnattr_setsigmask(&attr, blocked ? blocked : &none);
	posix_spawnattr_setsigdefault(&attr, &dflt);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF | more);
	errno = posix_spawn(pid, argv[0], files, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	return errno ? err_sys(e, "cannot run %s", argv[0]) : 0;
}

int run_spawn(char *const argv[], char *const envp[],
	      const posix_spawn_file_actions_t *files,
	      const sigset_t *blocked, pid_t *pid,
	      struct err *e)
{
	return spawn(argv, envp, files, blocked, 0, pid, e);
}

int run_apart(char *const argv[], char *const envp[], int out, int errors,
	      pid_t *pid, struct err *e)
{
	posix_spawn_file_actions_t files;
	int rc;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	if (errors >= 0)
		posix_spawn_file_actions_adddup2(&files, errors, 2);
	else
		posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	rc = spawn(argv, envp, &files, NULL, POSIX_SPAWN_SETSID, pid, e);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/* Reads until the end of the pipe; *buf grows to at most max + 1 bytes. */
static int collect(int fd, int64_t deadline, size_t max, char **buf,
		   struct err *e)
{
	size_t size = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - now_ms();
		char *more;
		ssize_t n;

		if (left <= 0)
			return err_set(e, "gave no answer in time");
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		if (!(more = realloc(*buf, size + 65536 + 1)))
			return err_sys(e, "cannot read its output");
		*buf = more;
		n = read(fd, *buf + size, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot read its output");
		(*buf)[size + (size_t)n] = '\0';
		if (n == 0)
			return 0;
		size += (size_t)n;
		if (size > max)
			return err_set(e, "wrote more than %zu bytes", max);
	}
}

int run_collect(char *const argv[], char *const envp[], int timeout_ms,
		size_t max, char **out, struct err *e)
{
	cleanup_free char *buf = NULL;
	cleanup_fd int rd = -1;
	int p[2], status, rc;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "cannot run %s", argv[0]);
	rd = p[0];
	rc = run_apart(argv, envp, p[1], -1, &pid, e);
	close(p[1]);
	if (rc < 0)
		return -1;
	rc = collect(rd, now_ms() + timeout_ms, max, &buf, e);
	if (rc < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc < 0)
		return err_context(e, "%s", argv[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, "%s failed (wait status 0x%04x)", argv[0],
			       status);
	*out = buf;
	buf = NULL;
	return 0;
}
