/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A new job goes on from another job's checkpoint. Packs and meta file keep
 * their names, and the generation its number: what the new job makes has greater
 * ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"

static int copy_file(int from, int to, const char *name, struct err *e)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int out = -1;
	struct stat st;

	if (in < 0 || fstat(in, &st) < 0)
		return err_sys(e, "cannot read %s", name);
	out = openat(to, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
				       O_CLOEXEC, 0600);
	if (out < 0)
		return err_sys(e, "cannot make %s", name);
	if (file_copy(in, 0, out, st.st_size, e) < 0)
		return err_context(e, "%s", name);
	return fsync(out) < 0 ? err_sys(e, "cannot copy %s", name) : 0;
}

static bool is_same(int from, int to, const char *name)
{
	struct stat a, b;

	return fstatat(from, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(to, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int take_file(int from, int to, const char *name, struct err *e)
{
	if (linkat(from, name, to, name, 0) == 0)
		return 0;
	if (errno == ENOENT)
		return err_sys(e, "%s", name);
	/* Left by one that was killed in the middle of it. */
	if (errno == EEXIST && is_same(from, to, name))
		return 0;
	return copy_file(from, to, name, e);
}

/* What the program had printed by then. */
static int take_log(const struct store *from, const struct store *to,
		    const struct manifest_stream *s, struct err *e)
{
	cleanup_fd int in = -1, out = -1;

	if (s->output < 0)
		return 0;
	if ((in = output_open(from, s->output, false, e)) < 0 ||
	    (out = output_open(to, s->output, true, e)) < 0)
		return -1;
	if (ftruncate(out, 0) < 0)
		return err_sys(e, "cannot empty output.%d", s->output);
	if (output_replay(in, s->length, out, e) < 0)
		return -1;
	return fsync(out) < 0 ? err_sys(e, "cannot write output.%d", s->output) :
				0;
}

int generation_adopt(const struct store *from, struct generation g,
		     const struct store *to, const struct spec *spec, int run,
		     struct err *e)
{
	struct manifest m;
	int rc;

	if (generation_load(from, g, geteuid(), NULL, &m, e) < 0)
		return -1;
	rc = take_file(from->dir, to->dir, m.set.meta, e);
	for (size_t i = 0; rc == 0 && i < m.set.pack_count; i++)
		rc = take_file(from->dir, to->dir, m.set.packs[i].name, e);
	for (size_t i = 0; rc == 0 && i < m.file_count; i++)
		if (*m.files[i].copy)
			rc = take_file(from->dir, to->dir, m.files[i].copy, e);
	for (size_t i = 0; rc == 0 && i < m.stream_count; i++)
		rc = take_log(from, to, &m.streams[i], e);
	if (rc == 0) {
		snprintf(m.cluster, sizeof(m.cluster), "%s", spec->cluster);
		snprintf(m.step, sizeof(m.step), "%s", spec->step);
		if (!m.origin)
			m.origin = m.job;
		m.job = spec->job;
		m.run = run;
		m.parent = 0;
		rc = generation_publish(to, &m, e);
	}
	manifest_free(&m);
	return rc;
}
