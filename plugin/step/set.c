/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A step on several nodes: each has its own supervisor, agent and tree, and they agree
 * on what becomes of all of them by what they write in the store. The first node
 * decides, the others answer (store.h, parts.c).
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "set.h"

#define MS INT64_C(1000000)
/* How often is looked, at first and at most: with many nodes the file server has other
 * things to do. */
#define LOOK_FIRST_MS 20
#define LOOK_MOST_MS 500
/* A node that is told to dump begins within that. */
#define BEGIN_NS (10000 * MS)
/* And one that is to restore is there, whatever its prolog does. */
#define THERE_NS (300000 * MS)

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Waits a little longer each time; false when it is over. until: ns, 0 never. */
static bool look_later(int *ms, int64_t until)
{
	if (until && now_ns() >= until)
		return false;
	*ms = *ms ? *ms * 3 / 2 : LOOK_FIRST_MS;
	if (*ms > LOOK_MOST_MS)
		*ms = LOOK_MOST_MS;
	poll(NULL, 0, *ms);
	return true;
}

int set_await(const struct spec *spec, int run, int after, int64_t until,
	      struct set_order *o, struct err *e)
{
	struct err why = { "" };
	int ms = 0, rc;

	do {
		rc = set_order_read(spec, o, &why);
		if (rc > 0 && o->run == run && o->number > after)
			return 1;
	} while (look_later(&ms, until));
	if (rc < 0)
		err_set(e, "%s", why.text);
	return rc < 0 ? -1 : 0;
}

/* ---- the first node ------------------------------------------------------------ */

int set_say(struct step *step, struct set_order *o, struct err *e)
{
	o->launch = step->spec.launch;
	o->run = step->spec.restart;
	o->number = ++step->order;
	return set_order_write(&step->store, o, e);
}

int set_say_again(const struct step *step, enum set_word word, const char *text,
		  const char *request, struct err *e)
{
	struct set_order o = { .launch = step->spec.launch,
			       .run = step->spec.restart,
			       .number = step->order,
			       .word = word };

	snprintf(o.text, sizeof(o.text), "%s", text);
	snprintf(o.request, sizeof(o.request), "%s", request);
	return set_order_write(&step->store, &o, e);
}

static int tell_refusal(const struct set_answer *a, int part, struct err *e)
{
	return err_set(e, "on %.200s, node %d of the step: %.400s",
		       *a->node ? a->node : "a node", part, a->text);
}

/* 1 done, 0 not yet, -1 it will not be. */
static int has_answered(const struct step *step, int part, bool begins,
			int64_t begun, struct set_answer *a, struct err *e)
{
	int64_t took = now_ns() - begun;
	bool now = set_answer_read(&step->store, part, a, NULL) > 0 &&
		   a->run == step->spec.restart && a->number == step->order;

	if (now && a->state == SET_DONE)
		return 1;
	if (now && a->state == SET_REFUSED)
		return tell_refusal(a, part, e);
	/* It has written so before it ended. */
	if (a->run == step->spec.restart && a->over && a->status)
		return err_set(e, "a program on %.200s, node %d of the step, has failed: what is left of the step cannot be saved",
			       a->node, part);
	if (!now && (begins || took > THERE_NS) &&
	    !part_claimed(&step->store, part, step->spec.restart))
		return err_set(e, "node %d of the step is not protected: slurmd's log there says why",
			       part);
	if (!now && begins && took > BEGIN_NS)
		return err_set(e, "node %d of the step%s%.200s does not answer",
			       part, *a->node ? ", " : "", a->node);
	return 0;
}

int set_gather(const struct step *step, bool begins, int64_t until,
	       struct set_answer *sum, struct err *e)
{
	int64_t begun = now_ns();
	int ms = 0, rc;

	*sum = (struct set_answer){ .run = step->spec.restart };
	/* One after the other, so that each is looked at often only while it is the
	 * one that is waited for. */
	for (int i = 1; i < step->spec.nodes;) {
		struct set_answer a;

		if ((rc = has_answered(step, i, begins, begun, &a, e)) > 0) {
			sum->resident += a.resident;
			sum->stored += a.stored;
			i++;
			ms = 0;
			continue;
		}
		if (rc < 0) {
			sum->elsewhere = a.elsewhere;
			if (a.run == step->spec.restart && a.number == step->order)
				sum->state = a.state;
			memcpy(sum->node, a.node, sizeof(sum->node));
			return -1;
		}
		if (!look_later(&ms, until))
			return err_set(e, "node %d of the step%s%.200s was not ready in time",
				       i, *a.node ? ", " : "", a.node);
	}
	return 0;
}

int set_over(const struct step *step, int *part, int *status)
{
	for (; *part < step->spec.nodes; ++*part) {
		struct set_answer a;

		/* One that is not protected says nothing, and is not waited for. */
		if (!part_claimed(&step->store, *part, step->spec.restart))
			continue;
		if (set_answer_read(&step->store, *part, &a, NULL) <= 0 ||
		    a.run != step->spec.restart || !a.over)
			return 0;
		if (!*status)
			*status = a.status;
	}
	return 1;
}

/* ---- the others ------------------------------------------------------------------- */

/* The agent's loop says that programs have ended, and the thread that finishes a dump that it has. */
static pthread_mutex_t answering = PTHREAD_MUTEX_INITIALIZER;

static int write_answer(struct step *step, struct err *e)
{
	struct set_answer *a = &step->answer;

	a->run = step->spec.restart;
	snprintf(a->node, sizeof(a->node), "%s", step->spec.node);
	return set_answer_write(&step->store, a, e);
}

int set_answer_over(struct step *step, int status, struct err *e)
{
	int rc;

	pthread_mutex_lock(&answering);
	step->answer.over = true;
	step->answer.status = status;
	rc = write_answer(step, e);
	pthread_mutex_unlock(&answering);
	return rc;
}

int set_answer(struct step *step, int state, const struct set_answer *more,
	       struct err *e)
{
	struct set_answer *a = &step->answer;
	int rc;

	pthread_mutex_lock(&answering);
	a->number = step->order;
	a->state = state;
	a->resident = more ? more->resident : 0;
	a->stored = more ? more->stored : 0;
	a->elsewhere = more && more->elsewhere;
	snprintf(a->text, sizeof(a->text), "%s", more ? more->text : "");
	rc = write_answer(step, e);
	pthread_mutex_unlock(&answering);
	return rc;
}

/* The first node's programs may have ended as soon as it had said so. */
static bool says_whole(const struct step *step, const struct set_order *o)
{
	return (o->number == step->order && o->word == SET_WHOLE) ||
	       (o->word == SET_OVER && o->generation.number == step->ordered.number &&
		o->generation.run == step->ordered.run);
}

int set_hear(const struct step *step, int64_t until, struct err *e)
{
	struct set_order o;
	int ms = 0;

	do {
		if (set_order_read(&step->spec, &o, NULL) <= 0 ||
		    o.run != step->spec.restart || o.number < step->order ||
		    o.word == SET_DUMP)
			continue;
		if (says_whole(step, &o))
			return 0;
		return err_set(e, "%s", *o.text ? o.text : "the step's first node has given it up");
	} while (look_later(&ms, until));
	err_set(e, "the step's first node does not say whether all nodes have theirs");
	return 1;
}
