/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt report: work saved and work lost, from the logs in the store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

static const char *const heads[] = { "ID",    "STATE", "RUNS",	  "CHECKPOINTS",
				     "WORK",  "SAVED", "LOST",	  "STOPPED",
				     "WAITED", "NAME",	NULL };

struct reports {
	const struct options *o;
	const struct id *id; /* the one that is looked for; NULL all */
	struct jobs jobs;
	int64_t since; /* us since 1970 */
	struct report *list;
	size_t count;
	int found, damaged;
};

const struct event *report_begin(const struct report *r)
{
	for (int i = r->count - 1; i >= 0; i--)
		if (r->events[i].kind == EVENT_BEGIN)
			return &r->events[i];
	return NULL;
}

/* ---- finding them ------------------------------------------------------------------- */

static void name_state(const struct reports *all, struct report *r)
{
	const struct work *w = &r->work;

	if (w->ended && WIFSIGNALED(w->status))
		snprintf(r->state, sizeof(r->state), "signal %d",
			 WTERMSIG(w->status));
	else if (w->ended)
		snprintf(r->state, sizeof(r->state), "exit %d",
			 WEXITSTATUS(w->status));
	else
		snprintf(r->state, sizeof(r->state), "%s",
			 jobs_state(&all->jobs, &r->step));
}

/* Also one that is both in the store and kept has one log: the first that counts. */
static bool is_there(const struct reports *all, const struct spec *step)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct spec *s = &all->list[i].step;

		if (s->job == step->job && !strcmp(s->step, step->step) &&
		    !strcmp(s->cluster, step->cluster) &&
		    !strcmp(s->base, step->base))
			return true;
	}
	return false;
}

static int add(struct reports *all, const struct spec *step)
{
	struct report r = { .step = *step }, *more;
	struct err e = { "" };
	bool runs;

	r.count = events_load(step, &r.events, &e);
	if (r.count < 0) {
		complain(0, "%u.%s: %s", step->job, step->step, e.text);
		all->damaged++;
	}
	if (r.count <= 0 || is_there(all, step)) {
		free(r.events);
		return 0;
	}
	all->found++;
	if (r.events[r.count - 1].time_us < all->since) {
		free(r.events);
		return 0;
	}
	runs = !strcmp(jobs_state(&all->jobs, step), "RUNNING");
	more = realloc(all->list, (all->count + 1) * sizeof(*more));
	if (!more || work_account(r.events, r.count,
				  runs ? clock_ns(CLOCK_REALTIME) / 1000 : 0,
				  &r.work, &e) < 0) {
		free(r.events);
		if (more)
			all->list = more;
		return complain(-1, "no memory for a report");
	}
	all->list = more;
	more[all->count++] = r;
	name_state(all, &more[all->count - 1]);
	return 0;
}

static int visit(const struct spec *step, void *arg)
{
	struct reports *all = arg;
	const struct id *id = all->id;

	if (id && ((*id->cluster && strcmp(id->cluster, step->cluster)) ||
		   id->job != step->job ||
		   (*id->step && strcmp(id->step, step->step))))
		return 0;
	return add(all, step);
}

static int look(struct reports *all, const struct place *p, struct err *e)
{
	for (size_t i = 0; i < p->count; i++)
		if (store_each(&p->stores[i], visit, all, e) < 0 ||
		    store_each_log(&p->stores[i], visit, all, e) < 0)
			return -1;
	return 0;
}

static int gather(struct reports *all, const struct place *p)
{
	struct err e = { "" };
	int rc = EXIT_OK;

	if (!all->o->argc && look(all, p, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	for (int i = 0; i < all->o->argc && !rc; i++) {
		const char *text = all->o->argv[i];
		struct id id;

		if ((rc = id_resolve(text, &id)))
			break;
		all->id = &id;
		all->found = 0;
		if (look(all, p, &e) < 0)
			rc = complain(EXIT_FAILED, "%s", e.text);
		else if (!all->found)
			rc = complain(EXIT_NOT_FOUND, "nothing is known of %s: no protected step of that name has a log in %s",
				      text, p->count ? p->stores[0].base : p->conf.dir);
		all->id = NULL;
	}
	return rc;
}

static int64_t began(const struct report *r)
{
	return r->work.count ? r->work.runs[0].begin : 0;
}

static int compare(const void *a, const void *b)
{
	const struct report *x = a, *y = b;

	return began(x) < began(y) ? -1 : began(x) > began(y);
}

/* ---- as a table ------------------------------------------------------------------------ */

static void add_span(struct table *t, int64_t us, bool at_most)
{
	char span[16], cell[24];

	span_print(us, span);
	snprintf(cell, sizeof(cell), "%s%s", at_most ? "<= " : "", us ? span : "-");
	table_add(t, cell);
}

static void add_number(struct table *t, int n)
{
	char cell[16];

	snprintf(cell, sizeof(cell), "%d", n);
	table_add(t, cell);
}

static void add_row(struct table *t, const char *id, const char *state,
		    const struct work *w, const char *name)
{
	table_add(t, id);
	table_add(t, state);
	add_number(t, w->count);
	add_number(t, w->checkpoints);
	add_span(t, w->work, false);
	add_span(t, w->saved, false);
	add_span(t, w->lost, w->lost_at_most);
	add_span(t, w->stopped, false);
	add_span(t, w->waited, false);
	table_add(t, name);
}

static void print_table(const struct reports *all)
{
	struct table *t = table_new(heads);
	struct work sum = { .count = 0 };

	for (size_t i = 0; i < all->count; i++) {
		const struct report *r = &all->list[i];
		const struct event *begin = report_begin(r);
		const struct work *w = &r->work;
		char id[ID_TEXT_MAX];

		id_print(&r->step, 0, id);
		add_row(t, id, r->state, w, begin ? begin->name : "");
		sum.count += w->count;
		sum.checkpoints += w->checkpoints;
		sum.work += w->work;
		sum.saved += w->saved;
		sum.lost += w->lost;
		sum.lost_at_most |= w->lost_at_most;
		sum.stopped += w->stopped;
		sum.waited += w->waited;
	}
	if (all->count > 1)
		add_row(t, "total", "", &sum, "");
	table_print(t, NULL);
	table_free(t);
}

/* ---- as JSON ----------------------------------------------------------------------------- */

static void put(json_object *o, const char *name, int64_t n)
{
	json_object_object_add(o, name, json_object_new_int64(n));
}

static void put_text(json_object *o, const char *name, const char *text)
{
	cleanup_free char *copy = strdup(text);

	json_object_object_add(o, name,
			       json_object_new_string(copy ? printable(copy) : ""));
}

static void put_truth(json_object *o, const char *name, bool yes)
{
	json_object_object_add(o, name, json_object_new_boolean(yes));
}

static json_object *runs_json(const struct work *w)
{
	json_object *list = json_object_new_array();

	for (int i = 0; i < w->count; i++) {
		const struct run *run = &w->runs[i];
		json_object *o = json_object_new_object();

		put(o, "run", run->number);
		put_text(o, "node", run->node);
		put(o, "waited_us", run->waited);
		put(o, "begin_us", run->begin);
		put(o, "from_us", run->from);
		put(o, "end_us", run->end);
		put_truth(o, "end_known", run->end_known);
		put(o, "kept_until_us", run->from ? run->kept : 0);
		put(o, "restored_from",
		    run->restore ? run->restore->generation.number : 0);
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *report_json(const struct report *r)
{
	const struct event *begin = report_begin(r);
	json_object *o = json_object_new_object(),
		    *events = json_object_new_array();
	const struct work *w = &r->work;
	char id[ID_TEXT_MAX];

	id_print(&r->step, 0, id);
	put_text(o, "id", id);
	put_text(o, "cluster", r->step.cluster);
	put(o, "job", r->step.job);
	put_text(o, "step", r->step.step);
	put_text(o, "array", begin ? begin->array : "");
	put_text(o, "name", begin ? begin->name : "");
	put_text(o, "command", begin ? begin->text : "");
	put_text(o, "state", r->state);
	put(o, "checkpoints", w->checkpoints);
	put(o, "restores", w->restores);
	put(o, "refused", w->refusals);
	put(o, "work_us", w->work);
	put(o, "saved_us", w->saved);
	put(o, "lost_us", w->lost);
	put_truth(o, "lost_at_most", w->lost_at_most);
	put(o, "stopped_us", w->stopped);
	put(o, "waited_us", w->waited);
	put(o, "stored_bytes", (int64_t)w->stored);
	json_object_object_add(o, "runs", runs_json(w));
	for (int i = 0; i < r->count; i++)
		json_object_array_add(events, event_json(&r->events[i]));
	json_object_object_add(o, "events", events);
	return o;
}

/* ---- as a page ------------------------------------------------------------------------------ */

/* Whole or not there, as far as a name allows that. */
static int write_page(const struct reports *all, const char *name)
{
	char part[4096];
	FILE *to;
	int rc;

	if (!strcmp(name, "-")) {
		page_write(stdout, all->list, all->count);
		return EXIT_OK;
	}
	snprintf(part, sizeof(part), "%s.part", name);
	if (strlen(name) > sizeof(part) - 8 || !(to = fopen(part, "wx")))
		return complain(EXIT_FAILED, "--html %s: cannot make %s: %s",
				name, part, strerror(errno));
	page_write(to, all->list, all->count);
	rc = ferror(to);
	if (fclose(to) || rc || rename(part, name) < 0) {
		rc = errno;
		unlink(part);
		return complain(EXIT_FAILED, "--html %s: cannot write it: %s",
				name, strerror(rc));
	}
	return EXIT_OK;
}

static int tell(const struct reports *all)
{
	json_object *list;

	if (all->o->html)
		return write_page(all, all->o->html);
	if (!all->o->json) {
		print_table(all);
		return EXIT_OK;
	}
	list = json_object_new_array();
	for (size_t i = 0; i < all->count; i++)
		json_object_array_add(list, report_json(&all->list[i]));
	json_out(list);
	return EXIT_OK;
}

int cmd_report(const struct options *o)
{
	struct reports all = { .o = o };
	struct err e = { "" };
	struct place p;
	int rc;

	if (o->html && o->json)
		return complain(EXIT_USAGE, "--html and --json are two ways to tell the same: give one");
	if (place_find(o, &p, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	if (o->since >= 0)
		all.since = clock_ns(CLOCK_REALTIME) / 1000 -
			    o->since * INT64_C(1000000);
	jobs_ask(&all.jobs, &e);
	rc = gather(&all, &p);
	if (!all.jobs.known && all.count)
		complain(0, "the jobs' states are not known: %s", e.text);
	if (all.count)
		qsort(all.list, all.count, sizeof(*all.list), compare);
	if (!rc)
		rc = tell(&all);
	for (size_t i = 0; i < all.count; i++) {
		work_free(&all.list[i].work);
		free(all.list[i].events);
	}
	free(all.list);
	jobs_free(&all.jobs);
	place_free(&p);
	return rc ? rc : all.damaged ? EXIT_FAILED : EXIT_OK;
}
