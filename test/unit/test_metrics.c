/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted, how far it is believed, how it is printed. */
#include <stdio.h>

#include "unit.h"

#include "sckpt/metrics.h"

static void reasons(void **state)
{
	static const struct {
		const char *words;
		enum counted_reason is;
	} all[] = {
		{ "preemption", COUNTED_PREEMPTION },
		{ "preemption, in its grace time", COUNTED_PREEMPTION },
		{ "requeue", COUNTED_REQUEUE },
		{ "time limit", COUNTED_TIMELIMIT },
		{ "scancel", COUNTED_CANCEL },
		{ "every 30 s", COUNTED_CLOCK },
		{ "every=auto", COUNTED_CLOCK },
		{ "sckpt create", COUNTED_REQUEST },
		{ "sckpt check", COUNTED_CHECK },
		{ "--checkpoint=check", COUNTED_CHECK },
		{ "a warning signal", COUNTED_OTHER },
		{ "x\"} 1\nforged 1", COUNTED_OTHER },
		{ "", COUNTED_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(counted_reason(all[i].words), all[i].is);
}

#define MINUTE UINT64_C(60000000)

static void believed(void **state)
{
	struct counters c = { .taken = UINT64_C(40) << 30, .us = MINUTE, .restores = 1 };
	struct err e = { "" };

	(void)state;
	c.checkpoints[COUNTED_CLOCK] = 60;
	assert_int_equal(counters_check(&c, MINUTE, &e), 0);
	/* The shortest of steps may have been restored. */
	c = (struct counters){ .restores = 1, .restore_us = 900000 };
	assert_int_equal(counters_check(&c, 0, &e), 0);
	/* A lifetime that nobody has. */
	c = (struct counters){ .taken = UINT64_MAX };
	assert_int_equal(counters_check(&c, UINT64_MAX / 2, &e), 0);
}

static void not_believed(void **state)
{
	struct counters c[] = { { .taken = UINT64_MAX }, { .stored = UINT64_MAX },
				{ .us = 70 * 1000000 }, { .stopped_us = UINT64_MAX },
				{ .restore_us = 70 * 1000000 }, { .restores = 5000 } };
	struct counters wraps = { .restores = 3 };
	struct err e = { "" };

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		assert_int_equal(counters_check(&c[i], MINUTE, &e), -1);
	/* Each of them alone would do, and their sum is small again. */
	wraps.checkpoints[0] = wraps.failures[0] = UINT64_C(1) << 63;
	assert_int_equal(counters_check(&wraps, MINUTE, &e), -1);
	says(e, "more checkpoints and restores than 62 s");
	for (int i = 0; i < COUNTED_REASONS; i++) {
		struct counters one = { .restores = 0 };

		one.failures[i] = 5000;
		assert_int_equal(counters_check(&one, MINUTE, &e), -1);
	}
}

static void sums(void **state)
{
	struct counters sum = { .taken = UINT64_MAX - 1, .us = 3 };
	struct counters more = { .taken = 5, .us = 4, .stored = 6, .stopped_us = 7,
				 .restores = 8, .restore_us = 9 };

	(void)state;
	more.checkpoints[COUNTED_OTHER] = more.failures[COUNTED_CLOCK] = 2;
	more.refusals[REFUSED_LOST] = 3;
	counters_add(&sum, &more);
	counters_add(&sum, &more);
	assert_int_equal(sum.taken, UINT64_MAX);
	assert_int_equal(sum.us, 11);
	assert_int_equal(sum.stored, 12);
	assert_int_equal(sum.stopped_us, 14);
	assert_int_equal(sum.restores, 16);
	assert_int_equal(sum.restore_us, 18);
	assert_int_equal(sum.checkpoints[COUNTED_OTHER], 4);
	assert_int_equal(sum.failures[COUNTED_CLOCK], 4);
	assert_int_equal(sum.refusals[REFUSED_LOST], 6);
}

/* With the largest figures that there are it fits, too. */
static void printed(void **state)
{
	static struct node_counters n = { .magic = NODE_COUNTERS_MAGIC };
	char text[METRICS_TEXT_MAX];
	int size;

	(void)state;
	n.sum.checkpoints[COUNTED_PREEMPTION] = 3;
	n.sum.us = 1500000;
	assert_true((size = metrics_print(&n, text)) > 0);
	assert_int_equal(text[size - 1], '\n');
	assert_non_null(strstr(text, "\nsckpt_checkpoints_total{reason=\"preemption\"} 3\n"));
	assert_non_null(strstr(text, "\nsckpt_checkpoint_seconds_total 1.500000\n"));
	assert_non_null(strstr(text, "# TYPE sckpt_restores_total counter\nsckpt_restores_total 0\n"));
	memset(&n, 0xff, sizeof(n));
	assert_true(metrics_print(&n, text) > size);
	assert_non_null(strstr(text, "sckpt_steps_disbelieved_total 18446744073709551615\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reasons), cmocka_unit_test(believed),
		cmocka_unit_test(not_believed), cmocka_unit_test(sums),
		cmocka_unit_test(printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
