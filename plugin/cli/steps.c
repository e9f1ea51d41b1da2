/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From ids to directories of steps and generations. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

struct finding {
	struct steps *steps;
	const struct id *id;
	struct err *e;
};

static int take(const struct spec *step, void *arg)
{
	struct finding *f = arg;
	struct spec *more;

	if (f->id && ((*f->id->cluster && strcmp(f->id->cluster, step->cluster)) ||
		      f->id->job != step->job ||
		      (*f->id->step && strcmp(f->id->step, step->step))))
		return 0;
	more = realloc(f->steps->list, (f->steps->count + 1) * sizeof(*more));
	if (!more)
		return err_set(f->e, "no memory for a list of steps");
	f->steps->list = more;
	more[f->steps->count++] = *step;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct spec *x = a, *y = b;
	int rc = strcmp(x->cluster, y->cluster);

	if (!rc && x->job != y->job)
		rc = x->job < y->job ? -1 : 1;
	return rc ? rc : strcmp(x->step, y->step);
}

int steps_find(const struct place *p, const struct id *id, struct steps *s,
	       struct err *e)
{
	struct finding f = { s, id, e };

	*s = (struct steps){ .count = 0 };
	for (size_t i = 0; i < p->count; i++)
		if (store_each(&p->stores[i], take, &f, e) < 0) {
			steps_free(s);
			return -1;
		}
	if (s->count)
		qsort(s->list, s->count, sizeof(*s->list), compare);
	return 0;
}

void steps_free(struct steps *s)
{
	free(s->list);
	*s = (struct steps){ .count = 0 };
}

bool step_is_old(const struct spec *step)
{
	return strstr(step->step, ".old.") != NULL;
}

int step_open(const struct spec *step, struct store *store,
	      struct generation **list, struct err *e)
{
	int rc = store_open(step, false, store, e);

	*list = NULL;
	if (rc == 1)
		return err_set(e, "%s is not there any more", store->path);
	if (rc == 0 && (rc = store_generations(store, list, e)) < 0)
		store_close(store);
	return rc;
}

int step_load(const struct spec *step, const struct store *store,
	      struct generation g, struct manifest *m, struct err *e)
{
	struct spec as = *step;
	char *old = strstr(as.step, ".old.");

	/* It says so of itself what it was before it was set aside. */
	if (old)
		*old = '\0';
	return generation_load(store, g, geteuid(), &as, m, e);
}

int id_resolve(const char *text, struct id *id)
{
	struct err e = { "" };
	struct job job;
	char name[40];
	int rc;

	if (id_parse(text, id, &e) < 0)
		return complain(EXIT_USAGE, "%s", e.text);
	if (id->task < 0)
		return EXIT_OK;
	id_job(id, name);
	if ((rc = job_of_id(id, &job, &e)) < 0)
		return complain(EXIT_FAILED, "which job is array task %s? %s",
				name, e.text);
	if (rc == 1)
		return complain(EXIT_NOT_FOUND,
				"Slurm knows no array task %s (any more): name the job by its own number, as sckpt list shows it",
				name);
	id->job = job.number;
	return EXIT_OK;
}

int not_found(const struct place *p, const char *text)
{
	return complain(EXIT_NOT_FOUND,
			"there is no checkpoint of %s in %s; sckpt list shows which there are",
			text, p->count ? p->stores[0].base : p->conf.dir);
}

static void name_steps(const struct steps *s, char *to, size_t size)
{
	size_t n = 0;

	to[0] = '\0';
	for (size_t i = 0; i < s->count && n < size; i++)
		n += (size_t)snprintf(to + n, size - n, "%s%s/%u.%s",
				      i ? ", " : "", s->list[i].cluster,
				      s->list[i].job, s->list[i].step);
}

/* The one meant: what was set aside only when it is named. */
static const struct spec *the_step(const struct steps *s)
{
	const struct spec *only = NULL;

	if (s->count == 1)
		return s->list;
	for (size_t i = 0; i < s->count; i++) {
		if (step_is_old(&s->list[i]))
			continue;
		if (only)
			return NULL;
		only = &s->list[i];
	}
	return only;
}

static int pick(const struct spec *step, const struct id *id,
		struct store *store, struct generation *g)
{
	cleanup_free struct generation *list = NULL;
	struct err e = { "" };
	int count = step_open(step, store, &list, &e);
	char name[ID_TEXT_MAX];

	id_print(step, 0, name);
	if (count < 0)
		return complain(EXIT_FAILED, "%s: %s", name, e.text);
	for (int i = 0; i < count; i++)
		if (!id->generation || list[i].number == id->generation) {
			*g = list[i];
			return EXIT_OK;
		}
	store_close(store);
	if (!count)
		return complain(EXIT_NOT_FOUND, "step %s has no checkpoint yet; sckpt create %s makes one while it runs",
				name, name);
	return complain(EXIT_NOT_FOUND, "step %s has no generation %d: its newest is %d; sckpt list %s shows all",
			name, id->generation, list[0].number, name);
}

int find_generation(const struct place *p, const struct id *id,
		    struct spec *step, struct store *store,
		    struct generation *g)
{
	char text[256], names[512];
	const struct spec *found;
	struct err e = { "" };
	struct steps s;
	int rc;

	snprintf(text, sizeof(text), "job %u%s%s", id->job, *id->step ? "." : "",
		 id->step);
	if (steps_find(p, id, &s, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	if (!s.count)
		return not_found(p, text);
	if ((found = the_step(&s))) {
		*step = *found;
		rc = pick(step, id, store, g);
	} else {
		name_steps(&s, names, sizeof(names));
		rc = complain(EXIT_USAGE, "%s has several steps, say which: %s",
			      text, names);
	}
	steps_free(&s);
	return rc;
}

int choose(const struct options *o, struct chosen *c)
{
	struct err e = { "" };
	struct id id;
	int rc = id_resolve(o->argv[0], &id);

	if (rc)
		return rc;
	if (place_find(o, &c->place, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	if ((rc = find_generation(&c->place, &id, &c->step, &c->store, &c->g)))
		place_free(&c->place);
	return rc;
}

void chosen_free(struct chosen *c)
{
	store_close(&c->store);
	place_free(&c->place);
}
