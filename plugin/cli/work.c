/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work saved and work lost, from the log of a step. */
#include <string.h>

#include "work.h"

/* The run in which events stand now; NULL before the first. */
static struct run *last(struct work *w)
{
	return w->count ? &w->runs[w->count - 1] : NULL;
}

static int64_t at_least(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void begin(struct work *w, const struct event *ev)
{
	struct run *before = last(w);

	/* Of an earlier job of the same number. */
	if (ev->fresh && ev->run == 0) {
		struct run *runs = w->runs;

		*w = (struct work){ .runs = runs };
		before = NULL;
	}
	/* It was over by then, and wrote nothing of its end. */
	if (before && !before->end_known)
		before->end = at_least(before->end, ev->time_us);
	w->ended = w->stopped_last = false;
	w->runs[w->count++] = (struct run){ .number = ev->run,
					    .node = ev->node,
					    .begin = ev->time_us,
					    .from = ev->fresh ? ev->time_us : 0,
					    .end = ev->time_us,
					    .kept = ev->time_us };
}

/* A sign that it still lived. */
static void lived(struct run *run, int64_t at)
{
	if (run && !run->end_known)
		run->end = at_least(run->end, at);
}

static void checkpoint(struct work *w, const struct event *ev)
{
	struct run *run = last(w);

	w->checkpoints += ev->count ? ev->count : 1;
	w->stopped += at_least(ev->frozen_us, 0);
	w->stored += (uint64_t)ev->stored;
	if (!run)
		return;
	lived(run, ev->end ? ev->at_us : ev->time_us);
	if (ev->end) {
		run->end = at_least(ev->at_us, run->from);
		run->end_known = true;
		w->stopped_last = true;
	}
}

/* One of an earlier run may end after its job was requeued, or have lived on
 * on a node that was cut off: that changes nothing. */
static void gather(struct work *w, const struct event *list, int count)
{
	for (int i = 0; i < count; i++) {
		const struct event *ev = &list[i];
		struct run *run = last(w);

		if (ev->kind == EVENT_BEGIN) {
			begin(w, ev);
			continue;
		}
		if (run && ev->run != run->number)
			continue;
		switch (ev->kind) {
		case EVENT_CHECKPOINT:
			checkpoint(w, ev);
			break;
		case EVENT_RESTORE:
			w->restores++;
			if (run) {
				run->from = ev->time_us;
				run->restore = ev;
			}
			lived(run, ev->time_us);
			break;
		case EVENT_REFUSED:
			w->refusals++;
			lived(run, ev->time_us);
			break;
		case EVENT_REQUEUED:
			/* The run before was over by then. */
			if (w->count > 1 && !run[-1].end_known &&
			    ev->time_us < run[-1].end)
				run[-1].end = at_least(ev->time_us, run[-1].kept);
			break;
		case EVENT_END:
			if (!run)
				break;
			run->end = at_least(ev->time_us, run->from);
			run->end_known = w->ended = true;
			w->stopped_last = false;
			w->status = ev->status;
			break;
		default:
			break;
		}
		/* Until the sums are made: the last sign of life. */
		if (run && ev->kind != EVENT_REQUEUED)
			run->kept = at_least(run->kept, ev->time_us);
	}
}

/* ---- sums ------------------------------------------------------------------------ */

/* When a generation was taken, by its own line; the restore's knows seconds. An
 * earlier job of this number may have had one, too. */
static int64_t taken(const struct event *list, int count,
		     const struct event *restore)
{
	for (int i = count - 1; i >= 0; i--)
		if (list[i].kind == EVENT_CHECKPOINT &&
		    list[i].generation.number == restore->generation.number &&
		    list[i].run == restore->generation.run)
			return list[i].at_us;
	return restore->at_us;
}

/* The run of w, before run number n, that a generation is of; -1 none. */
static int source(const struct work *w, int n, const struct event *restore)
{
	if (restore->origin)
		return -1;
	for (int i = n - 1; i >= 0; i--)
		if (w->runs[i].number == restore->generation.run &&
		    w->runs[i].from)
			return i;
	return -1;
}

/* Nothing that was done after `at` in run `from` counts, nor what came later. */
static void not_kept(struct work *w, int from, int64_t at, int until)
{
	for (int i = at_least(from, 0); i < until; i++) {
		int64_t kept = i == from ? at : w->runs[i].from;

		if (w->runs[i].from && kept < w->runs[i].kept)
			w->runs[i].kept = kept;
	}
}

static void sum(struct work *w, const struct event *list, int count)
{
	bool known = true; /* when the last that ran ended */

	for (int i = 0; i < w->count; i++) {
		struct run *run = &w->runs[i];
		int64_t at = 0, base = 0;
		int of = -1;

		if (i)
			run->waited = at_least(run->begin - w->runs[i - 1].end, 0);
		w->waited += run->waited;
		run->kept = run->end;
		if (!run->from)
			continue;
		if (run->restore && (of = source(w, i, run->restore)) >= 0) {
			const struct run *was = &w->runs[of];

			at = taken(list, count, run->restore);
			at = at < was->from ? was->from :
			     at > was->end  ? was->end :
					      at;
			base = was->base + at - was->from;
		}
		if (w->work > base) {
			w->lost += w->work - base;
			w->lost_at_most |= !known;
		}
		not_kept(w, of, at, i);
		w->saved = run->base = base;
		w->work = base + run->end - run->from;
		known = run->end_known;
	}
}

int work_account(const struct event *list, int count, int64_t now,
		 struct work *w, struct err *e)
{
	struct run *run;

	*w = (struct work){ .runs = calloc((size_t)count + 1, sizeof(*w->runs)) };
	if (!w->runs)
		return err_set(e, "no memory for a report");
	gather(w, list, count);
	run = last(w);
	if (run && !run->end_known)
		run->end = at_least(run->end, now);
	sum(w, list, count);
	return 0;
}

void work_free(struct work *w)
{
	free(w->runs);
	*w = (struct work){ .runs = NULL };
}
