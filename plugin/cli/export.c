/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt export: a checkpoint as criu itself would have written it, and beside
 * the images what sckpt import needs to bring it back: the manifest and what the
 * program had printed. Of a step on several nodes each one's part has a directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"

/* Ours alone, and with nothing in it. */
static int open_target(const char *path, struct err *e)
{
	cleanup_fd int dir = -1;
	struct dirent *entry;
	struct stat st;
	bool empty = true;
	DIR *list;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", path);
	if ((dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_sys(e, "cannot open %s", path);
	if (!(list = opendir(path)))
		return err_sys(e, "cannot read %s", path);
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			empty = false;
	closedir(list);
	if (!empty)
		return err_set(e, "%s is not empty: name a directory that is, or none yet",
			       path);
	if (fstat(dir, &st) < 0 || st.st_uid != geteuid())
		return err_set(e, "%s belongs to somebody else", path);
	/* The images hold the program's memory. */
	if (st.st_mode & 077 && fchmod(dir, 0700) < 0)
		return err_sys(e, "cannot close %s to others", path);
	return steal_fd(&dir);
}

static int make_file(int dir, const char *name, struct err *e)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					   O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "cannot make %s", name) : fd;
}

/* Durable, or it fails. */
static int settle_file(int fd, const char *name, struct err *e)
{
	return fsync(fd) < 0 ? err_sys(e, "cannot write %s", name) : 0;
}

static int write_images(int dir, const struct store *store, struct manifest *m,
			uint64_t *bytes, struct err *e)
{
	const struct image_options options = { .buffer = 4 << 20 };
	struct image_reader *r = image_reader_open(store->dir, &m->set, &options,
						   e);
	int rc = r ? 0 : -1;

	for (size_t i = 0; rc == 0 && i < m->set.item_count; i++) {
		const char *name = m->set.items[i].name;
		cleanup_fd int fd = make_file(dir, name, e);

		if (fd < 0 || image_reader_copy(r, name, fd, e) < 0 ||
		    settle_file(fd, name, e) < 0)
			rc = err_context(e, "image %s", name);
		*bytes += m->set.items[i].size;
	}
	image_reader_close(r);
	return rc;
}

/* What the program had printed until then, which a restore prints again. */
static int write_logs(int dir, const struct store *store,
		      const struct manifest *m, struct err *e)
{
	for (size_t i = 0; i < m->stream_count; i++) {
		const struct manifest_stream *s = &m->streams[i];
		cleanup_fd int log = -1, fd = -1;
		char name[32];

		/* Two may have one in common; then it is the first one's. */
		if (s->output != (int)i)
			continue;
		snprintf(name, sizeof(name), EXPORT_OUTPUT "%d", s->output);
		if ((log = output_open(store, s->output, false, e)) < 0 ||
		    (fd = make_file(dir, name, e)) < 0 ||
		    output_replay(log, s->length, fd, e) < 0 ||
		    settle_file(fd, name, e) < 0)
			return err_context(e, "%s", name);
	}
	return 0;
}

/* The content of files that travels with the images. */
static int write_files(int dir, const struct store *store,
		       const struct manifest *m, struct err *e)
{
	for (size_t i = 0; i < m->file_count; i++) {
		const struct manifest_file *f = &m->files[i];
		cleanup_fd int in = -1, fd = -1;
		char name[40];

		if (!*f->copy)
			continue;
		snprintf(name, sizeof(name), EXPORT_FILE "%zu", i);
		in = openat(store->dir, f->copy,
			    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (in < 0)
			return err_sys(e, "%s", f->copy);
		if ((fd = make_file(dir, name, e)) < 0 ||
		    file_check(in, f, e) < 0 ||
		    file_copy(in, 0, fd, f->size, e) < 0 ||
		    settle_file(fd, name, e) < 0)
			return err_context(e, "%s", f->copy);
	}
	return 0;
}

static int write_manifest(int dir, const struct manifest *m, struct err *e)
{
	cleanup_free char *text = manifest_text(m, e);
	cleanup_fd int fd = text ? make_file(dir, EXPORT_MANIFEST, e) : -1;

	if (fd < 0 || file_write(fd, text, strlen(text), e) < 0 ||
	    settle_file(fd, EXPORT_MANIFEST, e) < 0)
		return err_context(e, EXPORT_MANIFEST);
	/* Last, so that an export that was cut short cannot be imported. */
	return fsync(dir) < 0 ? err_sys(e, "cannot write the directory") : 0;
}

/* What was written. */
struct sum {
	size_t images;
	uint64_t bytes;
};

static int export(const char *path, const struct store *store,
		  struct manifest *m, struct sum *sum, struct err *e)
{
	cleanup_fd int dir = open_target(path, e);

	if (dir < 0)
		return -1;
	if (write_images(dir, store, m, &sum->bytes, e) < 0 ||
	    write_logs(dir, store, m, e) < 0 ||
	    write_files(dir, store, m, e) < 0 || write_manifest(dir, m, e) < 0)
		return err_context(e, "%s is not whole", path);
	sum->images += m->set.item_count;
	return 0;
}

static int export_below(const char *path, int part, const struct store *store,
			struct manifest *m, struct sum *sum, struct err *e)
{
	char at[PATH_MAX];

	if (snprintf(at, sizeof(at), "%s/" EXPORT_PART "%d", path, part) >=
	    (int)sizeof(at))
		return err_set(e, "%.100s…: the name is too long", path);
	return export(at, store, m, sum, e);
}

static int export_part(const char *path, const struct chosen *c, int part,
		       struct sum *sum, struct err *e)
{
	struct spec step = c->step;
	struct manifest m;
	struct store store;
	int rc;

	step.part = part;
	if (part_open(&c->store, part, false, &store, e) < 0)
		return err_context(e, "node %d of the step", part);
	rc = step_load(&step, &store, c->g, &m, e);
	if (rc == 0)
		rc = export_below(path, part, &store, &m, sum, e);
	manifest_free(&m);
	store_close(&store);
	return rc < 0 ? err_context(e, "node %d of the step", part) : 0;
}

/* The first node's last: its manifest says how many others there are. */
static int export_set(const char *path, const struct chosen *c,
		      struct manifest *first, struct sum *sum, struct err *e)
{
	cleanup_fd int dir = open_target(path, e);

	if (dir < 0)
		return -1;
	for (int i = first->nodes - 1; i > 0; i--)
		if (export_part(path, c, i, sum, e) < 0)
			return -1;
	if (export_below(path, 0, &c->store, first, sum, e) < 0)
		return -1;
	return fsync(dir) < 0 ? err_sys(e, "cannot write the directory") : 0;
}

int cmd_export(const struct options *o)
{
	char name[ID_TEXT_MAX], size[16];
	struct err e = { "" };
	struct chosen c;
	struct manifest m;
	struct sum sum = { 0 };
	int rc = choose(o, &c);

	if (rc)
		return rc;
	id_print(&c.step, c.g.number, name);
	if (step_load(&c.step, &c.store, c.g, &m, &e) < 0) {
		rc = complain(EXIT_DAMAGED, "%s: %s; sckpt verify %s tells more",
			      name, e.text, name);
	} else {
		if ((m.nodes > 1 ? export_set(o->argv[1], &c, &m, &sum, &e) :
				   export(o->argv[1], &c.store, &m, &sum, &e)) < 0)
			rc = complain(EXIT_FAILED, "%s: %s", name, e.text);
		else if (!o->json) {
			size_print(sum.bytes, size);
			printf("%s: %zu images%s, %s, in %s\n", name, sum.images,
			       m.nodes > 1 ? " of all nodes" : "", size,
			       o->argv[1]);
		}
		manifest_free(&m);
	}
	chosen_free(&c);
	return rc;
}
