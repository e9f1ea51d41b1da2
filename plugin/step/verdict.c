/* SPDX-License-Identifier: GPL-2.0-or-later */
/* May the step be protected, and is there something to go on from? */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/store.h"
#include "from.h"
#include "set.h"
#include "supervise.h"

/* At a start there is no hurry, and slurmctld may just be starting, too. */
#define PATIENCE_NS (INT64_C(600) * 1000000000)
#define PAUSE_S 5

void ask_until_answered(uint32_t job, struct job_facts *facts, struct err *e)
{
	const int64_t end = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;

	while (job_ask(job, facts, e), !facts->answered && clock_ns(CLOCK_MONOTONIC) < end)
		sleep(PAUSE_S);
}

/* Back into the queue, held. */
static int put_back(uint32_t job, struct err *e)
{
	const int64_t end = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
	struct job_facts facts;

	while (job_requeue_hold(job, e) < 0) {
		job_ask(job, &facts, NULL);
		if (facts.answered || clock_ns(CLOCK_MONOTONIC) >= end)
			return -1;
		sleep(PAUSE_S);
	}
	return 0;
}

/* How often the job was requeued: asked only when the environment does not
 * tell and something lies in the store. */
static int restarts(struct supervisor *s, struct err *e)
{
	struct job_facts facts;

	if (s->spec.restart >= 0)
		return s->spec.restart;
	ask_until_answered(s->spec.job, &facts, e);
	return facts.answered ?
		       facts.restarts :
		       err_context(e, "slurmctld does not tell how often the job was requeued");
}

/* The clocks the program saw last, of the newest generation that can be read. */
static int last_clocks(struct supervisor *s, const struct store *store,
		       struct control *verdict, struct err *e)
{
	cleanup_free struct generation *list = NULL;
	int count = store_generations(store, &list, e);

	for (int i = 0; i < count; i++) {
		struct manifest m;

		/* If none can be read, restoring will say why. */
		verdict->resume = 1;
		if (generation_load(store, list[i], geteuid(), &s->spec, &m, e) < 0)
			continue;
		verdict->monotonic = m.monotonic;
		verdict->boottime = m.boottime;
		manifest_free(&m);
		break;
	}
	if (count > 0)
		s->newest = list[0];
	return count < 0 ? -1 : 0;
}

/* A step goes on on as many nodes as it was saved on. */
static int same_shape(const struct supervisor *s, const struct store *store,
		      const struct control *verdict, struct err *e)
{
	int nodes = store_nodes(store);

	if (!verdict->resume || nodes == s->spec.nodes)
		return 0;
	if (nodes < 0)
		return err_sys(e, "cannot tell how many nodes %s is of", store->path);
	return err_set(e, "its checkpoints are of a step on %d node%s, and it is started on %d: ask for the same number of nodes and tasks",
		       nodes, nodes > 1 ? "s" : "", s->spec.nodes);
}

static void say_afresh(const struct supervisor *s)
{
	if (*s->spec.from || s->afresh)
		return; /* it does not: see go_on_from; or it was told */
	if (is_call_step(s->spec.step))
		return; /* the script is where it was; the step may be new */
	say(SAYS "nothing was saved of step %u.%s before; it starts afresh",
	    s->spec.job, s->spec.step);
}

/* ---- a program that has ended ------------------------------------------------ */

/* Records are looked at when they are so old: in time for nobody to count them. */
#define ENDED_OLD (24 * 3600)

static bool queued_jobs(struct ended_jobs *jobs, void *arg)
{
	uint32_t **list = arg;
	int n = jobs_queued(list, NULL);

	jobs->list = *list;
	jobs->count = n > 0 ? (size_t)n : 0;
	return n >= 0;
}

static void sweep(const struct supervisor *s)
{
	cleanup_free uint32_t *list = NULL;

	ended_sweep(&s->spec, ENDED_OLD, queued_jobs, &list, NULL);
}

/* Those that a script had started. */
static int set_steps_aside(const struct spec *script, struct err *e)
{
	cleanup_free int *numbers = NULL;
	int count = store_steps(script, CALL_STEP, &numbers, e), rc = count < 0 ? -1 : 0;
	struct spec spec = *script;

	for (int i = 0; rc == 0 && i < count; i++) {
		snprintf(spec.step, sizeof(spec.step), CALL_STEP "%d", numbers[i]);
		rc = store_set_aside(&spec, e);
	}
	return rc;
}

/* 1: the program has ended in an earlier run, and nobody asked for another. */
static int look_at_end(struct supervisor *s, struct control *verdict,
		       struct err *e)
{
	struct err why = { "" };
	struct ended ended;
	struct past was;
	int run = s->spec.restart, flag = 0;
	struct job_facts facts;
	enum rerun rerun;

	if (strcmp(s->spec.step, "batch"))
		return 0;
	if (run <= 0) {
		/* Of another job, which had the same number. A store that cannot
		 * be written to protects nothing, and is told of later. */
		ended_drop(&s->spec, NULL);
		done_drop(&s->spec, NULL);
		set_steps_aside(&s->spec, NULL);
		sweep(s);
		return 0;
	}
	switch (ended_read(&s->spec, &ended, &why)) {
	case 0:
		return 0;
	case -1:
		/* It is not known how it ended: it is as if it had not. */
		say(SAYS "step %u.%s: %s", s->spec.job, s->spec.step, why.text);
		return 0;
	}
	was = (struct past){ ended.run, ended.status != 0, ended.requeued,
			     ended.batch_flag };
	if (rerun_asks(&was, run) && (flag = job_batch_flag(s->spec.job, NULL)) < 0) {
		ask_until_answered(s->spec.job, &facts, NULL);
		flag = job_batch_flag(s->spec.job, NULL);
	}
	rerun = rerun_of(&was, run, flag);
	if (rerun == RERUN_END) {
		verdict->done = 1;
		verdict->run = run;
		err_set(e, "its program has ended in run %d of the job, and nobody asked for another: it is not run again",
			was.run);
		say(SAYS "step %u.%s: %s", s->spec.job, s->spec.step, e->text);
		return 1;
	}
	if (rerun == RERUN_AFRESH && (set_steps_aside(&s->spec, e) < 0 || store_set_aside(&s->spec, e) < 0 ||
				      done_drop(&s->spec, e) < 0))
		return -1;
	if (ended_drop(&s->spec, e) < 0)
		return -1;
	s->afresh = rerun == RERUN_AFRESH;
	if (s->afresh)
		say(SAYS "step %u.%s: its program ended by itself in run %d of the job, and the job was requeued: it starts at its top, not from a checkpoint",
		    s->spec.job, s->spec.step, was.run);
	return 0;
}

/* ---- checkpoints ------------------------------------------------------------- */

/* Is there something to go on from? Fills in the verdict's resume and run. */
static int look_back(struct supervisor *s, struct control *verdict,
		     struct err *e)
{
	struct store store;
	int rc = store_open(&s->spec, false, &store, e), used;

	verdict->run = s->spec.restart > 0 ? s->spec.restart : 0;
	if (rc < 0)
		/* A fresh job is only not protected; a restarted one may have
		 * left its work where this node cannot see it. */
		return s->spec.restart > 0 ? -1 : 0;
	if (rc == 1) {
		if (s->spec.restart > 0)
			say_afresh(s);
		return 0;
	}
	rc = used = store_used(&store, e);
	if (used > 0 && (rc = verdict->run = restarts(s, e)) > 0)
		rc = last_clocks(s, &store, verdict, e) < 0 ?
			     -1 :
			     same_shape(s, &store, verdict, e);
	else if (used > 0 && rc == 0)
		/* A fresh job never takes up what lies there. */
		rc = store_set_aside(&s->spec, e);
	if (rc == 0 && verdict->run > 0 && !verdict->resume)
		say_afresh(s);
	store_close(&store);
	return rc;
}

/*
 * --checkpoint=restart=ID. It holds again after each requeue, until the step has a
 * checkpoint of its own.
 */
static int go_on_from(struct supervisor *s, struct control *verdict,
		      struct err *e)
{
	struct store own = { .dir = -1 };
	struct from from;
	int rc = from_find(&s->spec, &from, e);

	if (rc > 0) {
		rc = from_adopt(&s->spec, &from, verdict->run, e);
		store_close(&from.store);
		if (rc == 0 && (rc = store_open(&s->spec, false, &own, e)) == 0)
			rc = last_clocks(s, &own, verdict, e);
		store_close(&own);
	}
	return rc < 0 ? err_context(e, "restart from %s", s->spec.from) : 0;
}

/* An earlier run began at the top, for that was wanted: it is not of that checkpoint any more. */
static bool has_left_it(const struct supervisor *s)
{
	struct store store;
	bool left = s->afresh;

	if (!left && store_open(&s->spec, false, &store, NULL) == 0) {
		left = store_superseded(&store, -1, NULL, NULL) > 0;
		store_close(&store);
	}
	return left;
}

/* Nothing is lost, nothing is started, and the owner decides. */
static void hold(struct supervisor *s, const char *why)
{
	struct job_facts facts;
	struct err e = { "" };
	char name[sizeof(facts.name)];

	say(SAYS "step %u.%s cannot go on: %s", s->spec.job, s->spec.step, why);
	notify(s, why);
	ask_until_answered(s->spec.job, &facts, NULL);
	snprintf(name, sizeof(name), "%u", s->spec.job);
	if (facts.answered)
		memcpy(name, facts.name, sizeof(name));
	/* Slurm would put back what its owner has ended meanwhile. */
	if (facts.answered && facts.cancelled)
		return;
	if (put_back(s->spec.job, &e) < 0)
		say(SAYS "and the job could not be held: %s", e.text);
	else if (*s->spec.from && s->spec.restart <= 0)
		say(SAYS "the job is held; when it is mended: scontrol release %s; otherwise: scancel %s",
		    name, name);
	else
		say(SAYS "the job is held and its checkpoints are kept; when it is mended: scontrol release %s; to start afresh: remove %s/%s/%u first",
		    name, s->spec.base, s->spec.cluster, s->spec.job);
}

/* ---- the other nodes of the step ------------------------------------------------- */

/* So long a node waits for the first one when there may be work to go on from. */
#define FIRST_MS 300000

/* They hear whether there is something to go on from. */
static int lead(const struct supervisor *s, const struct store *store,
		const struct control *verdict, struct err *e)
{
	struct set_order o = { .launch = s->spec.launch,
			       .run = verdict->run, .number = 1,
			       .word = SET_START,
			       .generation = s->newest,
			       .resume = verdict->resume };

	if (store_note_nodes(store, s->spec.nodes, e) < 0)
		return -1;
	return s->spec.nodes > 1 ? set_order_write(store, &o, e) : 0;
}

/* As far as they can be told. */
static void lead_away(const struct supervisor *s, const struct control *verdict,
		      const char *why)
{
	struct set_order o = { .launch = s->spec.launch,
			       .run = verdict->run, .number = 1,
			       .word = verdict->value ? SET_LOST : SET_UNPROTECTED };
	struct store store;

	if (s->spec.nodes < 2 || s->spec.part ||
	    store_open(&s->spec, false, &store, NULL))
		return;
	snprintf(o.text, sizeof(o.text), "%.600s", why);
	set_order_write(&store, &o, NULL);
	store_close(&store);
}

/* The clocks of its own part. */
static int part_clocks(struct supervisor *s, struct generation g,
		       struct control *verdict, struct err *e)
{
	struct store store;
	struct manifest m;
	int rc = store_open(&s->spec, true, &store, e);

	if (rc < 0)
		return -1;
	if (generation_load(&store, g, geteuid(), &s->spec, &m, NULL) == 0) {
		verdict->monotonic = m.monotonic;
		verdict->boottime = m.boottime;
		manifest_free(&m);
	} else {
		/* Restoring will say why. */
		rc = last_clocks(s, &store, verdict, e);
	}
	verdict->resume = 1;
	store_close(&store);
	return rc;
}

/* What the first node says of this run. */
static int follow(struct supervisor *s, struct control *verdict, struct err *e)
{
	int run = s->spec.restart > 0 ? s->spec.restart : 0;
	int ms = run > 0 ? FIRST_MS : verdict_timeout_ms(&s->spec);
	struct set_order o;
	int rc = set_await(&s->spec, run, 0,
			   clock_ns(CLOCK_MONOTONIC) + ms * INT64_C(1000000), &o,
			   e);

	verdict->run = run;
	if (rc == 0)
		err_set(e, "the step's first node does not say within %d s what becomes of it",
			ms / 1000);
	if (rc > 0 && o.word != SET_LOST && o.word != SET_UNPROTECTED)
		return o.resume || o.word == SET_RUN ?
			       part_clocks(s, o.generation, verdict, e) :
			       0;
	if (rc > 0)
		err_set(e, "%s", o.text);
	else if (run > 0)
		return -1;
	else
		say(SAYS "this step is not protected: %s", e->text);
	verdict->value = rc > 0 && o.word == SET_LOST ? -1 : 0;
	return 1;
}

/* Its directory is there, and this run of the job has it. -1: it must not
 * start, for another has it, or for it would lose what is there. */
static int take_store(struct supervisor *s, struct control *verdict,
		      struct err *e)
{
	struct store store;
	int rc = store_open(&s->spec, true, &store, e);

	if (rc == 0) {
		rc = store_claim(&store, verdict->run, s->spec.node, e);
		if (rc == 0 && !s->spec.part)
			rc = lead(s, &store, verdict, e);
		store_close(&store);
	}
	if (rc > 0) {
		/* No hold: the job runs where that other one is. */
		verdict->value = -1;
		say(SAYS "step %u.%s does not start: %s", s->spec.job,
		    s->spec.step, e->text);
	} else if (rc < 0 && !verdict->resume) {
		verdict->value = 0;
		say(SAYS "this step is not protected: %s", e->text);
		rc = 0;
	}
	return rc;
}

/* The job is put back into the queue, and not tried here again. */
static bool go_elsewhere(const struct supervisor *s, const char *why,
			 const char *node)
{
	const struct spec *spec = &s->spec;
	struct err e = { "" };
	struct job_facts facts;

	ask_until_answered(spec->job, &facts, NULL);
	/* One that must run here would never start. */
	if (!facts.answered || !facts.batch || !facts.requeue || facts.cancelled ||
	    *facts.required)
		return false;
	/* Nodes cannot be excluded before it is queued. */
	if (put_back(spec->job, &e) < 0)
		return false;
	say(SAYS "step %u.%s cannot go on on %s: %s", spec->job, spec->step,
	    node, why);
	if (job_release_elsewhere(&facts, node, &e) < 0)
		say(SAYS "the job is held, for it cannot be kept from %s (%s); when that is mended: scontrol release %s",
		    node, e.text, facts.name);
	else
		say(SAYS "the job is queued again, and will go on on another node (ExcNodeList=%s%s%s; when %s is mended: scontrol update job %s ExcNodeList=, and scontrol release where it was the last)",
		    facts.excluded, *facts.excluded ? "," : "", node, node,
		    facts.name);
	return true;
}

void lost(struct supervisor *s, const struct control *msg)
{
	const char *why = msg->text;

	if (msg->value < 0 || (msg->value > 0 && go_elsewhere(s, why, msg->node)))
		return;
	if (s->spec.limits.on_failure == ON_FAILURE_FAIL) {
		say(SAYS "step %u.%s fails, for it cannot go on: %s",
		    s->spec.job, s->spec.step, why);
		notify(s, why);
	} else {
		hold(s, why);
	}
}

/* Of a script there may be its end, or only what its steps have left, which it goes on from
 * at its top. */
static int script_is_saved(const struct spec *script, struct err *e)
{
	cleanup_free int *numbers = NULL;
	struct spec spec = *script;
	struct ended ended;
	int rc = ended_read(script, &ended, e), count;

	if (rc)
		return rc;
	count = store_steps(script, CALL_STEP, &numbers, e);
	for (int i = 0; rc == 0 && i < count; i++) {
		snprintf(spec.step, sizeof(spec.step), CALL_STEP "%d", numbers[i]);
		rc = step_is_saved(&spec, e);
	}
	return count < 0 ? -1 : rc;
}

/* Is there anything that the step could go on from? 1, 0, -1. Changes nothing. */
static int work_is_saved(struct supervisor *s, struct err *e)
{
	struct from from;
	int rc;

	if (*s->spec.from && (rc = from_find(&s->spec, &from, NULL))) {
		store_close(&from.store);
		return 1;
	}
	if (*s->spec.base) {
		rc = step_is_saved(&s->spec, e);
		if (rc == 0 && !strcmp(s->spec.step, "batch"))
			rc = script_is_saved(&s->spec, e);
		if (rc < 0)
			return s->spec.restart > 0 ? -1 : 0;
		if (rc == 0)
			return 0;
	}
	/* Without a base nobody knows where it would be. */
	return (rc = restarts(s, e)) > 0 ? 1 : rc;
}

bool may_start_afresh(struct supervisor *s, bool care)
{
	struct err e = { "" };
	int saved;

	if (s->spec.limits.on_failure == ON_FAILURE_FRESH ||
	    (saved = work_is_saved(s, &e)) == 0)
		return true;
	if (care && saved < 0) {
		hold(s, e.text);
	} else if (care) {
		struct control msg = { .kind = CONTROL_LOST, .value = 1 };

		memcpy(msg.text, s->spec.off, sizeof(s->spec.off));
		memcpy(msg.node, s->spec.node, sizeof(msg.node));
		lost(s, &msg);
	}
	wait_for_mail(s);
	return false;
}

bool give_verdict(struct supervisor *s)
{
	struct control verdict = { .kind = CONTROL_VERDICT, .value = 1 };
	struct err e = { "" };
	int ended = s->spec.part ? follow(s, &verdict, &e) :
				   look_at_end(s, &verdict, &e);

	if (!ended && s->spec.part)
		ended = take_store(s, &verdict, &e) < 0 ? -1 : 0;
	else if (!ended && (look_back(s, &verdict, &e) < 0 ||
		       (!verdict.resume && *s->spec.from && !has_left_it(s) &&
			go_on_from(s, &verdict, &e) < 0) ||
		       take_store(s, &verdict, &e) < 0))
		ended = -1;
	if (ended < 0) {
		hold(s, e.text);
		verdict.value = -1;
	}
	if (verdict.value <= 0)
		lead_away(s, &verdict, e.text);
	snprintf(verdict.text, sizeof(verdict.text), "%.600s", e.text);
	/* If the child is gone, the poll loop sees it end. */
	control_send(s->spec.control, &verdict, NULL);
	return verdict.value > 0;
}
