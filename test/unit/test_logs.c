/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent between slurmstepd and the program: output that is kept, or is not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "unit.h"

/* No stream is a file here. */
int rewind_stream(struct rewind *r, int i, int fd, struct err *e)
{
	(void)r;
	(void)i;
	(void)fd;
	return err_set(e, "not asked for");
}

bool rewind_shared(const struct rewind *r, int i)
{
	(void)r;
	(void)i;
	return false;
}

/* A step with one task, whose three streams are pipes, and its logs. */
struct at {
	struct spec spec;
	struct stdio io;
	struct store store;
	char top[32];
	int slurm[TASK_STREAMS], program[TASK_STREAMS]; /* their ends */
};

static void begin(struct at *at)
{
	int fds[TASK_STREAMS];
	struct err e;

	*at = (struct at){ .spec = { .step = "batch", .tasks = 1, .nodes = 1 },
			   .top = "/tmp/sckpt-unit-XXXXXX" };
	assert_non_null(mkdtemp(at->top));
	assert_int_equal(store_open_path(at->top, &at->store, &e), 0);
	for (int i = 0; i < TASK_STREAMS; i++) {
		int p[2];

		assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
		fds[i] = p[i != 0];
		at->slurm[i] = p[i == 0];
	}
	assert_int_equal(stdio_take(&at->io, &at->spec, fds, 1, &e), 0);
	assert_int_equal(stdio_keep(&at->io, &at->store, true, &e), 0);
	for (int i = 0; i < TASK_STREAMS; i++) {
		at->program[i] = at->io.s[i].program;
		close(fds[i]);
	}
}

static void end(struct at *at)
{
	for (int i = 0; i < TASK_STREAMS; i++) {
		close(at->slurm[i]);
		close(at->program[i]);
		close_fd(&at->io.s[i].outer);
		close_fd(&at->io.s[i].inner);
		close_fd(&at->io.logs[i]);
		free(at->io.s[i].buf);
		free(at->io.s[i].raw);
	}
	free(at->io.s);
	free(at->io.logs);
	store_close(&at->store);
	assert_int_equal(tree_remove(AT_FDCWD, at->top, NULL), 0);
}

static void say(struct at *at, const char *text)
{
	assert_int_equal(file_write(at->program[1], text, strlen(text), NULL), 0);
	stdio_pump(&at->io);
}

static void assert_said(const struct at *at, int stream, const char *text)
{
	char is[100] = "";

	assert_true(read(at->slurm[stream], is, sizeof(is) - 1) >= 0 || !*text);
	assert_string_equal(is, text);
}

/* A log that had an error is none that can be made durable, whoever was told of it. */
static void a_log_that_had_an_error(void **state)
{
	struct manifest m = { .job = 0 };
	struct err e = { "" };
	struct at at;
	int log;

	(void)state;
	begin(&at);
	say(&at, "one\n");
	assert_int_equal(stdio_settle(&at.io, &m, &e), 0);
	assert_int_equal(m.streams[1].length, 4);
	assert_int_equal(stdio_sync(&at.io, &e), 0);
	/* While that dump is being written, the program goes on. */
	log = at.io.logs[1];
	at.io.logs[1] = open("/dev/full", O_WRONLY | O_CLOEXEC);
	say(&at, "two\n");
	close(at.io.logs[1]);
	at.io.logs[1] = log;
	say(&at, "three\n");
	assert_said(&at, 1, "one\ntwo\nthree\n");
	assert_int_equal(stdio_sync(&at.io, &e), -1);
	says(e, "could not be kept");
	says(e, strerror(ENOSPC));
	assert_int_equal(lseek(log, 0, SEEK_END), 4);
	manifest_free(&m);
	assert_int_equal(stdio_settle(&at.io, &m, &e), -1);
	says(e, strerror(ENOSPC));
	manifest_free(&m);
	end(&at);
}

/* What is not in a log any more is not said as zeros. */
static void a_log_that_is_too_short(void **state)
{
	struct manifest m = { .job = 0 };
	struct err e = { "" };
	struct at at;

	(void)state;
	begin(&at);
	say(&at, "one\n");
	assert_int_equal(file_write(at.program[2], "err\n", 4, NULL), 0);
	assert_int_equal(stdio_settle(&at.io, &m, &e), 0);
	assert_said(&at, 1, "one\n");
	assert_said(&at, 2, "err\n");
	say(&at, "two\n");
	assert_said(&at, 1, "two\n");
	assert_int_equal(stdio_recall(&at.io, &m, NULL, &e), 0);
	assert_said(&at, 1, "one\n");
	assert_said(&at, 2, "err\n");
	assert_int_equal(ftruncate(at.io.logs[2], 3), 0);
	assert_int_equal(stdio_recall(&at.io, &m, NULL, &e), -1);
	says(e, "only 3 of 4 bytes");
	assert_said(&at, 1, "");
	assert_said(&at, 2, "");
	assert_int_equal(lseek(at.io.logs[2], 0, SEEK_END), 3);
	manifest_free(&m);
	end(&at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_that_had_an_error),
		cmocka_unit_test(a_log_that_is_too_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
