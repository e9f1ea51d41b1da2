/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command's reading of ids and times, and what it prints of them. */
#include "unit.h"

#include <string.h>

#include "../../plugin/cli/cli.h"

static void reads(const char *text, const char *cluster, uint32_t job,
		  int64_t task, const char *step, int generation)
{
	struct err e = { "" };
	struct id id;

	assert_int_equal(id_parse(text, &id, &e), 0);
	assert_string_equal(id.cluster, cluster);
	assert_int_equal(id.job, job);
	assert_int_equal(id.task, task);
	assert_string_equal(id.step, step);
	assert_int_equal(id.generation, generation);
}

static void test_ids(void **state)
{
	(void)state;
	reads("1", "", 1, -1, "", 0);
	reads("4294967295", "", 4294967295U, -1, "", 0);
	reads("12.batch", "", 12, -1, "batch", 0);
	reads("12.0", "", 12, -1, "0", 0);
	reads("12.4294967295:7", "", 12, -1, "4294967295", 7);
	reads("12:3", "", 12, -1, "", 3);
	reads("123_4", "", 123, 4, "", 0);
	reads("123_0.batch:2147483646", "", 123, 0, "batch", 2147483646);
	reads("big-1/7.2", "big-1", 7, -1, "2", 0);
	reads("7.batch.old.1:2", "", 7, -1, "batch.old.1", 2);
	reads("7.srun-12:3", "", 7, -1, "srun-12", 3);
	reads("7.srun-1.old.2", "", 7, -1, "srun-1.old.2", 0);
	reads("7.0.old.12", "", 7, -1, "0.old.12", 0);
}

static void test_bad_ids(void **state)
{
	static const char *const bad[] = {
		"", "0", "x", "-1", "+1", " 1", "1 ", "4294967296", "12.",
		"12.x", "12.-1", "12.batch.", "12.batch.old.", "12.batch.old.x",
		"12.Batch", "12.0x", "12:", "12:0", "12:-1", "12:x", "12:1x",
		"12:2147483647", "12.0:99999999999999999999", "1_", "1_x", "1_-1",
		"/1", "../1", ".x/1", "a/b/1", "12.../..", "12.0/..", "12.0.0",
		"12.12345678901", "99999999999999999999", "12.batch:1:2",
		"12.old.1", "12..old.1", "12.srun-", "12.srun-x", "12.srun"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = { "" };
		struct id id;

		if (id_parse(bad[i], &id, &e) == 0)
			fail_msg("'%s' was taken for an id", bad[i]);
		assert_non_null(strstr(e.text, "names no checkpoint"));
	}
	{
		char longest[300], step[80] = "12.";
		struct id id;

		memset(longest, 'c', sizeof(longest));
		strcpy(longest + 128, "/1");
		assert_int_equal(id_parse(longest, &id, NULL), -1);
		strcpy(longest + 127, "/1");
		assert_int_equal(id_parse(longest, &id, NULL), 0);
		memset(step + 3, '1', 40);
		step[43] = '\0';
		assert_int_equal(id_parse(step, &id, NULL), -1);
	}
}

static void test_round(void **state)
{
	static const char *const ids[] = { "1.batch", "77.0:4",
					   "5.batch.old.3:1" };

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct spec step = { .job = 0 };
		char text[ID_TEXT_MAX];
		struct id id;

		assert_int_equal(id_parse(ids[i], &id, NULL), 0);
		step.job = id.job;
		strcpy(step.step, id.step);
		id_print(&step, id.generation, text);
		assert_string_equal(text, ids[i]);
	}
}

static void test_set_aside(void **state)
{
	(void)state;
	assert_true(step_is_of("batch", "batch"));
	assert_true(step_is_of("batch.old.1", "batch"));
	assert_true(step_is_of("0.old.12", "0"));
	assert_false(step_is_of("10.old.1", "1"));
	assert_false(step_is_of("1.old.1", "10"));
	assert_false(step_is_of("batch1", "batch"));
	assert_false(step_is_of("srun-1", "batch"));
	assert_false(step_is_of("", "0"));
}

static void test_spans(void **state)
{
	long s;

	(void)state;
	assert_int_equal(span_parse("7d", &s), 0);
	assert_int_equal(s, 7 * 86400);
	assert_int_equal(span_parse("90", &s), 0);
	assert_int_equal(s, 90);
	assert_int_equal(span_parse("2w", &s), 0);
	assert_int_equal(s, 14 * 86400);
	assert_int_equal(span_parse("0", &s), 0);
	assert_int_equal(span_parse("", &s), -1);
	assert_int_equal(span_parse("d", &s), -1);
	assert_int_equal(span_parse("1x", &s), -1);
	assert_int_equal(span_parse("1dd", &s), -1);
	assert_int_equal(span_parse("-1d", &s), -1);
	assert_int_equal(span_parse("99999999999", &s), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_bad_ids),
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_set_aside),
		cmocka_unit_test(test_spans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
