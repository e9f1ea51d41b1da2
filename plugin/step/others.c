/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who else writes to the program's files: other steps of the same user that are
 * not over and have them open, as their newest manifests tell, and the job that the
 * checkpoint came from. In doubt there is somebody.
 */
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "sckpt/policy.h"

struct search {
	const struct step *step;
	const struct manifest *m;
	bool *others; /* of each of its files */
};

bool others_active(const struct step *step, uint32_t job)
{
	struct job_facts facts;

	job_ask(job, &facts, NULL);
	if (facts.answered)
		return facts.running || facts.pending || facts.completing;
	job_ask(step->spec.job, &facts, NULL);
	return !facts.answered;
}

static void compare(struct search *s, const struct manifest *other)
{
	bool asked = false, active = false;

	for (size_t i = 0; i < s->m->file_count; i++)
		for (size_t n = 0; n < other->file_count; n++) {
			const struct manifest_file *a = &s->m->files[i];
			const struct manifest_file *b = &other->files[n];

			/* Asking slurmctld of each job would take long, once it is known. */
			if (s->others[i] || a->local || a->inode != b->inode || strcmp(a->path, b->path))
				continue;
			if (!asked)
				active = other->job == s->step->spec.job ||
					 others_active(s->step, other->job);
			asked = true;
			s->others[i] = s->others[i] || active;
		}
}

/* What the same step has open on its other nodes. */
static void look_at_parts(struct search *s)
{
	const struct generation g = { s->m->generation, s->m->run };
	struct spec other = s->step->spec;

	for (int i = 0; i < s->m->nodes; i++) {
		struct manifest m;
		struct store store;

		other.part = i;
		if (i == s->m->part || store_open(&other, false, &store, NULL) != 0)
			continue;
		if (generation_peek(&store, g, &m, NULL) == 0) {
			compare(s, &m);
			manifest_free(&m);
		}
		store_close(&store);
	}
}

static int look_at_step(const struct spec *other, void *arg)
{
	struct search *s = arg;
	const struct spec *own = &s->step->spec;
	cleanup_free struct generation *list = NULL;
	struct manifest m;
	struct store store;

	if (strchr(other->step, '.')) /* set aside */
		return 0;
	if ((other->job == own->job && !strcmp(other->step, own->step) &&
	     !strcmp(other->cluster, own->cluster))) {
		look_at_parts(s);
		return 0;
	}
	if (store_open(other, false, &store, NULL) != 0)
		return 0;
	if (store_generations(&store, &list, NULL) > 0 &&
	    generation_peek(&store, list[0], &m, NULL) == 0) {
		compare(s, &m);
		manifest_free(&m);
	}
	store_close(&store);
	return 0;
}

void others_find(const struct step *step, const struct manifest *m, bool others[])
{
	struct search s = { .step = step, .m = m, .others = others };
	bool all = store_each(&step->spec, look_at_step, &s, NULL) < 0 ||
		   (m->origin && others_active(step, m->origin));

	for (size_t i = 0; all && i < m->file_count; i++)
		others[i] = true;
}
