/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt remove: one generation, a step's, or all of a job. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static int gone(const struct options *o, const struct spec *step, int generation)
{
	char name[ID_TEXT_MAX];

	id_print(step, generation, name);
	if (!o->json)
		printf("%s %s\n", o->dry_run ? "would remove" : "removed", name);
	return EXIT_OK;
}

/* A new job is to go on from it; then that is said. */
static bool is_wanted(const struct jobs *jobs, const struct spec *step)
{
	uint32_t by = step_wanted(jobs, step);

	if (by)
		complain(0, "job %u is to go on from %u.%s, and may not have begun: without it that job's work would be lost; --force removes it",
			 by, step->job, step->step);
	return by;
}

static int remove_step(const struct options *o, const struct spec *step)
{
	struct err e = { "" };

	if (!o->dry_run && store_forget(step, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	return gone(o, step, 0);
}

#define NOT_HERE (-1)

/* NOT_HERE: the step has no such generation. */
static int remove_one(const struct options *o, const struct jobs *jobs, const struct spec *step,
		      int number, bool active)
{
	cleanup_free struct generation *list = NULL;
	struct err e = { "" };
	struct store store;
	int count = step_open(step, &store, &list, &e), rc = NOT_HERE;

	if (count < 0)
		return complain(EXIT_FAILED, "%u.%s: %s", step->job, step->step,
				e.text);
	for (int i = 0; i < count && rc == NOT_HERE; i++) {
		if (list[i].number != number)
			continue;
		if (!i && active && !o->force)
			rc = complain(EXIT_FAILED, "%u.%s:%d is the newest checkpoint of a job that has not ended: without it the job's work would be lost; --force removes it",
				      step->job, step->step, number);
		else if (!o->force && is_wanted(jobs, step))
			rc = EXIT_FAILED;
		else if (!o->dry_run &&
			 generation_remove(&store, list[i], &e) < 0)
			rc = complain(EXIT_FAILED, "%u.%s:%d: %s", step->job,
				      step->step, number, e.text);
		else
			rc = gone(o, step, number);
	}
	store_close(&store);
	return rc;
}

/* A step that still runs has its claims and its output in there. */
static int remove_generations(const struct options *o, const struct jobs *jobs,
			      const struct spec *step)
{
	cleanup_free struct generation *list = NULL;
	struct err e = { "" };
	struct store store;
	int count = step_open(step, &store, &list, &e), rc = EXIT_OK;

	if (count < 0)
		return complain(EXIT_FAILED, "%u.%s: %s", step->job, step->step,
				e.text);
	store_close(&store);
	for (int i = count - 1; i >= 0 && !rc; i--)
		rc = remove_one(o, jobs, step, list[i].number, true);
	return rc;
}

/* ---- what a job remembers of its programs -------------------------------------------- */

static bool has_done(const struct spec *script)
{
	cleanup_free struct done *done = NULL;

	return done_list(script, &done, NULL) > 0;
}

/*
 * How the program of its batch step ended, and which of its script's steps are done: a job whose
 * checkpoints are removed is to start afresh. While it runs it writes there.
 */
static int remove_records(const struct options *o, const struct jobs *jobs,
			  const struct id *id, const struct spec *base, int *found)
{
	struct spec script = *base;
	struct err e = { "" };
	const struct job *job;
	struct ended ended;
	bool done;

	memcpy(script.cluster, *id->cluster ? id->cluster : jobs->cluster, sizeof(script.cluster));
	script.job = id->job;
	strcpy(script.step, "batch");
	if ((*id->step && strcmp(id->step, "batch")) || !*script.cluster)
		return EXIT_OK;
	if (!(done = has_done(&script)) && !ended_read(&script, &ended, NULL))
		return EXIT_OK;
	job = jobs_find(jobs, &script);
	if (jobs_active(jobs, &script) && !o->force)
		return complain(EXIT_FAILED, "job %u has not ended, and would forget how its program ended and which steps of its script are done; --force removes that",
				id->job);
	if (jobs_active(jobs, &script) && (!job || strcmp(job->state, "PENDING"))) {
		if (done)
			complain(0, "job %u may run: which steps of its script are done stays known; scontrol requeuehold %u first, if it is to start afresh",
				 id->job, id->job);
		return EXIT_OK;
	}
	if (!o->dry_run && (ended_drop(&script, &e) < 0 || done_drop(&script, &e) < 0))
		return complain(EXIT_FAILED, "%s", e.text);
	if (done && !(*found)++)
		gone(o, &script, 0);
	return EXIT_OK;
}

/* ---- what happened to a step ------------------------------------------------------------ */

struct removing {
	const struct options *o;
	const struct id *id;
	int found;
};

/* The log of a step that has left nothing else. */
static int remove_log(const struct spec *step, void *arg)
{
	struct removing *r = arg;

	if ((*r->id->cluster && strcmp(r->id->cluster, step->cluster)) ||
	    r->id->job != step->job ||
	    (*r->id->step && strcmp(r->id->step, step->step)))
		return 0;
	r->found++;
	if (!r->o->dry_run)
		events_forget(step);
	gone(r->o, step, 0);
	return 0;
}

int cmd_remove(const struct options *o)
{
	struct err e = { "" };
	struct steps steps;
	struct jobs jobs;
	struct place p;
	struct id id;
	int rc = id_resolve(o->argv[0], &id), found = 0;

	if (rc)
		return rc;
	if (place_find(o, &p, &e) < 0 || steps_find(&p, &id, &steps, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	jobs_ask(&jobs, &e);
	for (size_t i = 0; i < steps.count && !rc; i++) {
		const struct spec *step = &steps.list[i];
		bool active = jobs_active(&jobs, step);

		if (id.generation) {
			rc = remove_one(o, &jobs, step, id.generation, active);
			/* Another step may have a generation of this number. */
			if (rc == NOT_HERE)
				rc = EXIT_OK;
			else
				found++;
			continue;
		}
		found++;
		if (active && !o->force)
			rc = complain(EXIT_FAILED, "job %u %s: its newest checkpoint is what it would go on from; name single generations, or --force",
				      step->job,
				      jobs.known ? "has not ended" :
						   "may not have ended (slurmctld does not answer)");
		else if (!o->force && is_wanted(&jobs, step))
			rc = EXIT_FAILED;
		else
			rc = active ? remove_generations(o, &jobs, step) :
				      remove_step(o, step);
	}
	for (size_t i = 0; !rc && !id.generation && i < p.count; i++)
		rc = remove_records(o, &jobs, &id, &p.stores[i], &found);
	for (size_t i = 0; !rc && !id.generation && i < p.count; i++) {
		struct removing r = { .o = o, .id = &id };

		if (store_each_log(&p.stores[i], remove_log, &r, &e) < 0)
			rc = complain(EXIT_FAILED, "%s", e.text);
		found += r.found;
	}
	if (!rc && !found)
		rc = not_found(&p, o->argv[0]);
	jobs_free(&jobs);
	steps_free(&steps);
	place_free(&p);
	return rc;
}
