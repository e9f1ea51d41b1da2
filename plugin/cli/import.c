/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt import: what sckpt export wrote becomes a generation of its step again,
 * the newest. It is sealed for whoever imports it: MUNGE vouches that this user
 * did, and for nothing that happened to the files before.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"

#define MANIFEST_MAX (64 << 20)

static int read_manifest(int dir, struct manifest *m, struct err *e)
{
	cleanup_free char *text = NULL;

	if (file_read(dir, EXPORT_MANIFEST, MANIFEST_MAX, &text, e) < 0)
		return err_context(e, "it was not written by sckpt export, or not to its end");
	return manifest_parse(text, m, e);
}

static int open_file(int dir, const char *name, struct stat *st, struct err *e)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "cannot open %s", name);
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
		close(fd);
		return err_set(e, "%s is no plain file", name);
	}
	return fd;
}

/* ---- images ------------------------------------------------------------------------- */

/* As criu would hand it over: through a pipe. */
static int pour(struct image_sink *sink, int fd, const int pipe[2], int handle,
		uint64_t left, struct err *e)
{
	char buf[PIPE_BUF]; /* the least that a pipe holds (pipe(7)) */

	while (left) {
		size_t want = left < sizeof(buf) ? (size_t)left : sizeof(buf);
		ssize_t n = read(fd, buf, want);

		if (n <= 0)
			return n ? err_sys(e, "cannot read") :
				   err_set(e, "it is shorter than it was");
		/* One that is empty takes it whole, also of a user with many (fs.pipe-user-pages-soft). */
		if (file_write(pipe[1], buf, (size_t)n, e) < 0 ||
		    sink->pour(sink->arg, handle, pipe[0], e) < 0)
			return -1;
		left -= (uint64_t)n;
	}
	return 0;
}

static int import_image(struct image_sink *sink, int dir,
			const struct image_item *item, struct err *e)
{
	int pipe[2], handle, rc = -1;
	struct stat st;
	cleanup_fd int fd = open_file(dir, item->name, &st, e);

	if (fd < 0)
		return -1;
	if ((uint64_t)st.st_size != item->size)
		return err_set(e, "%s has %jd bytes, and %ju were exported",
			       item->name, (intmax_t)st.st_size,
			       (uintmax_t)item->size);
	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, "cannot make a pipe");
	if ((handle = sink->open(sink->arg, item->name, e)) >= 0 &&
	    pour(sink, fd, pipe, handle, item->size, e) == 0) {
		close(pipe[1]);
		pipe[1] = -1;
		while ((rc = sink->pour(sink->arg, handle, pipe[0], e)) > 0)
			;
		if (rc == 0)
			rc = sink->close(sink->arg, handle, e);
	}
	close(pipe[0]);
	if (pipe[1] >= 0)
		close(pipe[1]);
	return rc < 0 ? err_context(e, "image %s", item->name) : 0;
}

static int import_images(const struct store *store, int dir, struct manifest *m,
			 const struct limits *limits, uint64_t limit,
			 struct err *e)
{
	const struct image_options options = { .buffer = limits->buffer,
					       .level = limits->compress,
					       .limit = limit,
					       .verbatim = true };
	struct image_set set = { .items = NULL };
	char prefix[GENERATION_NAME_MAX + 1];
	struct image_writer *w;
	struct image_sink sink;
	int rc = 0;

	generation_name((struct generation){ m->generation, m->run }, prefix);
	w = image_writer_open(store->dir, prefix, &options, NULL, m->set.bytes,
			      e);
	if (!w)
		return -1;
	sink = image_writer_sink(w);
	for (size_t i = 0; rc == 0 && i < m->set.item_count; i++)
		rc = import_image(&sink, dir, &m->set.items[i], e);
	if (rc == 0)
		rc = image_writer_finish(w, &set, e);
	/* Metadata must be what was exported; of memory only its size is known. */
	for (size_t i = 0; rc == 0 && i < set.item_count; i++)
		for (size_t n = 0; rc == 0 && n < m->set.item_count; n++)
			if (!strcmp(set.items[i].name, m->set.items[n].name) &&
			    !set.items[i].bulk && !m->set.items[n].bulk &&
			    memcmp(set.items[i].sha256, m->set.items[n].sha256,
				   IMAGE_SHA256))
				rc = err_set(e, "image %s is not what was exported",
					     set.items[i].name);
	if (rc == 0) {
		image_set_free(&m->set);
		m->set = set;
	} else {
		image_set_free(&set);
	}
	image_writer_close(w);
	return rc;
}

/* ---- what had been printed ----------------------------------------------------------- */

/* The step's log must begin with it; an empty one takes it over. */
static int import_log(const struct store *store, int dir, int number,
		      int64_t length, struct err *e)
{
	char name[32], ours[65536], theirs[65536];
	struct stat st, have;
	cleanup_fd int from = -1, log = -1;

	snprintf(name, sizeof(name), EXPORT_OUTPUT "%d", number);
	if ((from = open_file(dir, name, &st, e)) < 0)
		return -1;
	if (st.st_size != length)
		return err_set(e, "%s has %jd bytes, and the program had written %jd",
			       name, (intmax_t)st.st_size, (intmax_t)length);
	if ((log = output_open(store, number, true, e)) < 0)
		return -1;
	if (fstat(log, &have) < 0)
		return err_sys(e, "cannot look at output.%d", number);
	if (have.st_size == 0) {
		ssize_t n;

		while ((n = read(from, theirs, sizeof(theirs))) > 0)
			if (file_write(log, theirs, (size_t)n, e) < 0)
				return -1;
		return n < 0 || fsync(log) < 0 ?
			       err_sys(e, "cannot copy %s", name) :
			       0;
	}
	for (int64_t at = 0; at < length; ) {
		ssize_t n = pread(from, theirs, sizeof(theirs), at);

		if (n <= 0 || pread(log, ours, (size_t)n, at) != n ||
		    memcmp(ours, theirs, (size_t)n))
			return err_set(e, "output.%d of the step that lies in the store is not the one of this checkpoint: remove that step first",
				       number);
		at += n;
	}
	return 0;
}

static int import_logs(const struct store *store, int dir,
		       const struct manifest *m, struct err *e)
{
	for (int i = 0; i < (int)m->stream_count; i++)
		if (m->streams[i].output == i &&
		    import_log(store, dir, i, m->streams[i].length, e) < 0)
			return -1;
	return 0;
}

/* ---- content of the program's files ------------------------------------------------------ */

static int import_files(const struct store *store, int dir, struct manifest *m,
			struct err *e)
{
	for (size_t i = 0; i < m->file_count; i++) {
		struct manifest_file *f = &m->files[i];
		cleanup_fd int fd = -1;
		char name[40];
		struct stat st;

		if (!*f->copy)
			continue;
		snprintf(name, sizeof(name), EXPORT_FILE "%zu", i);
		if ((fd = open_file(dir, name, &st, e)) < 0)
			return -1;
		if (file_check(fd, f, e) < 0)
			return err_context(e, "%s", name);
		if (generation_take_file(store,
					 (struct generation){ m->generation, m->run },
					 i, fd, f->size, NULL, f->copy, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- the generation -------------------------------------------------------------------- */

/* A run that no claim fences off: that of the newest generation, or later. */
static int choose_run(const struct store *store, int least, struct err *e)
{
	int run, rc;

	for (run = least; (rc = store_superseded(store, run, NULL, e)) == 1; run++)
		;
	return rc < 0 ? -1 : run;
}

/* As generation m->generation of m->run. */
static int import_here(const struct spec *step, const struct store *store, int dir,
		       struct manifest *m, struct err *e)
{
	uint64_t limit;

	if (store_room(step, store, 1 << 20, &limit, e) < 0 ||
	    import_logs(store, dir, m, e) < 0 ||
	    import_files(store, dir, m, e) < 0 ||
	    import_images(store, dir, m, &step->limits, limit, e) < 0)
		return -1;
	m->uid = geteuid();
	/* What its files hold behind it may be the program's. */
	m->ended = false;
	m->parent = 0;
	return generation_publish(store, m, e);
}

/* ---- of one node, or of all ---------------------------------------------------------------- */

/* What lies in a directory: of each node its part. */
struct import {
	int dir;
	struct manifest *m;
	int nodes;
};

/* The directory of a part, or the one that was named. */
static int open_part(const struct import *in, int part, struct err *e)
{
	char name[24];
	int fd;

	snprintf(name, sizeof(name), EXPORT_PART "%d", part);
	fd = openat(in->dir, in->nodes > 1 ? name : ".",
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "cannot open %s", name) : fd;
}

/* One name for all parts. */
static int choose_name(const struct import *in, const struct store *store,
		       struct generation *g, struct err *e)
{
	*g = (struct generation){ .run = in->m[0].run < 0 ? 0 : in->m[0].run };
	for (int i = 0; i < 2 * in->nodes; i++) {
		struct store at;
		int n;

		if (part_open(store, i % in->nodes, true, &at, e) < 0)
			return -1;
		/* First the run, for a number is free in a run. */
		n = i < in->nodes ? choose_run(&at, g->run, e) :
				    store_next(&at, g->run, e);
		store_close(&at);
		if (n < 0)
			return -1;
		if (i < in->nodes)
			g->run = n;
		else if (n > g->number)
			g->number = n;
	}
	return 0;
}

/* A step's generations are all of as many nodes. */
static int check_shape(const struct import *in, const struct store *store,
		       struct err *e)
{
	cleanup_free struct generation *list = NULL;
	int count = store_published(store, &list, e), nodes = store_nodes(store);

	if (nodes < 0)
		return err_sys(e, "cannot tell how many nodes %s is of", store->path);
	if (count < 0)
		return -1;
	if (count > 0 && nodes != in->nodes)
		return err_set(e, "the step that lies in the store is on %d node%s, and this is of %d: remove that step first",
			       nodes, nodes > 1 ? "s" : "", in->nodes);
	return store_note_nodes(store, in->nodes, e);
}

static int import_part(const struct spec *step, const struct store *store,
		       const struct import *in, int part, struct generation g,
		       struct err *e)
{
	cleanup_fd int dir = open_part(in, part, e);
	struct manifest *m = &in->m[part];
	struct store at;
	int rc;

	if (dir < 0 || part_open(store, part, true, &at, e) < 0)
		return -1;
	m->generation = g.number;
	m->run = g.run;
	rc = import_here(step, &at, dir, m, e);
	store_close(&at);
	return rc < 0 && in->nodes > 1 ? err_context(e, EXPORT_PART "%d", part) : rc;
}

/* The first node's last: with it the set is there. */
static int import(const struct spec *step, const struct import *in, struct err *e)
{
	struct generation g;
	struct store store, at;
	int rc, i = in->nodes;

	if (store_open(step, true, &store, e) < 0)
		return -1;
	rc = check_shape(in, &store, e);
	if (rc == 0)
		rc = choose_name(in, &store, &g, e);
	while (rc == 0 && i-- > 0)
		rc = import_part(step, &store, in, i, g, e);
	/* Parts of a set that will not be whole. */
	for (i++; rc < 0 && i < in->nodes; i++)
		if (part_open(&store, i, false, &at, NULL) == 0) {
			generation_remove(&at, g, NULL);
			store_close(&at);
		}
	store_close(&store);
	return rc;
}

static bool same_set(const struct manifest *a, const struct manifest *b)
{
	return !strcmp(a->cluster, b->cluster) && a->job == b->job &&
	       !strcmp(a->step, b->step) && a->generation == b->generation &&
	       a->run == b->run && a->nodes == b->nodes;
}

static void import_free(struct import *in)
{
	for (int i = 0; i < in->nodes; i++)
		manifest_free(&in->m[i]);
	free(in->m);
}

/* The manifests of all nodes. */
static int read_set(struct import *in, struct err *e)
{
	struct manifest *more;
	int nodes = in->m[0].nodes;

	if (nodes < 2 || nodes > NODES_MAX || in->m[0].part)
		return err_set(e, EXPORT_PART "0 is not of the first of several nodes");
	if (!(more = realloc(in->m, (size_t)nodes * sizeof(*more))))
		return err_set(e, "no memory for %d nodes", nodes);
	in->m = more;
	while (in->nodes < nodes) {
		struct manifest *m = &in->m[in->nodes];
		cleanup_fd int dir = -1;
		int part = in->nodes;

		/* From here on it is freed; and of several nodes each has a directory. */
		*m = (struct manifest){ .part = -1 };
		in->nodes++;
		if ((dir = open_part(in, part, e)) < 0 ||
		    read_manifest(dir, m, e) < 0)
			return err_context(e, EXPORT_PART "%d", part);
		if (!same_set(m, &in->m[0]) || m->part != part)
			return err_set(e, EXPORT_PART "%d is of another checkpoint than " EXPORT_PART "0",
				       part);
	}
	return 0;
}

static int read_import(struct import *in, struct err *e)
{
	cleanup_fd int first = openat(in->dir, EXPORT_PART "0",
				      O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
					      O_CLOEXEC);

	if (!(in->m = calloc(1, sizeof(*in->m))))
		return err_set(e, "no memory");
	in->nodes = 1;
	if (read_manifest(first < 0 ? in->dir : first, &in->m[0], e) < 0)
		return first < 0 ? -1 : err_context(e, EXPORT_PART "0");
	if (first >= 0)
		return read_set(in, e);
	if (in->m[0].nodes > 1)
		return err_set(e, "it is node %d's part of a step on %d nodes: name the directory with all of them, " EXPORT_PART "0 to " EXPORT_PART "%d",
			       in->m[0].part, in->m[0].nodes, in->m[0].nodes - 1);
	return 0;
}

static int refuse_running(const struct spec *step)
{
	struct err e = { "" };
	struct jobs jobs;
	bool active;

	jobs_ask(&jobs, &e);
	active = jobs.known && jobs_active(&jobs, step);
	jobs_free(&jobs);
	return active ? complain(EXIT_FAILED, "job %u has not ended: an older checkpoint would become its newest; --force does it all the same",
				 step->job) :
			EXIT_OK;
}

int cmd_import(const struct options *o)
{
	cleanup_fd int dir = -1;
	struct err e = { "" };
	char name[ID_TEXT_MAX];
	struct import in __attribute__((cleanup(import_free))) = { .m = NULL };
	const struct manifest *m;
	struct spec step;
	struct place p;
	struct id id;
	int rc = EXIT_OK;

	if (place_find(o, &p, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	/* As the user, whose directories may lead anywhere. */
	dir = open(o->argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return complain(EXIT_NOT_FOUND, "%s: %s", o->argv[0],
				strerror(errno));
	in.dir = dir;
	if (read_import(&in, &e) < 0)
		return complain(EXIT_DAMAGED, "%s: %s", o->argv[0], e.text);
	m = &in.m[0];
	if (!p.count)
		return complain(EXIT_FAILED, "dir=%s has no directory yet: say where to with --dir",
				p.conf.dir);
	step = p.stores[0];
	snprintf(step.cluster, sizeof(step.cluster), "%s", m->cluster);
	snprintf(step.step, sizeof(step.step), "%s", m->step);
	step.job = m->job;
	/* They become names of directories. */
	snprintf(name, sizeof(name), "%u.%s", m->job, m->step);
	if (id_parse(name, &id, &e) < 0 || step_is_old(&step) ||
	    !*m->cluster || *m->cluster == '.' || strchr(m->cluster, '/')) {
		rc = complain(EXIT_DAMAGED, "%s: its manifest names no step",
			      o->argv[0]);
	} else if (o->force || !(rc = refuse_running(&step))) {
		if (import(&step, &in, &e) < 0) {
			rc = complain(EXIT_FAILED, "%s: %s", o->argv[0], e.text);
		} else {
			id_print(&step, m->generation, name);
			printf(o->json ? "{\"id\": \"%s\"}\n" : "imported %s\n",
			       name);
		}
	}
	place_free(&p);
	return rc;
}
