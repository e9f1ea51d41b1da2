/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics-dir=: the step's counters, and the node's. All here is slurmstepd's, as root, but
 * metrics_refused().
 *
 * The agent, which is the user's, writes into a memory file; when the step is over, what stands
 * there is looked at and added to what the node has counted (in root's run directory, under
 * a lock), and metrics-dir's file is written anew. Nothing here waits for the user's processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sckpt/metrics.h"
#include "spank_sckpt.h"

#define SUMS "metrics" /* in the run directory, which a boot empties */
#define FILE_NAME "sckpt.prom"
#define FILE_NEW "sckpt.prom.new" /* not taken by node_exporter */

static int counters = -1;
static int64_t begun;

/* Sealed: it can neither grow nor shrink, and the user cannot seal it against anything. */
static int make_counters(struct err *e)
{
	int fd = memfd_create("sckpt-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, COUNTERS_SIZE) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		err_sys(e, "cannot make the step's counters");
		close_fd(&fd);
		return -1;
	}
	return fd;
}

void metrics_begin(struct spec *spec)
{
	struct err e = { "" };

	if (!*settings()->metrics_dir)
		return;
	if ((counters = make_counters(&e)) < 0)
		slurm_error(SAYS "%s", e.text);
	spec->counters = counters;
	begun = clock_ns(CLOCK_BOOTTIME);
}

void metrics_refused(void)
{
	struct counters c;

	if (counters < 0 || pread(counters, &c, sizeof(c), 0) != sizeof(c))
		return;
	c.refusals[REFUSED_LOST]++;
	if (pwrite(counters, &c, sizeof(c), 0) != sizeof(c))
		slurm_error(SAYS "cannot count a refused restore: %m");
}

/* ---- when the step is over --------------------------------------------------------- */

/* Others hold it for a moment, unless metrics-dir hangs: no step waits for that. */
#define LOCK_MS 2000
#define LOCK_LOOK_MS 10

static int lock(int fd, struct err *e)
{
	for (int ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; ms += LOCK_LOOK_MS) {
		const struct timespec wait = { .tv_nsec = LOCK_LOOK_MS * 1000000L };

		if (errno != EINTR && errno != EWOULDBLOCK)
			return err_sys(e, "cannot lock " SCKPT_RUN_DIR "/" SUMS);
		if (ms >= LOCK_MS)
			return err_set(e, "another step has been writing them for %d s: is metrics-dir= on a file system that hangs? It must be the node's own",
				       LOCK_MS / 1000);
		nanosleep(&wait, NULL);
	}
	return 0;
}

/* What another release has counted begins anew, as after a boot. */
static void read_sums(int fd, struct node_counters *n)
{
	if (pread(fd, n, sizeof(*n), 0) != sizeof(*n) ||
	    memcmp(n->magic, NODE_COUNTERS_MAGIC, sizeof(n->magic)) != 0)
		*n = (struct node_counters){ .magic = NODE_COUNTERS_MAGIC };
}

/* Nobody but root can have put anything into it. */
static int open_dir(const char *path, struct err *e)
{
	bool others;
	int fd = root_dir_open(path, &others);

	if (others)
		return err_set(e, "metrics-dir=%s is not root's alone: chown root, chmod go-w", path);
	return fd < 0 ? err_sys(e, "metrics-dir=%s", path) : fd;
}

static int write_file(const char *path, const struct node_counters *n, struct err *e)
{
	char text[METRICS_TEXT_MAX];
	cleanup_fd int dir = open_dir(path, e), fd = -1;
	int size = metrics_print(n, text);

	if (dir < 0)
		return -1;
	if (size < 0)
		return err_set(e, "metrics-dir=: the figures do not fit");
	unlinkat(dir, FILE_NEW, 0); /* of a slurmstepd that was killed */
	fd = openat(dir, FILE_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	/* Whatever umask slurmstepd has: node_exporter is not root. */
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return err_sys(e, "cannot write %s/" FILE_NEW, path);
	if (file_write(fd, text, (size_t)size, e) < 0)
		return err_context(e, "%s/" FILE_NEW, path);
	if (renameat(dir, FILE_NEW, dir, FILE_NAME) < 0)
		return err_sys(e, "cannot rename %s/" FILE_NEW, path);
	return 0;
}

static int add_step(const struct counters *c, bool good, struct err *e)
{
	cleanup_fd int dir = run_dir_open(e), fd = -1;
	struct node_counters n;

	if (dir < 0)
		return -1;
	fd = openat(dir, SUMS, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "cannot open " SCKPT_RUN_DIR "/" SUMS);
	if (lock(fd, e) < 0)
		return -1;
	read_sums(fd, &n);
	n.steps++;
	n.bad += !good;
	if (good)
		counters_add(&n.sum, c);
	if (pwrite(fd, &n, sizeof(n), 0) != sizeof(n))
		return err_sys(e, "cannot write " SCKPT_RUN_DIR "/" SUMS);
	return write_file(settings()->metrics_dir, &n, e);
}

void metrics_end(const struct spec *spec)
{
	uint64_t lived_us = (uint64_t)(clock_ns(CLOCK_BOOTTIME) - begun) / 1000;
	struct counters c; /* a copy: they may write to it still */
	struct err e = { "" };
	bool good;

	if (counters < 0)
		return;
	good = pread(counters, &c, sizeof(c), 0) == sizeof(c) &&
	       counters_check(&c, lived_us, &e) == 0;
	if (!good)
		slurm_error(SAYS "the figures of step %u.%s are not believed: %s", spec->job,
			    spec->id, e.text);
	if (add_step(&c, good, &e) < 0)
		slurm_error(SAYS "the figures of step %u.%s are not in metrics-dir=: %s",
			    spec->job, spec->id, e.text);
	close_fd(&counters);
}
