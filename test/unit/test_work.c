/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work saved and work lost: the numbers of sckpt report. */
#include "unit.h"

#include "../../plugin/cli/work.h"

#define S 1000000
#define BEGIN(t, r) { .kind = EVENT_BEGIN, .time_us = (t) * S, .run = (r), .node = "n" }
#define FRESH(t, r) { .kind = EVENT_BEGIN, .time_us = (t) * S, .run = (r), .node = "n", .fresh = true }
/* Taken at t, told of 2 s later. */
#define TAKEN(t, r, g) { .kind = EVENT_CHECKPOINT, .time_us = ((t) + 2) * S, .at_us = (t) * S, \
			 .run = (r), .generation = { (g), (r) }, .frozen_us = S, .stored = 10, .count = 1 }
#define STOP(t, r, g) { .kind = EVENT_CHECKPOINT, .time_us = ((t) + 2) * S, .at_us = (t) * S, \
			.run = (r), .generation = { (g), (r) }, .frozen_us = S, .stored = 10, .count = 1, .end = true }
#define BACK(t, r, g, of) { .kind = EVENT_RESTORE, .time_us = (t) * S, .run = (r), \
			    .generation = { (g), (of) }, .at_us = 1, .us = S }
#define QUEUED(t, r) { .kind = EVENT_REQUEUED, .time_us = (t) * S, .run = (r) }
#define END(t, r) { .kind = EVENT_END, .time_us = (t) * S, .run = (r) }

/* In seconds. */
struct want {
	int runs, checkpoints, restores;
	int work, saved, lost, waited, stopped;
	bool at_most, ended;
};

static void comes_to(const struct event *list, size_t count, int now,
		     struct want want)
{
	int64_t ran = 0, kept = 0;
	struct work w;

	assert_int_equal(work_account(list, (int)count, now * (int64_t)S, &w, NULL), 0);
	assert_int_equal(w.count, want.runs);
	assert_int_equal(w.checkpoints, want.checkpoints);
	assert_int_equal(w.restores, want.restores);
	assert_int_equal(w.work, want.work * S);
	assert_int_equal(w.saved, want.saved * S);
	assert_int_equal(w.lost, want.lost * S);
	assert_int_equal(w.waited, want.waited * S);
	assert_int_equal(w.stopped, want.stopped * S);
	assert_int_equal(w.lost_at_most, want.at_most);
	assert_int_equal(w.ended, want.ended);
	/* What ran is what counts and what was lost. */
	for (int i = 0; i < w.count; i++) {
		if (!w.runs[i].from)
			continue;
		assert_true(w.runs[i].kept >= w.runs[i].from && w.runs[i].kept <= w.runs[i].end);
		ran += w.runs[i].end - w.runs[i].from;
		kept += w.runs[i].kept - w.runs[i].from;
	}
	assert_int_equal(ran, w.work + w.lost);
	assert_int_equal(kept, w.work);
	work_free(&w);
}

#define COMES_TO(now, list, ...) \
	comes_to(list, sizeof(list) / sizeof((list)[0]), now, \
		 (struct want){ __VA_ARGS__ })

static void uninterrupted(void **state)
{
	const struct event none[1] = { { .kind = EVENT_END, .time_us = 5 } };
	const struct event plain[] = { FRESH(100, 0), END(160, 0) };
	const struct event periodic[] = { FRESH(100, 0), TAKEN(120, 0, 1),
					  TAKEN(140, 0, 2), END(160, 0) };
	const struct event running[] = { FRESH(100, 0), TAKEN(120, 0, 1) };

	(void)state;
	COMES_TO(0, none, .runs = 0);
	COMES_TO(0, plain, .runs = 1, .work = 60, .ended = true);
	COMES_TO(0, periodic, .runs = 1, .checkpoints = 2, .work = 60,
		 .stopped = 2, .ended = true);
	COMES_TO(150, running, .runs = 1, .checkpoints = 1, .work = 50, .stopped = 1);
	/* That it does not run any more is known, not since when. */
	COMES_TO(0, running, .runs = 1, .checkpoints = 1, .work = 22, .stopped = 1);
}

static void preempted(void **state)
{
	const struct event twice[] = {
		FRESH(100, 0), STOP(130, 0, 1),
		BEGIN(200, 1), BACK(203, 1, 1, 0), TAKEN(210, 1, 2), STOP(223, 1, 3),
		BEGIN(300, 2), BACK(301, 2, 3, 1), END(311, 2)
	};
	const struct event waiting[] = { FRESH(100, 0), STOP(130, 0, 1) };
	struct work w;

	(void)state;
	COMES_TO(0, twice, .runs = 3, .checkpoints = 3, .restores = 2,
		 .work = 30 + 20 + 10, .saved = 50, .waited = 70 + 77,
		 .stopped = 3, .ended = true);
	COMES_TO(0, waiting, .runs = 1, .checkpoints = 1, .work = 30, .stopped = 1);
	assert_int_equal(work_account(waiting, 2, 0, &w, NULL), 0);
	assert_true(w.stopped_last);
	work_free(&w);
}

static void crashed(void **state)
{
	/* It died between 122, when it last gave a sign, and 180. */
	const struct event unknown[] = {
		FRESH(100, 0), TAKEN(120, 0, 1), BEGIN(180, 1),
		BACK(181, 1, 1, 0), END(191, 1)
	};
	/* Slurm put the job back into the queue at 140. */
	const struct event bounded[] = {
		FRESH(100, 0), TAKEN(120, 0, 1), BEGIN(180, 1),
		BACK(181, 1, 1, 0), QUEUED(140, 1), END(191, 1)
	};
	/* A clock that is behind: not before its last sign. */
	const struct event behind[] = {
		FRESH(100, 0), TAKEN(120, 0, 1), BEGIN(180, 1),
		BACK(181, 1, 1, 0), QUEUED(110, 1), END(191, 1)
	};
	const struct event behind_all[] = {
		FRESH(100, 0), FRESH(150, 1), QUEUED(90, 1), END(170, 1)
	};
	/* Twice back to the same one. */
	const struct event again[] = {
		FRESH(100, 0), TAKEN(120, 0, 1), END(150, 0),
		BEGIN(180, 1), BACK(181, 1, 1, 0), END(185, 1),
		BEGIN(190, 2), BACK(191, 2, 1, 0), END(201, 2)
	};
	/* And to an older one, since the newest was damaged. */
	const struct event older[] = {
		FRESH(100, 0), TAKEN(110, 0, 1), STOP(130, 0, 2),
		BEGIN(180, 1), BACK(181, 1, 1, 0), END(191, 1)
	};

	(void)state;
	COMES_TO(0, unknown, .runs = 2, .checkpoints = 1, .restores = 1,
		 .work = 30, .saved = 20, .lost = 60, .at_most = true,
		 .stopped = 1, .ended = true);
	COMES_TO(0, bounded, .runs = 2, .checkpoints = 1, .restores = 1,
		 .work = 30, .saved = 20, .lost = 20, .at_most = true,
		 .waited = 40, .stopped = 1, .ended = true);
	COMES_TO(0, behind, .runs = 2, .checkpoints = 1, .restores = 1,
		 .work = 30, .saved = 20, .lost = 2, .at_most = true,
		 .waited = 58, .stopped = 1, .ended = true);
	COMES_TO(0, behind_all, .runs = 2, .work = 20, .waited = 50, .ended = true);
	COMES_TO(0, again, .runs = 3, .checkpoints = 1, .restores = 2,
		 .work = 30, .saved = 20, .lost = 30 + 4, .waited = 30 + 5,
		 .stopped = 1, .ended = true);
	COMES_TO(0, older, .runs = 2, .checkpoints = 2, .restores = 1,
		 .work = 20, .saved = 10, .lost = 20, .waited = 50,
		 .stopped = 2, .ended = true);
}

static void lost_altogether(void **state)
{
	/* Crashed before the first checkpoint. */
	const struct event early[] = { FRESH(100, 0), FRESH(150, 1), END(170, 1) };
	/* Refused at the stop: the program ended, and its end is known. */
	const struct event refused[] = {
		FRESH(100, 0),
		{ .kind = EVENT_REFUSED, .time_us = 130 * S, .text = "why" },
		END(131, 0), FRESH(150, 1), END(170, 1)
	};
	/* The first run after it did not get to run its program. */
	const struct event stuck[] = {
		FRESH(100, 0), STOP(130, 0, 1), BEGIN(150, 1), BEGIN(160, 2),
		BACK(161, 2, 1, 0), END(171, 2)
	};

	(void)state;
	COMES_TO(0, early, .runs = 2, .work = 20, .lost = 50, .at_most = true,
		 .ended = true);
	COMES_TO(0, refused, .runs = 2, .work = 20, .lost = 31, .waited = 19,
		 .ended = true);
	COMES_TO(0, stuck, .runs = 3, .checkpoints = 1, .restores = 1, .work = 40,
		 .saved = 30, .waited = 20, .stopped = 1, .ended = true);
}

static void of_others(void **state)
{
	/* A new job that went on from another's checkpoint. */
	const struct event adopted[] = {
		BEGIN(100, 0),
		{ .kind = EVENT_RESTORE, .time_us = 101 * S, .generation = { 4, 0 },
		  .at_us = 5 * S, .us = S, .origin = 3 },
		END(111, 0)
	};
	/* What an earlier job of the same number left in the log. */
	const struct event reused[] = {
		FRESH(10, 0), TAKEN(20, 0, 1), BEGIN(50, 1), BACK(51, 1, 1, 0),
		FRESH(100, 0), TAKEN(105, 0, 1), END(110, 0)
	};
	/* One that was cut off, writing on. */
	const struct event cut_off[] = {
		FRESH(100, 0), TAKEN(110, 0, 1), BEGIN(150, 1),
		BACK(151, 1, 1, 0), TAKEN(155, 0, 2), END(157, 0), END(161, 1)
	};
	/* A log whose begin was dropped, for its size. */
	const struct event beheaded[] = { TAKEN(90, 0, 9), BEGIN(100, 1),
					  BACK(101, 1, 9, 0), END(111, 1) };

	(void)state;
	COMES_TO(0, adopted, .runs = 1, .restores = 1, .work = 10, .ended = true);
	COMES_TO(0, reused, .runs = 1, .checkpoints = 1, .work = 10, .stopped = 1,
		 .ended = true);
	COMES_TO(0, cut_off, .runs = 2, .checkpoints = 1, .restores = 1,
		 .work = 20, .saved = 10, .lost = 40, .at_most = true,
		 .stopped = 1, .ended = true);
	COMES_TO(0, beheaded, .runs = 1, .checkpoints = 1, .restores = 1,
		 .work = 10, .stopped = 1, .ended = true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uninterrupted),
		cmocka_unit_test(preempted),
		cmocka_unit_test(crashed),
		cmocka_unit_test(lost_altogether),
		cmocka_unit_test(of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
