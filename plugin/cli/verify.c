/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt verify: is every byte as it was written, and by whom? */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

struct verdict {
	const struct options *o;
	json_object *list, *faults; /* of the generation at hand */
	char id[ID_TEXT_MAX];
	char part[24]; /* which node's; "" the first one's, or the only one's */
	int checked, damaged, bad_here;
};

static void fault(struct verdict *v, const char *file, const char *what)
{
	json_object *o = json_object_new_object();
	char name[320];

	v->bad_here++;
	if (!v->o->json)
		complain(0, "%s: %s%s: %s", v->id, v->part, file, what);
	snprintf(name, sizeof(name), "%s%s", v->part, file);
	json_object_object_add(o, "file", json_object_new_string(name));
	json_object_object_add(o, "fault", json_object_new_string(what));
	json_object_array_add(v->faults, o);
}

/*
 * Each file by itself, so that one that is damaged does not hide another: a
 * set with no images and this pack alone, or with the images' descriptions
 * and no pack.
 */
static void check_pack(struct verdict *v, const struct store *store,
		       const struct manifest *m, struct image_pack *pack)
{
	const struct image_options options = { .buffer = 1 << 20 };
	struct image_set one = m->set;
	struct image_reader *r;
	struct err e = { "" };

	one.items = NULL;
	one.item_count = 0;
	one.packs = pack;
	one.pack_count = 1;
	r = image_reader_open(store->dir, &one, &options, &e);
	if (!r || image_reader_verify_pack(r, 0, &e) < 0)
		fault(v, pack->name, e.text);
	image_reader_close(r);
}

static void check_logs(struct verdict *v, const struct store *store,
		       const struct manifest *m)
{
	for (size_t i = 0; i < m->stream_count; i++) {
		const struct manifest_stream *s = &m->streams[i];
		char name[32], text[200];
		struct stat st;

		if (s->output < 0)
			continue;
		snprintf(name, sizeof(name), "output.%d", s->output);
		if (fstatat(store->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			snprintf(text, sizeof(text), "%s", strerror(errno));
		else if (!S_ISREG(st.st_mode))
			snprintf(text, sizeof(text), "it is no plain file");
		else if (st.st_size < s->length)
			snprintf(text, sizeof(text),
				 "it has %jd bytes, and the program had written %jd",
				 (intmax_t)st.st_size, (intmax_t)s->length);
		else
			continue;
		fault(v, name, text);
	}
}

static void check_copies(struct verdict *v, const struct store *store,
			 const struct manifest *m)
{
	for (size_t i = 0; i < m->file_count; i++) {
		const struct manifest_file *f = &m->files[i];
		cleanup_fd int fd = -1;
		struct err e = { "" };

		if (!*f->copy)
			continue;
		fd = openat(store->dir, f->copy,
			    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			fault(v, f->copy, strerror(errno));
		else if (file_check(fd, f, &e) < 0)
			fault(v, f->copy, e.text);
	}
}

static void check_files(struct verdict *v, const struct store *store,
			struct manifest *m)
{
	const struct image_options options = { .buffer = 1 << 20 };
	struct image_set none = m->set;
	struct image_reader *r;
	struct err e = { "" };
	int before;

	/* The meta file alone: its page lists name packs that are left out. */
	none.packs = NULL;
	none.pack_count = 0;
	none.items = NULL;
	none.item_count = 0;
	if ((r = image_reader_open(store->dir, &none, &options, &e)))
		image_reader_close(r);
	else
		fault(v, m->set.meta, e.text);
	before = v->bad_here;
	for (size_t i = 0; r && i < m->set.pack_count; i++)
		check_pack(v, store, m, &m->set.packs[i]);
	check_logs(v, store, m);
	check_copies(v, store, m);
	if (!r || v->bad_here > before)
		return;
	/* All together: digests of the images, page lists against packs. */
	if ((r = image_reader_open(store->dir, &m->set, &options, &e)))
		image_reader_close(r);
	else
		fault(v, m->set.meta, e.text);
}

/* Of a step on several nodes each has its own; what is wrong with it is told by a name
 * below the step's directory. */
static void check_part(struct verdict *v, const struct spec *step,
		       const struct store *store, struct generation g)
{
	char name[GENERATION_NAME_MAX + 1], file[GENERATION_NAME_MAX + 8];
	struct err e = { "" };
	struct manifest m;

	generation_name(g, name);
	snprintf(file, sizeof(file), "%s.json", name);
	if (step_load(step, store, g, &m, &e) < 0) {
		fault(v, file, e.text);
		/* What it names may be right all the same, or be named wrongly. */
		if (generation_peek(store, g, &m, NULL) == 0)
			check_files(v, store, &m);
	} else {
		check_files(v, store, &m);
	}
	manifest_free(&m);
}

static void check_others(struct verdict *v, const struct spec *step,
			 const struct store *store, struct generation g)
{
	int nodes = store_nodes(store);
	struct spec part = *step;

	if (nodes < 0)
		fault(v, "its number of nodes", strerror(errno));
	for (part.part = 1; part.part < nodes; part.part++) {
		struct err e = { "" };
		struct store at;

		snprintf(v->part, sizeof(v->part), "node %d: ", part.part);
		if (part_open(store, part.part, false, &at, &e) < 0) {
			fault(v, "its directory", e.text);
			continue;
		}
		check_part(v, &part, &at, g);
		store_close(&at);
	}
	v->part[0] = '\0';
}

static void check_generation(struct verdict *v, const struct spec *step,
			     const struct store *store, struct generation g)
{
	json_object *o = json_object_new_object();

	id_print(step, g.number, v->id);
	v->bad_here = 0;
	v->faults = json_object_new_array();
	check_part(v, step, store, g);
	check_others(v, step, store, g);
	v->checked++;
	if (v->bad_here)
		v->damaged++;
	if (!v->o->json)
		printf("%s: %s\n", v->id, v->bad_here ? "damaged" : "good");
	json_object_object_add(o, "id", json_object_new_string(v->id));
	json_object_object_add(o, "good", json_object_new_boolean(!v->bad_here));
	json_object_object_add(o, "faults", v->faults);
	json_object_array_add(v->list, o);
}

static int check_step(struct verdict *v, const struct spec *step,
		      const struct id *id)
{
	cleanup_free struct generation *list = NULL;
	struct err e = { "" };
	struct store store;
	int count = step_open(step, &store, &list, &e);

	if (count < 0)
		return complain(EXIT_FAILED, "%u.%s: %s", step->job, step->step,
				e.text);
	for (int i = 0; i < count; i++) {
		if (id && id->generation && id->generation != list[i].number)
			continue;
		check_generation(v, step, &store, list[i]);
		if (!v->o->all)
			break;
	}
	store_close(&store);
	return EXIT_OK;
}

int cmd_verify(const struct options *o)
{
	struct verdict v = { .o = o };
	struct err e = { "" };
	struct steps steps;
	struct place p;
	struct id id;
	int rc = EXIT_OK;

	if (!o->argc && !o->all)
		return complain(EXIT_USAGE, "verify what? An ID, or --all for everything");
	if (o->argc && (rc = id_resolve(o->argv[0], &id)))
		return rc;
	if (place_find(o, &p, &e) < 0 ||
	    steps_find(&p, o->argc ? &id : NULL, &steps, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	v.list = json_object_new_array();
	for (size_t i = 0; rc == EXIT_OK && i < steps.count; i++)
		rc = check_step(&v, &steps.list[i], o->argc ? &id : NULL);
	if (o->json)
		json_out(v.list);
	else
		json_object_put(v.list);
	if (rc == EXIT_OK && o->argc && !v.checked)
		rc = not_found(&p, o->argv[0]);
	steps_free(&steps);
	place_free(&p);
	return rc ? rc : v.damaged ? EXIT_DAMAGED : EXIT_OK;
}
