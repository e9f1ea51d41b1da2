/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --checkpoint=restart=ID: which checkpoint of another job a step goes on from. The option of
 * a job reaches every step of it, and its sckpt-client too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "from.h"

/* The step that the ID names, and its generation. */
static bool parse(const struct spec *spec, struct spec *origin, int *number)
{
	*origin = *spec;
	origin->part = 0;
	if (sscanf(spec->from, "%u.%31[^:]:%d", &origin->job, origin->step,
		   number) != 3 ||
	    origin->job == spec->job)
		return false;
	if (*spec->from_base) {
		memcpy(origin->base, spec->from_base, sizeof(origin->base));
		memcpy(origin->fixed, spec->from_fixed, sizeof(origin->fixed));
	}
	return true;
}

/* number 0: the newest. 0 there is none. */
static int open_generation(const struct spec *origin, int number,
			   struct from *from, struct err *e)
{
	cleanup_free struct generation *list = NULL;
	int rc = store_open(origin, false, &from->store, e), count;

	if (rc)
		return rc < 0 ? -1 : 0;
	count = rc = store_generations(&from->store, &list, e);
	for (int i = 0; i < count; i++)
		if (!number || list[i].number == number) {
			from->g = list[i];
			return 1;
		}
	store_close(&from->store);
	return rc < 0 ? -1 : 0;
}

/* How often the script had called srun by then; -1: that is not known. */
static int script_calls(const struct spec *script, int number)
{
	struct from from;
	struct manifest m;
	int calls = -1;

	if (open_generation(script, number, &from, NULL) <= 0)
		return -1;
	if (generation_load(&from.store, from.g, geteuid(), script, &m, NULL) == 0) {
		calls = m.calls;
		manifest_free(&m);
	}
	store_close(&from.store);
	return calls;
}

int from_find(const struct spec *spec, struct from *from, struct err *e)
{
	struct spec origin;
	int number, rc;

	from->store.dir = -1;
	if (!parse(spec, &origin, &number))
		return 0;
	if (step_is_of(origin.step, spec->step) ||
	    (spec->from_own && !step_is_of(origin.step, "batch"))) {
		rc = open_generation(&origin, number, from, e);
		return rc ? rc : err_set(e, "there is no checkpoint of %s", spec->from);
	}
	/* A call that the script comes to after that is a new one; of a script that was set aside
	 * it is not known which of the steps that were are its own. */
	if (strcmp(origin.step, "batch") || !is_call_step(spec->step) ||
	    atoi(spec->step + strlen(CALL_STEP)) > script_calls(&origin, number))
		return 0;
	memcpy(origin.step, spec->step, sizeof(origin.step));
	/* As in the script's own job a step's newest is never behind the script. */
	return open_generation(&origin, 0, from, e);
}

static int adopt_part(const struct spec *spec, const struct from *from,
		      const struct store *own, int part, int run, struct err *e)
{
	struct store was, at;
	int rc;

	if (part_open(&from->store, part, false, &was, e) < 0)
		return -1;
	rc = part_open(own, part, true, &at, e);
	if (rc == 0) {
		rc = generation_adopt(&was, from->g, &at, spec, run, e);
		store_close(&at);
	}
	store_close(&was);
	return rc < 0 && part ? err_context(e, "node %d of the step", part) : rc;
}

int from_adopt(const struct spec *spec, const struct from *from, int run,
	       struct err *e)
{
	int nodes = store_nodes(&from->store), rc;
	struct store own;

	if (nodes < 0)
		return err_sys(e, "cannot tell how many nodes %s is of", from->store.path);
	if (nodes != spec->nodes)
		return err_set(e, "it is of a step on %d node%s, and this one is started on %d: ask for the same number of nodes and tasks",
			       nodes, nodes > 1 ? "s" : "", spec->nodes);
	if (store_open(spec, true, &own, e) < 0)
		return -1;
	rc = store_note_nodes(&own, nodes, e);
	/* The first node's last: then it is there. */
	for (int i = nodes - 1; rc == 0 && i >= 0; i--)
		rc = adopt_part(spec, from, &own, i, run, e);
	store_close(&own);
	return rc;
}
