/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generations: which there are, publishing one, reading one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "claim.h"
#include "dir.h"
#include "sckpt/store.h"

#define MANIFEST_MAX (64 << 20)
#define SEAL_MAX 65536

void generation_name(struct generation g, char name[GENERATION_NAME_MAX + 1])
{
	snprintf(name, GENERATION_NAME_MAX + 1, "%d-%d", g.number, g.run);
}

static void file_name(struct generation g, const char *ending, char name[48])
{
	snprintf(name, 48, "%d-%d.%s", g.number, g.run, ending);
}

/* ---- which there are ------------------------------------------------------ */

struct found {
	struct generation *list;
	size_t count;
	struct err *e;
};

static int add_generation(const char *name, void *arg)
{
	struct found *f = arg;
	struct generation g, *more;
	const char *rest;

	if (!dir_split(name, &g, &rest) || strcmp(rest, ".json"))
		return 0;
	if (!(more = realloc(f->list, (f->count + 1) * sizeof(*more))))
		return err_set(f->e, "no memory for a list of checkpoints");
	f->list = more;
	more[f->count++] = g;
	return 0;
}

/* Newest first; of two with one number the later run's. */
static int compare(const void *a, const void *b)
{
	const struct generation *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? 1 : -1;
	return x->run < y->run ? 1 : x->run > y->run ? -1 : 0;
}

int store_published(const struct store *store, struct generation **list,
		    struct err *e)
{
	struct found f = { .e = e };
	struct claims claims;
	size_t n = 0;

	*list = NULL;
	if (dir_each(store, add_generation, &f, e) < 0 ||
	    claims_read(store, &claims, e) < 0) {
		free(f.list);
		return -1;
	}
	for (size_t i = 0; i < f.count; i++)
		if (claims_allow(&claims, f.list[i]))
			f.list[n++] = f.list[i];
	claims_free(&claims);
	if (n)
		qsort(f.list, n, sizeof(*f.list), compare);
	*list = f.list;
	return (int)n;
}

/* Those that node part has, too. */
static int keep_common(const struct store *store, int part,
		       struct generation *list, int count, struct err *e)
{
	cleanup_free struct generation *there = NULL;
	struct store at;
	int n = 0, has;

	if (part_open(store, part, false, &at, e) < 0)
		return errno == ENOENT ? 0 : err_context(e, "node %d of the step", part);
	has = store_published(&at, &there, e);
	store_close(&at);
	if (has < 0)
		return -1;
	for (int i = 0; i < count; i++)
		for (int k = 0; k < has; k++)
			if (compare(&list[i], &there[k]) == 0) {
				list[n++] = list[i];
				break;
			}
	return n;
}

int store_generations(const struct store *store, struct generation **list,
		      struct err *e)
{
	int nodes = store_nodes(store), count;

	*list = NULL;
	if (nodes < 0)
		return err_sys(e, "cannot tell how many nodes %s is of", store->path);
	count = store_published(store, list, e);
	for (int i = 1; i < nodes && count > 0; i++)
		count = keep_common(store, i, *list, count, e);
	return count;
}

int step_is_saved(const struct spec *step, struct err *e)
{
	cleanup_free struct generation *list = NULL;
	struct store store;
	int rc = store_open(step, false, &store, e);

	if (rc)
		return rc < 0 ? -1 : 0;
	rc = store_generations(&store, &list, e);
	store_close(&store);
	return rc < 0 ? -1 : rc > 0;
}

/* ---- the next one ------------------------------------------------------------- */

struct next {
	const struct store *store;
	int run, highest;
};

/* Is this a file of a generation that was never published? */
static bool unfinished(const struct store *store, struct generation g)
{
	char name[48];

	file_name(g, "json", name);
	return faccessat(store->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	       errno == ENOENT;
}

static int look_highest(const char *name, void *arg)
{
	struct next *n = arg;
	struct generation g;
	const char *rest;

	if (dir_split(name, &g, &rest) && g.number > n->highest)
		n->highest = g.number;
	return 0;
}

/* Packs outlive their generation as long as others need them: only what is
 * newer than every generation can be a dead writer's. */
static int drop_unfinished(const char *name, void *arg)
{
	struct next *n = arg;
	struct generation g;
	const char *rest;
	size_t size = strlen(name), end = strlen(DIR_PART);

	if ((dir_split(name, &g, &rest) && g.run <= n->run &&
	     g.number > n->highest && unfinished(n->store, g)) ||
	    /* A later run's may be at work this moment. */
	    (name[0] == '.' && dir_split(name + 1, &g, &rest) &&
	     g.run <= n->run && size > end &&
	     !strcmp(name + size - end, DIR_PART)))
		unlinkat(n->store->dir, name, 0);
	return 0;
}

int store_next(const struct store *store, int run, struct err *e)
{
	cleanup_free struct generation *list = NULL;
	struct next n = { store, run, 0 };
	int count = store_published(store, &list, e);

	if (count < 0)
		return -1;
	n.highest = count ? list[0].number : 0;
	if (dir_each(store, drop_unfinished, &n, e) < 0 ||
	    dir_each(store, look_highest, &n, e) < 0)
		return -1;
	if (n.highest >= INT_MAX - 1)
		return err_set(e, "%s: the generations' numbers are used up",
			       store->path);
	return n.highest + 1;
}

/* ---- files of the program's ------------------------------------------------------- */

int generation_take_file(const struct store *store, struct generation g,
			 size_t n, int fd, int64_t size, const char *same,
			 char name[IMAGE_FILE_MAX + 1], struct err *e)
{
	cleanup_fd int to = -1;

	snprintf(name, IMAGE_FILE_MAX + 1, "%d-%d.%zu.file", g.number, g.run, n);
	if (same && linkat(store->dir, same, store->dir, name, 0) == 0)
		return 0;
	to = openat(store->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (to < 0)
		return err_sys(e, "cannot make %s/%s", store->path, name);
	if (file_copy(fd, 0, to, size, e) < 0) {
		unlinkat(store->dir, name, 0);
		return err_context(e, "%s/%s", store->path, name);
	}
	return 0;
}

int file_check(int fd, const struct manifest_file *f, struct err *e)
{
	uint8_t sha256[IMAGE_SHA256];
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, "it is no plain file");
	if (st.st_size != f->size)
		return err_set(e, "it has %jd bytes, not %jd",
			       (intmax_t)st.st_size, (intmax_t)f->size);
	if (image_sha256_file(fd, 0, f->size, sha256, e) < 0)
		return -1;
	return memcmp(sha256, f->sha256, sizeof(sha256)) ?
		       err_set(e, "it does not hold what it held") :
		       0;
}

void generation_drop_files(const struct store *store, const struct manifest *m)
{
	for (size_t i = 0; i < m->file_count; i++)
		if (*m->files[i].copy)
			unlinkat(store->dir, m->files[i].copy, 0);
}

/* ---- publishing ------------------------------------------------------------------ */

/* A pack that was leaned on may have been removed by hand since, with the
 * generation it came from. */
static int is_there(const struct store *store, const char *name, struct err *e)
{
	struct stat st;

	return fstatat(store->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ?
		       err_sys(e, "%s, which this checkpoint leans on, is gone: ask for another one",
			       name) :
		       0;
}

static int still_there(const struct store *store, const struct manifest *m,
		       struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->set.pack_count; i++)
		rc = is_there(store, m->set.packs[i].name, e);
	for (size_t i = 0; rc == 0 && i < m->file_count; i++)
		if (*m->files[i].copy)
			rc = is_there(store, m->files[i].copy, e);
	return rc;
}

/* One that nobody can read would push out those that can be. */
static int is_readable(const char *text, struct err *e)
{
	struct manifest back;

	if (strlen(text) > MANIFEST_MAX)
		return err_set(e, "its manifest would be larger than %d MiB",
			       MANIFEST_MAX >> 20);
	if (manifest_parse(text, &back, e) < 0)
		return err_context(e, "it could not be read again");
	manifest_free(&back);
	return 0;
}

int generation_publish(const struct store *store, const struct manifest *m,
		       struct err *e)
{
	const struct generation g = { m->generation, m->run };
	cleanup_free char *text = manifest_text(m, e);
	cleanup_free char *seal = NULL;
	char json[48], sealed[48];

	if (!text || is_readable(text, e) < 0 || !(seal = seal_make(text, strlen(text), e)))
		return -1;
	file_name(g, "json", json);
	file_name(g, "seal", sealed);
	if (!unfinished(store, g))
		return err_set(e, "%s/%s is there already", store->path, json);
	if (dir_write(store, sealed, seal, false, e) < 0)
		return -1;
	if (store_fenced(store, g.run, NULL, e))
		goto undo;
	/* The moment it is there. */
	if (dir_write(store, json, text, true, e) < 0)
		goto undo;
	if (fsync(store->dir) < 0) {
		err_sys(e, "cannot write to %s", store->path);
		goto undo;
	}
	/* Claimed in between: readers leave it out, and so it goes. From here on
	 * what it leans on is not swept; before, it may have been. */
	if (store_fenced(store, g.run, NULL, e) || still_there(store, m, e) < 0)
		goto undo;
	return 0;
undo:
	unlinkat(store->dir, json, 0);
	unlinkat(store->dir, sealed, 0);
	return -1;
}

void generation_mark_ended(const struct store *store, struct generation g)
{
	char name[48];

	file_name(g, "ended", name);
	dir_write(store, name, "", false, NULL);
}

int generation_withdraw(const struct store *store, struct generation g,
			struct err *e)
{
	char name[48];

	file_name(g, "json", name);
	if ((unlinkat(store->dir, name, 0) < 0 && errno != ENOENT) ||
	    fsync(store->dir) < 0)
		return err_sys(e, "cannot remove %s/%s", store->path, name);
	file_name(g, "seal", name);
	unlinkat(store->dir, name, 0);
	return 0;
}

/* ---- reading ----------------------------------------------------------------------- */

static ssize_t read_manifest(const struct store *store, struct generation g,
			     char **text, struct err *e)
{
	char name[48];

	file_name(g, "json", name);
	return file_read(store->dir, name, MANIFEST_MAX, text, e);
}

int generation_peek(const struct store *store, struct generation g,
		    struct manifest *m, struct err *e)
{
	cleanup_free char *text = NULL;

	*m = (struct manifest){ .job = 0 };
	if (read_manifest(store, g, &text, e) < 0)
		return -1;
	return manifest_parse(text, m, e);
}

int64_t generation_used(const struct store *store, struct generation g)
{
	struct manifest m;
	struct stat st;
	char name[48];
	int64_t at = 0;

	file_name(g, "json", name);
	if (fstatat(store->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		at = st.st_mtime;
	if (fstat(store->dir, &st) == 0 && st.st_mtime > at)
		at = st.st_mtime;
	if (generation_peek(store, g, &m, NULL) == 0) {
		at = m.time > at ? m.time : at;
		manifest_free(&m);
	}
	return at;
}

void generation_touch(const struct store *store, struct generation g)
{
	char name[48];

	file_name(g, "json", name);
	utimensat(store->dir, name, NULL, AT_SYMLINK_NOFOLLOW);
}

static int check(const struct manifest *m, struct generation g, uid_t uid,
		 const struct spec *spec, struct err *e)
{
	if (m->generation != g.number || m->run != g.run)
		return err_set(e, "its manifest is that of generation %d of run %d",
			       m->generation, m->run);
	if (m->uid != uid)
		return err_set(e, "it was made by user id %u, not %u", m->uid,
			       uid);
	if (spec && (strcmp(m->cluster, spec->cluster) || m->job != spec->job ||
		     strcmp(m->step, spec->step)))
		return err_set(e, "it is of job %u.%s on cluster %s", m->job,
			       m->step, m->cluster);
	if (spec && m->part != spec->part)
		return err_set(e, "it is of node %d of the step, not of node %d",
			       m->part, spec->part);
	return 0;
}

int generation_load(const struct store *store, struct generation g, uid_t uid,
		    const struct spec *spec, struct manifest *m, struct err *e)
{
	cleanup_free char *text = NULL, *seal = NULL;
	char name[48];
	ssize_t size;

	*m = (struct manifest){ .job = 0 };
	file_name(g, "seal", name);
	if ((size = read_manifest(store, g, &text, e)) < 0)
		return -1;
	if (file_read(store->dir, name, SEAL_MAX, &seal, e) < 0)
		return err_context(e, "its seal is missing");
	if (seal_check(seal, text, (size_t)size, uid, e) < 0 ||
	    manifest_parse(text, m, e) < 0)
		return -1;
	if (check(m, g, uid, spec, e) < 0) {
		manifest_free(m);
		return -1;
	}
	file_name(g, "ended", name);
	m->ended |= faccessat(store->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	return 0;
}
