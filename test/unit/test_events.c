/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of a step: lines there and back, torn ones, its size, and where it is
 * kept when the step is over. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sckpt/store.h"

static char top[64];
static struct spec spec = { .cluster = "lab", .step = "batch", .job = 7,
			    .node = "n1" };
static struct store store;

static int fresh(void **state)
{
	struct err e = { "" };

	(void)state;
	strcpy(top, "/tmp/sckpt-unit-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(spec.fixed, sizeof(spec.fixed), "%s", top);
	snprintf(spec.base, sizeof(spec.base), "%s/s", top);
	return store_open(&spec, true, &store, &e);
}

static int gone(void **state)
{
	(void)state;
	store_close(&store);
	return tree_remove(AT_FDCWD, top, NULL);
}

static void there_and_back(void **state)
{
	const struct event all[] = {
		{ .kind = EVENT_BEGIN, .time_us = 1, .run = 3, .fresh = true,
		  .node = "n1", .name = "a \"name\" \\ </script>", .array = "7_5",
		  .text = "/bin/x" },
		{ .kind = EVENT_CHECKPOINT, .time_us = 1795529343663565, .run = 0,
		  .node = "n2", .generation = { 4, 0 }, .at_us = 1795529343431580,
		  .text = "every 30 s", .end = true, .us = 215996,
		  .frozen_us = -1, .resident = 1LL << 40, .stored = 67762,
		  .count = 12 },
		{ .kind = EVENT_RESTORE, .time_us = 2, .run = 1, .node = "n2",
		  .generation = { 4, 0 }, .at_us = 1, .us = 260901, .origin = 6 },
		{ .kind = EVENT_REFUSED, .time_us = 2, .node = "n1",
		  .text = "zoo[1001] has an inotify watch" },
		{ .kind = EVENT_REQUEUED, .time_us = 9, .run = 2 },
		{ .kind = EVENT_END, .time_us = 9, .run = 2, .status = 0x8b },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		cleanup_free char *line = event_text(&all[i]);
		struct event back;

		assert_non_null(line);
		/* One line. */
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_int_equal(event_parse(line, &back), 0);
		assert_int_equal(back.kind, all[i].kind);
		assert_int_equal(back.time_us, all[i].time_us);
		assert_int_equal(back.run, all[i].run);
		assert_string_equal(back.node, all[i].node);
		assert_int_equal(back.fresh, all[i].fresh);
		assert_string_equal(back.name, all[i].name);
		assert_string_equal(back.array, all[i].array);
		assert_string_equal(back.text, all[i].text);
		assert_int_equal(back.generation.number, all[i].generation.number);
		if (all[i].kind == EVENT_CHECKPOINT || all[i].kind == EVENT_RESTORE)
			assert_int_equal(back.generation.run, all[i].generation.run);
		assert_int_equal(back.at_us, all[i].at_us);
		assert_int_equal(back.us, all[i].us);
		assert_int_equal(back.frozen_us, all[i].frozen_us);
		assert_int_equal(back.resident, all[i].resident);
		assert_int_equal(back.stored, all[i].stored);
		assert_int_equal(back.end, all[i].end);
		assert_int_equal(back.count, all[i].count);
		assert_int_equal(back.origin, all[i].origin);
		assert_int_equal(back.status, all[i].status);
	}
}

static void what_is_no_event(void **state)
{
	static const char *const bad[] = {
		"", "x", "{", "[]", "1", "null", "{}", "{ \"event\": \"begin\" }",
		"{ \"event\": 7, \"time_us\": 5 }",
		"{ \"event\": \"dance\", \"time_us\": 5 }",
		"{ \"event\": \"begin\", \"time_us\": -5 }",
		"{ \"event\": \"begin\", \"time_us\": \"soon\" }",
		"{ \"event\": \"begin\", \"time_us\": 9223372036854775807 }",
	};
	struct event ev;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (event_parse(bad[i], &ev) == 0)
			fail_msg("'%s' was taken for an event", bad[i]);
	/* What is out of range is 0, and the rest is taken. */
	assert_int_equal(event_parse("{ \"event\": \"checkpoint\", \"time_us\": 5, \"generation\": -1,"
				     " \"stored_bytes\": \"x\", \"count\": 99999999999, \"node\": 3 }",
				     &ev), 0);
	assert_int_equal(ev.generation.number, 0);
	assert_int_equal(ev.stored, 0);
	assert_int_equal(ev.count, 0);
	assert_string_equal(ev.node, "");
	/* Names in any bytes. */
	{
		struct event odd = { .kind = EVENT_BEGIN, .time_us = 1,
				     .name = "\xff\x01\n" };
		cleanup_free char *line = event_text(&odd);

		assert_int_equal(event_parse(line, &ev), 0);
		assert_string_equal(ev.name, "???");
	}
}

static int64_t log_size(void)
{
	struct stat st;

	return fstatat(store.dir, "events", &st, 0) == 0 ? st.st_size : -1;
}

static void torn_lines(void **state)
{
	struct event ev = { .kind = EVENT_BEGIN, .time_us = 1, .fresh = true };
	struct event *list;
	cleanup_fd int fd = -1;

	(void)state;
	assert_int_equal(events_load(&spec, &list, NULL), 0);
	event_add(&store, &ev, false);
	fd = openat(store.dir, "events", O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "{ \"event\": \"che", 15), 15);
	ev.time_us = 2;
	event_add(&store, &ev, true);
	assert_int_equal(events_load(&spec, &list, NULL), 2);
	assert_int_equal(list[1].time_us, 2);
	free(list);
}

/* However many checkpoints: the log stays small, and the sums stay right. */
static void stays_small(void **state)
{
	struct event ev = { .kind = EVENT_BEGIN, .time_us = 1, .fresh = true };
	int64_t stored = 0, frozen = 0;
	struct event *list;
	int count, n = 0, restores = 0;

	(void)state;
	event_add(&store, &ev, true);
	for (int i = 1; i <= 2000; i++) {
		ev = (struct event){ .kind = EVENT_CHECKPOINT, .time_us = 10 * i,
				     .at_us = 10 * i - 1, .generation = { i, 0 },
				     .frozen_us = 7, .stored = 100, .count = 1,
				     .text = "every 30 s" };
		event_add(&store, &ev, true);
		assert_true(log_size() >= 1 && log_size() <= (64 << 10) + 400);
		if (i == 1000) {
			ev = (struct event){ .kind = EVENT_RESTORE,
					     .time_us = 10 * i + 5,
					     .generation = { i, 0 } };
			event_add(&store, &ev, true);
		}
	}
	count = events_load(&spec, &list, NULL);
	assert_true(count >= 4 && count <= 500);
	assert_int_equal(list[0].kind, EVENT_BEGIN);
	for (int i = 0; i < count; i++) {
		n += list[i].count;
		stored += list[i].stored;
		frozen += list[i].frozen_us;
		restores += list[i].kind == EVENT_RESTORE;
		/* What was restored is there by its number. */
		if (list[i].kind == EVENT_RESTORE)
			assert_int_equal(list[i - 1].generation.number, 1000);
	}
	assert_int_equal(n, 2000);
	assert_int_equal(stored, 200000);
	assert_int_equal(frozen, 14000);
	assert_int_equal(restores, 1);
	assert_int_equal(list[count - 1].generation.number, 2000);
	free(list);
}

static int add_one(const struct spec *step, void *arg)
{
	assert_string_equal(step->cluster, "lab");
	(void)step;
	++*(int *)arg;
	return 0;
}

static int ended(void)
{
	int count = 0;

	assert_int_equal(store_each_log(&spec, add_one, &count, NULL), 0);
	return count;
}

static void kept_when_it_is_over(void **state)
{
	struct event ev = { .kind = EVENT_BEGIN, .time_us = 1, .fresh = true };
	struct event *list;

	(void)state;
	/* One of which nothing is to be told. */
	event_add(&store, &ev, false);
	assert_int_equal(store_used(&store, NULL), 0);
	events_retire(&spec);
	assert_int_equal(ended(), 0);
	ev.kind = EVENT_CHECKPOINT;
	event_add(&store, &ev, false);
	events_retire(&spec);
	assert_int_equal(store_forget(&spec, NULL), 0);
	assert_int_equal(ended(), 1);
	assert_int_equal(events_load(&spec, &list, NULL), 2);
	free(list);
	/* It is no job's directory, and no step's. */
	{
		int count = 0;

		assert_int_equal(store_each(&spec, add_one, &count, NULL), 0);
		assert_int_equal(count, 0);
	}
	events_forget(&spec);
	assert_int_equal(ended(), 0);
	assert_int_equal(events_load(&spec, &list, NULL), 0);
}

static void only_so_many_are_kept(void **state)
{
	struct event ev = { .kind = EVENT_REFUSED, .time_us = 1 };
	struct spec step = spec;

	(void)state;
	for (step.job = 1; step.job <= 1001; step.job++) {
		char path[200];
		/* The first of them are the oldest. */
		struct timespec times[2] = { { .tv_sec = step.job },
					     { .tv_sec = step.job } };
		struct store s;

		assert_int_equal(store_open(&step, true, &s, NULL), 0);
		event_add(&s, &ev, false);
		assert_int_equal(utimensat(s.dir, "events", times, 0), 0);
		store_close(&s);
		events_retire(&step);
		assert_int_equal(store_forget(&step, NULL), 0);
		snprintf(path, sizeof(path), "%s/s/lab/logs/1.batch", top);
		if (step.job <= 1000)
			assert_int_equal(access(path, F_OK), 0);
		else
			assert_int_equal(access(path, F_OK), -1);
	}
	assert_int_equal(ended(), 900);
}

/* Of the steps that a script called, too. */
static void with_their_script(void **state)
{
	struct event ev = { .kind = EVENT_CHECKPOINT, .time_us = 1 };
	struct spec step = spec;
	struct store s;

	(void)state;
	strcpy(step.step, "srun-2");
	assert_int_equal(store_open(&step, true, &s, NULL), 0);
	event_add(&s, &ev, false);
	store_close(&s);
	assert_int_equal(store_forget_steps(&spec, "srun-", NULL), 0);
	assert_int_equal(store_open(&step, false, &s, NULL), 1);
	assert_int_equal(ended(), 1);
}

#define EVENT_TEST(f) cmocka_unit_test_setup_teardown(f, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(what_is_no_event),
		EVENT_TEST(torn_lines),
		EVENT_TEST(stays_small),
		EVENT_TEST(kept_when_it_is_over),
		EVENT_TEST(only_so_many_are_kept),
		EVENT_TEST(with_their_script),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
