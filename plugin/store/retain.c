/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which generations stay. A generation is removed by removing its manifest;
 * from then on it is not there. What only it used goes after that, and whoever
 * is killed in between leaves files that the next sweep takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"

/* ---- the sweep ------------------------------------------------------------- */

struct names {
	char **list;
	size_t count;
};

static int add_name(struct names *n, const char *name)
{
	char **more = realloc(n->list, (n->count + 1) * sizeof(*more));

	if (!more || !(more[n->count] = strdup(name))) {
		if (more)
			n->list = more;
		return -1;
	}
	n->list = more;
	n->count++;
	return 0;
}

static void free_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->list[i]);
	free(n->list);
}

static bool has_name(const struct names *n, const char *name)
{
	for (size_t i = 0; i < n->count; i++)
		if (!strcmp(n->list[i], name))
			return true;
	return false;
}

struct sweep {
	const struct store *store;
	int newest; /* files of greater numbers are being written this moment */
	int above; /* it is looked for generations above that */
	bool is_written; /* there are such files */
	struct names used;
	struct err *e;
};

/* Every manifest in the directory counts, those fenced off too. */
static int add_used(const char *name, void *arg)
{
	struct sweep *s = arg;
	struct generation g;
	struct manifest m;
	const char *rest;
	int rc;

	if (!dir_split(name, &g, &rest) || strcmp(rest, ".json") || g.number <= s->above)
		return 0;
	if (generation_peek(s->store, g, &m, s->e) < 0)
		/* What it uses is not known: nothing is removed. */
		return err_context(s->e, "generation %d", g.number);
	if (g.number > s->newest)
		s->newest = g.number;
	rc = add_name(&s->used, m.set.meta);
	for (size_t i = 0; rc == 0 && i < m.set.pack_count; i++)
		rc = add_name(&s->used, m.set.packs[i].name);
	for (size_t i = 0; rc == 0 && i < m.file_count; i++)
		if (*m.files[i].copy)
			rc = add_name(&s->used, m.files[i].copy);
	manifest_free(&m);
	return rc < 0 ? err_set(s->e, "no memory to sweep %s", s->store->path) : 0;
}

static int drop_unused(const char *name, void *arg)
{
	struct sweep *s = arg;
	const char *rest, *ending = strrchr(name, '.');
	struct generation g;

	if (!dir_split(name, &g, &rest) || g.number > s->newest || !ending)
		return 0;
	if (!strcmp(ending, ".seal") || !strcmp(ending, ".ended")) {
		char json[48];

		snprintf(json, sizeof(json), "%d-%d.json", g.number, g.run);
		if (faccessat(s->store->dir, json, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return 0;
		if (errno != ENOENT)
			return err_sys(s->e, "%s/%s", s->store->path, json);
	} else if ((strcmp(ending, ".pack") && strcmp(ending, ".meta") &&
		    strcmp(ending, ".file")) ||
		   has_name(&s->used, name)) {
		return 0;
	}
	if (unlinkat(s->store->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(s->e, "cannot remove %s/%s", s->store->path, name);
	return 0;
}

static int look_for_writer(const char *name, void *arg)
{
	struct sweep *s = arg;
	struct generation g;
	const char *rest;

	s->is_written |= dir_split(name + (*name == '.'), &g, &rest) && g.number > s->newest;
	return 0;
}

/*
 * When the newest was removed its number is `removed`, else 0: what was only its goes, too. But
 * not while the next one is written, which may lean on that: its own sweep takes it.
 */
static int sweep(const struct store *store, int removed, struct err *e)
{
	struct sweep s = { .store = store, .e = e };
	int rc = dir_each(store, add_used, &s, e);

	/* One that was published meanwhile may lean on what no other does any more, and has
	 * found it there. */
	s.above = s.newest;
	if (rc == 0)
		rc = dir_each(store, add_used, &s, e);
	if (rc == 0 && removed > s.newest) {
		int newest = s.newest;

		s.newest = removed;
		rc = dir_each(store, look_for_writer, &s, e);
		if (s.is_written)
			s.newest = newest;
	}
	if (rc == 0)
		rc = dir_each(store, drop_unused, &s, e);
	free_names(&s.used);
	return rc;
}

int store_sweep(const struct store *store, struct err *e)
{
	return sweep(store, 0, e);
}

/* ---- removing generations ---------------------------------------------------- */

static int forget_manifest(const struct store *store, struct generation g,
			   struct err *e)
{
	char name[48];

	snprintf(name, sizeof(name), "%d-%d.json", g.number, g.run);
	if (unlinkat(store->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove %s/%s", store->path, name);
	return 0;
}

static int settle_removed(const struct store *store, int removed, struct err *e)
{
	/* Before anything of it goes, that it is gone must be certain. */
	if (fsync(store->dir) < 0)
		return err_sys(e, "cannot write to %s", store->path);
	return sweep(store, removed, e);
}

static int settle(const struct store *store, struct err *e)
{
	return settle_removed(store, 0, e);
}

int generation_remove(const struct store *store, struct generation g,
		      struct err *e)
{
	int nodes = store_nodes(store), rc;

	if (nodes < 0)
		return err_sys(e, "cannot tell how many nodes %s is of", store->path);
	if (forget_manifest(store, g, e) < 0)
		return -1;
	rc = settle_removed(store, g.number, e);
	for (int i = 1; rc == 0 && i < nodes; i++) {
		struct store part;

		if (part_open(store, i, false, &part, NULL) < 0)
			continue;
		rc = forget_manifest(&part, g, e) < 0 ? -1 : settle_removed(&part, g.number, e);
		store_close(&part);
	}
	return rc;
}

/* Of a set that is not complete and will never be. */
static bool is_broken(const struct generation *whole, int count,
		      struct generation g)
{
	for (int i = 0; i < count; i++)
		if (whole[i].number == g.number && whole[i].run == g.run)
			return false;
	return true;
}

int store_retain_parts(const struct store *store, struct err *e)
{
	cleanup_free struct generation *whole = NULL, *list = NULL;
	int count = store_generations(store, &whole, e), removed = 0;
	int all = count < 0 ? -1 : store_published(store, &list, e);

	for (int i = 0; i < all; i++)
		if (is_broken(whole, count, list[i])) {
			if (forget_manifest(store, list[i], e) < 0)
				return -1;
			removed++;
		}
	if (all < 0)
		return -1;
	return removed ? settle(store, e) : 0;
}

int part_retain(const struct store *store, const struct store *first,
		struct err *e)
{
	cleanup_free struct generation *list = NULL;
	int count = store_published(store, &list, e), removed = 0;

	if (count < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		int has = set_has(first, 0, list[i], e);

		if (has > 0)
			continue;
		if (has < 0 || forget_manifest(store, list[i], e) < 0)
			return -1;
		removed++;
	}
	return removed ? settle(store, e) : 0;
}

int store_retain(const struct store *store, int keep, int run,
		 const struct generation *restored, struct err *e)
{
	cleanup_free struct generation *list = NULL;
	int count = store_generations(store, &list, e), good = 0, removed = 0;

	if (count < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		bool is_good = list[i].run == run ||
			       (restored && list[i].number == restored->number &&
				list[i].run == restored->run);

		if (is_good && good < keep) {
			good++;
			continue;
		}
		/* Newer ones that could not be restored are kept until there
		 * are enough that can. */
		if (good < keep)
			continue;
		if (forget_manifest(store, list[i], e) < 0)
			return -1;
		removed++;
	}
	return removed ? settle(store, e) : 0;
}
