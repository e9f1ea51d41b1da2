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

/* Of this job: of others it is asked whether they are there (compare()). */
static bool is_over(const struct search *s, const struct store *store, const struct spec *other)
{
	struct status status;

	return other->job == s->step->spec.job && status_read(store, &status, NULL) > 0 &&
	       status.kind == STATUS_ENDED;
}

/* A step's part on one of its nodes: as that generation has it; NULL: as the newest, if it is not over.
 * Returns how many nodes the step has, 0 not known. */
static int look_at_part(struct search *s, const struct spec *other, const struct generation *g)
{
	cleanup_free struct generation *list = NULL;
	struct manifest m;
	struct store store;
	int nodes = 0;

	if (store_open(other, false, &store, NULL) != 0)
		return 0;
	if (!g && !is_over(s, &store, other) && store_generations(&store, &list, NULL) > 0)
		g = list;
	if (g && generation_peek(&store, *g, &m, NULL) == 0) {
		compare(s, &m);
		nodes = m.nodes;
		manifest_free(&m);
	}
	store_close(&store);
	return nodes;
}

/* What the same step has open on its other nodes. */
static void look_at_parts(struct search *s)
{
	const struct generation g = { s->m->generation, s->m->run };
	struct spec other = s->step->spec;

	for (other.part = 0; other.part < s->m->nodes; other.part++)
		if (other.part != s->m->part)
			look_at_part(s, &other, &g);
}

/* Its parts may all be on other nodes than this one. */
static int look_at_step(const struct spec *other, void *arg)
{
	struct search *s = arg;
	const struct spec *own = &s->step->spec;
	struct spec part = *other;
	int nodes;

	if (strchr(other->step, '.')) /* set aside */
		return 0;
	if ((other->job == own->job && !strcmp(other->step, own->step) &&
	     !strcmp(other->cluster, own->cluster))) {
		look_at_parts(s);
		return 0;
	}
	part.part = 0;
	nodes = look_at_part(s, &part, NULL);
	for (part.part = 1; part.part < nodes; part.part++)
		look_at_part(s, &part, NULL);
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
