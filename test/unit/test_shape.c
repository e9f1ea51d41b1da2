/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shape.h"
#include "unit.h"

static void keep(void *arg, const char *text)
{
	snprintf(arg, 200, "%s", text);
}

static int fds[] = { 0, 1, 2, 5 }, more[] = { 0, 1, 2, 4, 5, 9 },
	   fewer[] = { 0, 1, 2 };

static struct shape_process one(void)
{
	return (struct shape_process){ .pid = 1001, .parent = 1000, .threads = 3,
				       .mapped = 8 << 20, .name = "python3",
				       .fds = fds, .fd_count = 4 };
}

static void same(struct shape_process b, const char *says)
{
	struct shape_process root = { .pid = 1000, .parent = 1, .name = "root" };
	struct shape_process a[] = { root, one() }, copy[] = { root, b };
	const struct shape want = { .list = a, .count = 2 },
			   have = { .list = copy, .count = 2 };
	char text[200] = "";

	copy[0].parent = 2;
	assert_int_equal(shape_compare(&want, &have, keep, text), *says != '\0');
	assert_string_equal(text, says);
}

static void comparing(void **state)
{
	struct shape_process b = one();
	struct shape_process a = one();
	const struct shape want = { .list = &a, .count = 1 }, none = { .count = 0 };
	char text[200];

	(void)state;
	same(b, "");
	/* Criu's own descriptors and memory are no difference. */
	b.fds = more;
	b.fd_count = 6;
	b.mapped += 1 << 20;
	same(b, "");
	b = one();
	b.fds = fewer;
	b.fd_count = 3;
	same(b, "python3[1001] has lost descriptor 5");
	b = one();
	b.threads = 2;
	same(b, "python3[1001] has 2 threads, and had 3");
	b = one();
	b.parent = 1;
	same(b, "python3[1001] is a child of 1, and was one of 1000");
	b = one();
	strcpy(b.name, "sh");
	same(b, "process 1001 is sh, and was python3");
	b = one();
	b.mapped = 4 << 20;
	same(b, "python3[1001] has 4096 KiB of memory mapped, and had 8192");
	assert_int_equal(shape_compare(&want, &none, keep, text), 1);
	assert_string_equal(text, "python3[1001] is not there");
	assert_int_equal(shape_threads(&want), 3);
	assert_int_equal(shape_descriptors(&want), 4);
}

/* This process, before and after it has one descriptor less. */
static void looking(void **state)
{
	/* Out of the way of the one that looking needs. */
	int fd = fcntl(0, F_DUPFD, 100);
	const pid_t pid = getpid(), gone = -1;
	struct shape before = { .count = 0 }, after = { .count = 0 };
	char text[200] = "", want[64];
	struct err e;

	(void)state;
	assert_int_equal(shape_of(&pid, 1, &before, &e), 0);
	assert_int_equal(before.list[0].parent, getppid());
	assert_int_equal(before.list[0].threads, 1);
	close(fd);
	assert_int_equal(shape_of(&pid, 1, &after, &e), 0);
	assert_int_equal(shape_compare(&after, &before, keep, text), 0);
	assert_int_equal(shape_compare(&before, &after, keep, text), 1);
	snprintf(want, sizeof(want), "has lost descriptor %d", fd);
	assert_non_null(strstr(text, want));
	assert_int_equal(shape_of(&gone, 1, &after, &e), -1);
	shape_free(&before);
	shape_free(&after);
}

/* Named ones, once; pipes have no name. */
static void fifos(void **state)
{
	char dir[] = "/tmp/test_shape.XXXXXX", path[64];
	const pid_t pid = getpid();
	struct shape s = { .count = 0 };
	int fd, again, pair[2];
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true((fd = open(path, O_RDWR)) >= 0);
	assert_true((again = dup(fd)) >= 0);
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(shape_of(&pid, 1, &s, &e), 0);
	assert_int_equal(s.fifo_count, 1);
	assert_string_equal(s.fifos[0], path);
	shape_free(&s);
	assert_int_equal(s.fifo_count, 0);
	unlink(path);
	rmdir(dir);
	close(fd);
	close(again);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing),
		cmocka_unit_test(looking),
		cmocka_unit_test(fifos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
