/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program may call criu itself, as a Java VM with CRaC does. Two cannot have the same
 * process at once: what the program's has is traced, and what it restores is not yet
 * whole. So a dump waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "step.h"

/* Nobody is served meanwhile. */
#define WAIT_US (3 * 1000000)

/* One that has processes of others; not a service that waits, or criu check. */
static bool is_at_work(pid_t pid, char *does, size_t size)
{
	static const char *const commands[] = { "dump", "pre-dump", "restore", "swrk" };
	cleanup_free char *name = NULL, *words = NULL;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (file_read(AT_FDCWD, path, 64, &name, NULL) < 0 || strcmp(name, "criu\n"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	/* One that has ended has no words. */
	n = file_read(AT_FDCWD, path, 1 << 22, &words, NULL);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(words + at) + 1)
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (!strcmp(words + at, commands[i])) {
				snprintf(does, size, "%s", commands[i]);
				return true;
			}
	return false;
}

static pid_t find(pid_t root, char *does, size_t size, struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	int count = program_tree(root, &pids, e);

	for (int i = 0; i < count; i++)
		if (is_at_work(pids[i], does, size))
			return pids[i];
	return count < 0 ? -1 : 0;
}

static int at_work(pid_t pid, const char *does, struct err *e)
{
	return err_set(e, "the program's own criu (process %d, criu %s) is at work, and two cannot have the same processes at once: try again when it has ended",
		       pid, does);
}

/* What it has asked the kernel, or another process, is not in an image: restored in the middle
 * of that it may wait for ever. */
int own_criu_absent(pid_t root, struct err *e)
{
	char does[16];
	pid_t pid = find(root, does, sizeof(does), e);

	return pid > 0 ? at_work(pid, does, e) : (int)pid;
}

/* 0: it has ended; -1: it is at work still. */
static int wait_end(pid_t pid, int64_t until_ns, struct err *e)
{
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char does[16];
	int64_t left;

	if (fd < 0)
		return errno == ESRCH ? 0 : err_sys(e, "cannot watch process %d", pid);
	/* Whose number it is by now. */
	if (!is_at_work(pid, does, sizeof(does)))
		return 0;
	while ((left = until_ns - clock_ns(CLOCK_MONOTONIC)) > 0)
		if (poll(&p, 1, (int)(left / 1000000) + 1) > 0)
			return 0;
	return at_work(pid, does, e);
}

int own_criu_wait(pid_t root, int64_t us, struct err *e)
{
	const int64_t until = clock_ns(CLOCK_MONOTONIC) + (us ? us : WAIT_US) * 1000;
	char does[16];
	pid_t pid;

	while ((pid = find(root, does, sizeof(does), e)) > 0)
		if (wait_end(pid, until, e) < 0)
			return -1;
	return pid;
}

bool own_criu_met(pid_t root, bool blocked)
{
	char does[16];
	static const char *const words[] = { "Unseizable non-zombie ", "task not stopped after seize" };
	cleanup_free char *log = NULL;

	if (file_read(AT_FDCWD, SCKPT_RUN_DIR "/" DUMP_LOG, 64 << 20, &log, NULL) <= 0)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(log, words[i]))
			return !blocked || find(root, does, sizeof(does), NULL) > 0;
	return false;
}
