/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Criu probes the kernel before it does anything else, which takes longer than the dump of a
 * small program, and keeps what it found in $XDG_RUNTIME_DIR (criu/kerndat.c). A step's work
 * directory is new; so the node's criu probes once, and each step begins with a copy.
 *
 * What is found depends on capabilities, and not on who the user is: it is root who
 * probes, with no more than a step has. No user has a hand in what other users' criu believes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/securebits.h>

#include "spank_sckpt.h"

#define FOUND "criu.kdat" /* criu's own name for it */
#define FOUND_MOST 65536
#define PROBE_MS 5000

/* Exec as root gives nothing but what is ambient. */
static bool only_the_capability(void)
{
	static const cap_value_t cap = CAP_CHECKPOINT_RESTORE;
	cap_t set = cap_get_proc();
	bool good = set && cap_set_flag(set, CAP_INHERITABLE, 1, &cap, CAP_SET) == 0 &&
		    cap_set_proc(set) == 0 && cap_set_ambient(cap, CAP_SET) == 0 &&
		    prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) == 0;

	cap_free(set);
	return good;
}

static void run_criu(char *const argv[], char *const envp[]) __attribute__((noreturn));

static void run_criu(char *const argv[], char *const envp[])
{
	int none = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	umask(077);
	if (none >= 0 && only_the_capability() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    dup2(none, 0) >= 0 && dup2(none, 1) >= 0 && dup2(none, 2) >= 0 &&
	    syscall(SYS_close_range, 3U, ~0U, 0U) == 0 && chdir("/") == 0)
		execve(argv[0], argv, envp);
	_exit(127);
}

/* Its wait status; -1: it did not end in time, or cannot be watched. */
static int wait_end(pid_t pid)
{
	cleanup_fd int end = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { end, POLLIN, 0 };
	int status, ready;

	do
		ready = poll(&p, 1, PROBE_MS);
	while (ready < 0 && errno == EINTR);
	if (end < 0 || ready <= 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return end < 0 || ready <= 0 ? -1 : status;
}

bool probe_make(int dir, const char *criu)
{
	char name[32], images[64], cache[64];
	char *argv[] = { (char *)criu, "cpuinfo", "dump", "--unprivileged", "--no-default-config",
			 images, NULL };
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", cache, NULL };
	cleanup_fd int own = -1;
	bool good = false;
	pid_t pid;

	unlinkat(dir, FOUND, 0);
	snprintf(name, sizeof(name), "probe.%d", getpid());
	snprintf(images, sizeof(images), "--images-dir=" SCKPT_RUN_DIR "/%s", name);
	snprintf(cache, sizeof(cache), "XDG_RUNTIME_DIR=" SCKPT_RUN_DIR "/%s", name);
	if (mkdirat(dir, name, 0700) < 0 ||
	    (own = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return false;
	if ((pid = fork()) == 0)
		run_criu(argv, envp);
	if (pid > 0)
		good = wait_end(pid) == 0 && renameat(own, FOUND, dir, FOUND) == 0;
	/* What else criu may have left. */
	unlinkat(own, FOUND, 0);
	unlinkat(own, FOUND ".tmp", 0);
	unlinkat(own, "cpuinfo.img", 0);
	unlinkat(dir, name, AT_REMOVEDIR);
	return good;
}

ssize_t probe_read(char **found)
{
	return file_read(AT_FDCWD, SCKPT_RUN_DIR "/" FOUND, FOUND_MOST, found, NULL);
}

void probe_give(const char *found, ssize_t size)
{
	cleanup_fd int fd = -1;

	if (size <= 0)
		return;
	fd = open(SCKPT_RUN_DIR "/" FOUND, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	/* Criu tells half of one from a whole one, and does without. */
	if (fd >= 0)
		file_write(fd, found, (size_t)size, NULL);
}
