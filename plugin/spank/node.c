/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this node can checkpoint: kernel, criu, sckpt's own programs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>

#include "spank_sckpt.h"

/* Root's own directory: the place where every step mounts its private work
 * directory (launch.c), and what is known of this node's criu. */
#define KNOWN "criu"

#define no(...) snprintf(reason, size, __VA_ARGS__)

bool node_bounding_set_cut(void)
{
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0)
			return true;
	return false;
}

/* Root runs it, if only for --version: nobody else may have a hand in it. */
static bool owned_by_root(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == 0 &&
	       !(st->st_mode & 022);
}

/* "Version: 4.1.1" (criu --version, 3.x and 4.x). */
static int ask_version(const char *criu, struct err *e)
{
	char *argv[] = { (char *)criu, "--version", NULL };
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
			 NULL };
	cleanup_free char *out = NULL;
	const char *number;
	int version;

	if (run_collect(argv, envp, 10000, 4096, &out, e) < 0)
		return -1;
	number = strstr(out, "Version: ");
	version = number ? version_parse(number + strlen("Version: ")) : -1;
	return version < 0 ? err_set(e, "%s does not tell its version", criu) :
			     version;
}

/*
 * Asking costs a run of criu per step; so the answer is kept as long as the
 * file is the same. The directory is root's, on a tmpfs that a boot empties.
 */
static int known_version(int dir, const char *criu, const struct stat *st,
			 struct err *e)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	char key[512], line[560], temp[32];
	int version;

	snprintf(key, sizeof(key), "%s %ju %ju %jd.%09ld ", criu,
		 (uintmax_t)st->st_ino, (uintmax_t)st->st_size,
		 (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	if (file_read(dir, KNOWN, sizeof(line), &text, NULL) > 0 &&
	    !strncmp(text, key, strlen(key)) &&
	    (version = atoi(text + strlen(key))) > 0)
		return version;
	if ((version = ask_version(criu, e)) < 0)
		return -1;
	snprintf(line, sizeof(line), "%s%d\n", key, version);
	snprintf(temp, sizeof(temp), "%s.%d", KNOWN, getpid());
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd >= 0 && file_write(fd, line, strlen(line), NULL) == 0)
		renameat(dir, temp, dir, KNOWN);
	return version;
}

static int open_run_dir(struct err *e)
{
	struct stat st;
	int fd;

	if (mkdir(SCKPT_RUN_DIR, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", SCKPT_RUN_DIR);
	fd = open(SCKPT_RUN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "cannot open %s", SCKPT_RUN_DIR);
	if (fstat(fd, &st) < 0 || st.st_uid != 0 || (st.st_mode & 022)) {
		close(fd);
		return err_set(e, "%s must be root's, and closed to other writers",
			       SCKPT_RUN_DIR);
	}
	return fd;
}

void node_check(const struct conf *conf, int *criu_version, char *reason,
		size_t size)
{
	const char *const helpers[] = { SUPERVISE_PATH, AGENT_PATH, ROOT_PATH,
					HOOK_PATH, SRUN_PATH, CLIENT_PATH,
					IN_CRIU_PATH };
	cleanup_free char *yama = NULL;
	cleanup_fd int dir = -1;
	char have[16], want[16];
	struct stat st;
	struct err e;

	reason[0] = '\0';
	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++)
		if (access(helpers[i], X_OK) < 0) {
			no("%s: %m; install sckpt on this node", helpers[i]);
			return;
		}
	if (prctl(PR_CAPBSET_READ, CAP_CHECKPOINT_RESTORE, 0, 0, 0) != 1) {
		no("slurmd may not have CAP_CHECKPOINT_RESTORE here: Linux 5.9 or later is needed, and a unit that leaves it in CapabilityBoundingSet");
		return;
	}
	if (access("/proc/sys/kernel/ns_last_pid", F_OK) < 0) {
		no("this kernel was built without CONFIG_CHECKPOINT_RESTORE: use one with it");
		return;
	}
	/* Without one a restored program would see its clocks jump, back too. */
	if (access("/proc/self/ns/time_for_children", F_OK) < 0) {
		no("this kernel was built without CONFIG_TIME_NS: use one with it");
		return;
	}
	if (file_read(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 16, &yama,
		      NULL) > 0 &&
	    atoi(yama) > 0) {
		no("kernel.yama.ptrace_scope is %d on this node and keeps criu from its work: sysctl kernel.yama.ptrace_scope=0",
		   atoi(yama));
		return;
	}
	if (stat(conf->criu, &st) < 0) {
		no("%s: %m; install criu 3.19 or later on this node, or set criu= in sckpt.conf",
		   conf->criu);
		return;
	}
	if (!owned_by_root(&st)) {
		no("%s is not root's alone: chown root, chmod go-w", conf->criu);
		return;
	}
	if ((dir = open_run_dir(&e)) < 0 ||
	    (*criu_version = known_version(dir, conf->criu, &st, &e)) < 0) {
		no("%.300s", e.text);
		return;
	}
	if (*criu_version < CRIU_VERSION_LEAST) {
		version_print(*criu_version, have);
		version_print(CRIU_VERSION_LEAST, want);
		no("%s is criu %s and cannot work unprivileged: install %s or later",
		   conf->criu, have, want);
	}
}
