/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this node can checkpoint, as slurmstepd sees it (base/node.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>

#include "spank_sckpt.h"

/* In the run directory: what is known of this node's criu. */
#define KNOWN "criu"

/* A kernel may not know all of these. */
bool node_bounding_set_cut(void)
{
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0)
			return true;
	return false;
}

static uint64_t bounding_set(void)
{
	uint64_t set = 0;

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			set |= UINT64_C(1) << cap;
	return set;
}

/*
 * Asking costs runs of criu per step; so the answers are kept as long as the
 * file is the same. The directory is root's, on a tmpfs that a boot empties. The number
 * in front changes with what is asked.
 */
static int known_version(int dir, const char *criu, const struct stat *st,
			 struct err *e)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	char key[512], line[560], temp[32];
	int version;

	snprintf(key, sizeof(key), "1 %s %ju %ju %jd.%09ld ", criu,
		 (uintmax_t)st->st_ino, (uintmax_t)st->st_size,
		 (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	if (file_read(dir, KNOWN, sizeof(line), &text, NULL) > 0 &&
	    !strncmp(text, key, strlen(key)) &&
	    (version = atoi(text + strlen(key))) > 0)
		return version;
	if ((version = node_ask_criu(criu, e)) < 0)
		return -1;
	if (!probe_make(dir, criu))
		slurm_verbose(SAYS "%s did not find out once for all what this kernel can do", criu);
	snprintf(line, sizeof(line), "%s%d\n", key, version);
	snprintf(temp, sizeof(temp), "%s.%d", KNOWN, getpid());
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd >= 0 && file_write(fd, line, strlen(line), NULL) == 0)
		renameat(dir, temp, dir, KNOWN);
	return version;
}

int root_dir_open(const char *path, bool *others)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	*others = fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != 0 || (st.st_mode & 022));
	return *others ? -1 : steal_fd(&fd);
}

int run_dir_open(struct err *e)
{
	bool others;
	int fd;

	if (mkdir(SCKPT_RUN_DIR, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", SCKPT_RUN_DIR);
	fd = root_dir_open(SCKPT_RUN_DIR, &others);
	if (others)
		return err_set(e, "%s must be root's, and closed to other writers",
			       SCKPT_RUN_DIR);
	return fd < 0 ? err_sys(e, "cannot open %s", SCKPT_RUN_DIR) : fd;
}

/* Stops at the first that is wrong. */
struct first {
	char *reason;
	size_t size;
};

static bool take_first(enum health how, const char *what, const char *text, void *arg)
{
	const struct first *f = arg;

	(void)what;
	if (how != HEALTH_FAIL)
		return true;
	snprintf(f->reason, f->size, "%s", text);
	return false;
}

void node_check(const struct conf *conf, int elevate, int *criu_version, char *reason,
		size_t size)
{
	struct first first = { reason, size };
	cleanup_fd int dir = -1;
	struct stat st;
	struct err e;

	reason[0] = '\0';
	if (!node_look(bounding_set(), elevate, take_first, &first) ||
	    !node_look_at_criu_file(conf->criu, &st, take_first, &first))
		return;
	if ((dir = run_dir_open(&e)) < 0 ||
	    (*criu_version = known_version(dir, conf->criu, &st, &e)) < 0)
		snprintf(reason, size, "%.300s", e.text);
	else
		node_look_at_criu(conf->criu, *criu_version, take_first, &first);
}
