/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A periodic timerfd that had fired and not been read is shown by the kernel
 * with no time left (fs/timerfd.c: it is only started again by the read), and
 * criu restores just that: a timer that is off, and stays off after the next
 * read. Seen with 4.2.1. Such ones are started again here, by who runs criu: Yama lets
 * nobody have another process's descriptor but its ancestors, and the agent is none of what
 * the broker's criu has made as long as that is there (security/yama/yama_lsm.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sckpt/criu.h"

/* Fired, periodic, and not running: fills in its interval. */
static bool stands_still(pid_t pid, const char *fd, struct timespec *interval)
{
	cleanup_free char *info = NULL;
	char path[320];
	unsigned long long ticks;
	long value_s, value_ns, s, ns;
	const char *at;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, fd);
	if (file_read(AT_FDCWD, path, 65536, &info, NULL) < 0 ||
	    !(at = strstr(info, "ticks:")) ||
	    sscanf(at, "ticks: %llu", &ticks) != 1 ||
	    !(at = strstr(info, "it_value:")) ||
	    sscanf(at, "it_value: (%ld, %ld)", &value_s, &value_ns) != 2 ||
	    !(at = strstr(info, "it_interval:")) ||
	    sscanf(at, "it_interval: (%ld, %ld)", &s, &ns) != 2)
		return false;
	*interval = (struct timespec){ s, ns };
	return ticks > 0 && !value_s && !value_ns && (s || ns);
}

static int start(pid_t pid, int fd, const struct timespec *interval,
		 struct err *e)
{
	/* At once, as it had fired: one tick is there to be read. */
	const struct itimerspec again = { *interval, { 0, 1 } };
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cleanup_fd int timer = -1;

	if (pidfd >= 0)
		timer = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (timer < 0 || timerfd_settime(timer, 0, &again, NULL) < 0)
		return err_sys(e, "cannot start the timer %d of process %d again",
			       fd, pid);
	return 0;
}

static int start_all(pid_t pid, struct err *e)
{
	struct dirent *entry;
	char path[64];
	int rc = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (!(dir = opendir(path)))
		return errno == ENOENT || errno == EACCES ?
			       0 :
			       err_sys(e, "cannot look at process %d", pid);
	while (rc == 0 && (entry = readdir(dir))) {
		struct timespec interval;
		char link[64];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link,
				       sizeof(link));

		if (n == 20 && !memcmp(link, "anon_inode:[timerfd]", 20) &&
		    stands_still(pid, entry->d_name, &interval))
			rc = start(pid, atoi(entry->d_name), &interval, e);
	}
	closedir(dir);
	return rc;
}

int timers_start(const pid_t *pids, int count, struct err *e)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < count; i++)
		rc = start_all(pids[i], e);
	return rc;
}
