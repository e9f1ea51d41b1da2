/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt prune: what jobs that have ended left behind. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli.h"

struct pruning {
	const struct options *o;
	const struct jobs *jobs;
	int64_t until; /* what was of no use since then goes */
	json_object *list;
	int failed;
};

static void gone(struct pruning *p, const struct spec *step, int generation)
{
	char name[ID_TEXT_MAX];

	id_print(step, generation, name);
	if (p->o->json)
		json_object_array_add(p->list, json_object_new_string(name));
	else
		printf("%s %s\n", p->o->dry_run ? "would remove" : "removed",
		       name);
}

static void failed(struct pruning *p, const struct spec *step, const char *why)
{
	complain(0, "%u.%s: %s", step->job, step->step, why);
	p->failed++;
}

/* Of what stays prune makes no use: it is as old as before. */
static void leave(const struct pruning *p, const struct spec *step, const struct store *store,
		  const struct stat *before)
{
	const struct timespec times[] = { before->st_atim, before->st_mtim };

	if (p->o->dry_run)
		return;
	wanted_drop_stale(p->jobs, step, store);
	futimens(store->dir, times);
}

static void prune_step(struct pruning *p, const struct spec *step)
{
	cleanup_free struct generation *list = NULL;
	cleanup_free bool *old = NULL;
	struct err e = { "" };
	struct store store;
	int count = step_open(step, &store, &list, &e), stay = 0;
	struct stat st = { .st_mtime = INT64_MAX };

	if (count < 0 || !(old = calloc((size_t)count + 1, sizeof(*old)))) {
		failed(p, step, count < 0 ? e.text : "no memory");
		return;
	}
	if (fstat(store.dir, &st) < 0 || st.st_mtime > p->until)
		stay = 1;
	for (int i = 0; i < count; i++) {
		old[i] = generation_used(&store, list[i]) <= p->until;
		stay += !old[i];
	}
	for (int i = count - 1; stay && i >= 0; i--) {
		if (!old[i])
			continue;
		if (!p->o->dry_run && generation_remove(&store, list[i], &e) < 0)
			failed(p, step, e.text);
		else
			gone(p, step, list[i].number);
	}
	if (stay)
		leave(p, step, &store, &st);
	store_close(&store);
	if (stay)
		return;
	if (!p->o->dry_run && store_forget(step, &e) < 0)
		failed(p, step, e.text);
	else
		gone(p, step, 0);
}

/* ---- how programs ended ------------------------------------------------------ */

struct asked {
	const struct jobs *jobs;
	uint32_t *active;
};

static bool active_jobs(struct ended_jobs *ended, void *arg)
{
	struct asked *a = arg;

	if (!(a->active = calloc(a->jobs->count + 1, sizeof(*a->active))))
		return false;
	for (size_t i = 0; i < a->jobs->count; i++)
		if (a->jobs->list[i].active)
			a->active[ended->count++] = a->jobs->list[i].number;
	ended->list = a->active;
	return true;
}

/* In case the job runs again (store.h): of a job that will not, of no use. */
static void prune_ended(struct pruning *p, const struct place *place,
			const struct jobs *jobs)
{
	for (size_t i = 0; !p->o->dry_run && *jobs->cluster && i < place->count; i++) {
		struct asked asked = { .jobs = jobs };
		struct spec store = place->stores[i];
		struct err e = { "" };

		snprintf(store.cluster, sizeof(store.cluster), "%s",
			 jobs->cluster);
		if (ended_sweep(&store, p->o->older_than, active_jobs, &asked,
				&e) < 0) {
			complain(0, "%s", e.text);
			p->failed++;
		}
		free(asked.active);
	}
}

/* The log of a step that has left nothing else. */
static int prune_log(const struct spec *step, void *arg)
{
	struct pruning *p = arg;
	cleanup_free struct event *list = NULL;
	int count = events_load(step, &list, NULL);

	if (jobs_active(p->jobs, step) || count < 0 ||
	    (count && list[count - 1].time_us / 1000000 > p->until))
		return 0;
	if (!p->o->dry_run)
		events_forget(step);
	gone(p, step, 0);
	return 0;
}

int cmd_prune(const struct options *o)
{
	struct pruning pruning = { .o = o,
				   .until = time(NULL) - o->older_than };
	struct err e = { "" };
	struct steps steps;
	struct jobs jobs;
	struct place p;

	if (place_find(o, &p, &e) < 0 || steps_find(&p, NULL, &steps, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	jobs_ask(&jobs, &e);
	if (!jobs.known)
		return complain(EXIT_FAILED, "which jobs have ended? %s; nothing is removed",
				e.text);
	pruning.list = json_object_new_array();
	pruning.jobs = &jobs;
	for (size_t i = 0; i < steps.count; i++)
		if (!jobs_active(&jobs, &steps.list[i]) && !step_wanted(&jobs, &steps.list[i]))
			prune_step(&pruning, &steps.list[i]);
	prune_ended(&pruning, &p, &jobs);
	for (size_t i = 0; i < p.count; i++)
		if (store_each_log(&p.stores[i], prune_log, &pruning, &e) < 0) {
			complain(0, "%s", e.text);
			pruning.failed++;
		}
	if (o->json)
		json_out(pruning.list);
	else
		json_object_put(pruning.list);
	jobs_free(&jobs);
	steps_free(&steps);
	place_free(&p);
	return pruning.failed ? EXIT_FAILED : EXIT_OK;
}
