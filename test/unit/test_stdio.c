/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent does with a program's output at a dump. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "frame.h"
#include "unit.h"

#define TASKS 2
#define STREAMS (TASKS * TASK_STREAMS)
#define PIECE 50000
#define TOKEN 0x1234567

static char dir[] = "/tmp/sckpt-unit-XXXXXX";

/* No stream is a file here. */
int rewind_stream(struct rewind *r, int i, int fd, struct err *e)
{
	(void)r;
	(void)i;
	(void)fd;
	return err_set(e, "not here");
}

bool rewind_shared(const struct rewind *r, int i)
{
	(void)r;
	(void)i;
	return false;
}

/* ---- tasks, and slurmstepd's ends of their standard output --------------------- */

static struct stdio io;
static struct store store;
static int readers[TASKS];

static void take(const struct spec *spec)
{
	struct err e = { "" };
	int fds[STREAMS], p[2];

	memset(fds, -1, sizeof(fds));
	for (int i = 0; i < TASKS; i++) {
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		readers[i] = p[0];
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		fds[i * TASK_STREAMS + 1] = p[1];
	}
	assert_int_equal(stdio_take(&io, spec, fds, TASKS, &e), 0);
	assert_int_equal(stdio_keep(&io, &store, true, &e), 0);
	for (int i = 0; i < TASKS; i++)
		close(fds[i * TASK_STREAMS + 1]);
}

static void let_go(void)
{
	for (int i = 0; i < STREAMS; i++) {
		close_fd(&io.s[i].inner);
		close_fd(&io.s[i].outer);
		close_fd(&io.logs.list[i].fd);
		free(io.logs.list[i].tail);
		free(io.s[i].buf);
		free(io.s[i].raw);
	}
	for (int i = 0; i < TASKS; i++)
		close_fd(&readers[i]);
	free(io.s);
	free(io.logs.list);
}

static size_t written[TASKS]; /* by each task */
static size_t got[TASKS]; /* by each reader */

/* No two stretches of that are alike. */
static char byte_at(int task, size_t at)
{
	return (char)(at * 31 + (at >> 8) * 7 + (size_t)task);
}

static void write_piece(int task)
{
	static char data[PIECE];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = byte_at(task, written[task] + i);
	assert_int_equal(write(io.s[task * TASK_STREAMS + 1].program, data, sizeof(data)),
			 sizeof(data));
	written[task] += sizeof(data);
}

static void settle(void)
{
	struct manifest m = { .job = 0 };
	struct err e = { "" };

	assert_int_equal(stdio_settle(&io, &m, &e), 0);
	for (int i = 0; i < TASKS; i++)
		assert_int_equal(m.streams[i * TASK_STREAMS + 1].length, written[i]);
	manifest_free(&m);
}

/* As a program that runs on while nobody reads what it writes. */
static void checkpoint_unread(int times)
{
	/* Of the quickest: on a busy machine one of them may be held up. */
	int64_t least = INT64_MAX;

	for (int n = 0; n < times; n++) {
		int64_t begun = clock_ns(CLOCK_MONOTONIC), took;

		for (int i = 0; i < TASKS; i++)
			write_piece(i);
		stdio_pump(&io);
		settle();
		took = clock_ns(CLOCK_MONOTONIC) - begun;
		least = took < least ? took : least;
	}
	assert_true(least * times < INT64_C(500000000));
}

static size_t read_some(int task)
{
	size_t before = got[task];
	char data[8192];
	ssize_t n;

	while ((n = read(readers[task], data, sizeof(data))) > 0)
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(data[i], byte_at(task, got[task]++));
	return got[task] - before;
}

static void nothing_of_what_is_not_read_is_lost(void **state)
{
	const struct spec spec = { .tasks = TASKS, .nodes = 1, .step = "0" };

	(void)state;
	memset(written, 0, sizeof(written));
	memset(got, 0, sizeof(got));
	take(&spec);
	checkpoint_unread(8);
	/* The programs' end, which is met behind all that they have said. */
	stdio_given(&io);
	for (int n = 0; n < 1000; n++) {
		struct pollfd p[STREAMS];

		if (n == 3)
			settle();
		if (stdio_polls(&io, p) == 0)
			break;
		stdio_pump(&io);
		read_some(0);
		/* That one stands still for longer. */
		if (n > 100)
			read_some(1);
	}
	for (int i = 0; i < TASKS; i++) {
		char none;

		assert_int_equal(got[i], written[i]);
		assert_int_equal(read(readers[i], &none, 1), 0);
	}
	let_go();
}

/* As sckpt-srun gets them: what each task has said, in pieces that say whose they are. */
static size_t read_frames(int task)
{
	static char part[TASKS][FRAME_SIZE];
	static size_t filled[TASKS];
	size_t before = got[task];
	struct frame f;
	ssize_t n;

	while ((n = read(readers[task], part[task] + filled[task],
			 FRAME_SIZE - filled[task])) > 0) {
		filled[task] += (size_t)n;
		if (filled[task] < FRAME_SIZE)
			continue;
		filled[task] = 0;
		assert_true(frame_take(part[task], TOKEN, &f));
		assert_int_equal(f.node, 0);
		assert_int_equal(f.stream, task * TASK_STREAMS + 1);
		assert_int_equal(f.at, got[task]);
		for (size_t i = 0; i < f.size; i++)
			assert_int_equal(f.data[i], byte_at(task, got[task]++));
	}
	return got[task] - before;
}

static void streams_of_a_call_are_told_apart(void **state)
{
	/* Slurm's mode is of files: none of these is one. */
	const struct spec spec = { .tasks = TASKS, .nodes = 1, .step = CALL_STEP "1",
				   .token = TOKEN, .script_out = true, .append = true };

	(void)state;
	memset(written, 0, sizeof(written));
	memset(got, 0, sizeof(got));
	take(&spec);
	checkpoint_unread(3);
	for (int n = 0; n < 10000 && got[0] + got[1] < written[0] + written[1]; n++) {
		struct pollfd p[STREAMS];

		if (n == 3)
			checkpoint_unread(1);
		assert_true(stdio_polls(&io, p) > 0);
		stdio_pump(&io);
		for (int i = 0; i < TASKS; i++)
			read_frames(i);
	}
	assert_int_equal(got[0], written[0]);
	assert_int_equal(got[1], written[1]);
	let_go();
}

static void files_that_slurm_appends_to_are_not_kept(void **state)
{
	const struct spec spec = { .tasks = TASKS, .nodes = 1, .step = CALL_STEP "1",
				   .token = TOKEN, .script_err = true, .append = true };

	(void)state;
	take(&spec);
	for (int i = 0; i < TASKS; i++) {
		assert_int_equal(io.s[i * TASK_STREAMS + 1].output, -1);
		assert_false(io.s[i * TASK_STREAMS + 1].framed);
	}
	let_go();
}

/* What could not be written for a while is in the log, whole. */
static void an_error_loses_nothing(void **state)
{
	const struct spec spec = { .tasks = TASKS, .nodes = 1, .step = "0" };
	struct rlimit full, was;

	(void)state;
	memset(written, 0, sizeof(written));
	memset(got, 0, sizeof(got));
	take(&spec);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	full = (struct rlimit){ PIECE / 2, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	for (int i = 0; i < TASKS; i++)
		write_piece(i);
	for (int n = 0; n < 100; n++) {
		stdio_pump(&io);
		for (int i = 0; i < TASKS; i++)
			read_some(i);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	settle();
	for (int i = 0; i < TASKS; i++) {
		char data[PIECE];

		assert_int_equal(got[i], PIECE);
		assert_int_equal(pread(io.logs.list[i * TASK_STREAMS + 1].fd, data, PIECE, 0), PIECE);
		for (size_t n = 0; n < PIECE; n++)
			assert_int_equal(data[n], byte_at(i, n));
	}
	let_go();
}

static void *read_slowly(void *arg)
{
	for (int n = 0; n < 200 && got[0] < written[0]; n++) {
		char data[4096];
		ssize_t more = read(readers[0], data, sizeof(data));

		if (more > 0)
			got[0] += (size_t)more;
		read_some(1);
		usleep(10000);
	}
	return arg;
}

/* Programs have ended: who reads what they said slowly gets all of it. */
static void the_end_is_waited_for(void **state)
{
	const struct spec spec = { .tasks = TASKS, .nodes = 1, .step = "0" };
	pthread_t t;

	(void)state;
	memset(written, 0, sizeof(written));
	memset(got, 0, sizeof(got));
	take(&spec);
	checkpoint_unread(6);
	stdio_given(&io);
	pthread_create(&t, NULL, read_slowly, NULL);
	stdio_flush(&io, 300, true);
	pthread_join(t, NULL);
	assert_int_equal(got[0], written[0]);
	assert_int_equal(got[1], written[1]);
	let_go();
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	store.dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return store.dir < 0;
}

static int teardown(void **state)
{
	(void)state;
	close(store.dir);
	return tree_remove(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_of_what_is_not_read_is_lost),
		cmocka_unit_test(streams_of_a_call_are_told_apart),
		cmocka_unit_test(files_that_slurm_appends_to_are_not_kept),
		cmocka_unit_test(an_error_loses_nothing),
		cmocka_unit_test(the_end_is_waited_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
