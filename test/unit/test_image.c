/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stream, with a thread that speaks as criu does. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "asks.h"
#include "sckpt/image.h"
#include "unit.h"

static char dir[] = "/tmp/sckpt-unit-XXXXXX";

/* ---- sink and source in memory -------------------------------------------- */

static struct {
	char name[300];
	char data[300000];
	size_t size, at;
	bool closed;
} images[4];
static int count;

static int sink_open(void *arg, const char *name, struct err *e)
{
	(void)arg;
	(void)e;
	snprintf(images[count].name, sizeof(images[0].name), "%s", name);
	images[count].size = 0;
	images[count].closed = false;
	return count++;
}

static int sink_pour(void *arg, int h, int pipe, struct err *e)
{
	ssize_t n = read(pipe, images[h].data + images[h].size, 4096);

	(void)arg;
	(void)e;
	if (n > 0)
		images[h].size += (size_t)n;
	return n != 0;
}

static int sink_close(void *arg, int h, struct err *e)
{
	(void)arg;
	(void)e;
	images[h].closed = true;
	return 0;
}

static int source_open(void *arg, const char *name, struct err *e)
{
	(void)arg;
	(void)e;
	for (int i = 0; i < count; i++)
		if (!strcmp(images[i].name, name))
			return i;
	return -2;
}

static int source_pour(void *arg, int h, int pipe, struct err *e)
{
	size_t left = images[h].size - images[h].at;
	ssize_t n = write(pipe, images[h].data + images[h].at,
			  left < 5000 ? left : 5000);

	(void)arg;
	(void)e;
	if (n > 0)
		images[h].at += (size_t)n;
	return images[h].at < images[h].size;
}

static void source_close(void *arg, int h)
{
	(void)arg;
	images[h].closed = true;
}

/* ---- the tests ------------------------------------------------------------- */

static void *criu_dumps(void *arg)
{
	int fd = connect_to(dir, "capture"), one[2], two[2];
	char longest[201];

	(void)arg;
	memset(longest, 'n', 200);
	longest[200] = '\0';
	if (pipe(one) < 0 || pipe(two) < 0)
		return NULL;
	/* Two at once, the first to end after the second. */
	ask_name(fd, "pages-1.img");
	send_pipe(fd, one[0]);
	ask_name(fd, longest);
	send_pipe(fd, two[0]);
	for (int i = 0; i < 50000; i++)
		if (write(one[1], "page!", 5) != 5)
			perror("page");
	if (write(two[1], "small", 5) != 5)
		perror("small");
	close(two[1]);
	close(one[1]);
	close(fd);
	return NULL;
}

static void captures(void **state)
{
	const struct image_sink sink = { NULL, sink_open, sink_pour, sink_close, NULL };
	struct stream *s;
	struct err e;
	pthread_t t;

	(void)state;
	count = 0;
	s = stream_open(dir, &sink, NULL, &e);
	assert_non_null(s);
	pthread_create(&t, NULL, criu_dumps, NULL);
	while (count < 2 || !images[0].closed || !images[1].closed) {
		struct pollfd p = { stream_fd(s), POLLIN, 0 };

		poll(&p, 1, 5000);
		assert_true(stream_step(s, &e) >= 0);
	}
	assert_int_equal(stream_drain(s, &e), 0);
	pthread_join(t, NULL);
	stream_close(s);
	assert_string_equal(images[0].name, "pages-1.img");
	assert_int_equal(images[0].size, 250000);
	assert_memory_equal(images[0].data + 249995, "page!", 5);
	assert_int_equal(strlen(images[1].name), 200);
	assert_int_equal(images[1].size, 5);
}

static void *criu_restores(void *arg)
{
	int fd = connect_to(dir, "serve"), p[2];
	uint8_t reply[6];
	char buf[4096];
	size_t *sum = arg;
	ssize_t n;

	ask_name(fd, "none.img");
	if (recv(fd, reply, 6, MSG_WAITALL) != 6 || reply[5] != 0)
		return NULL;
	ask_name(fd, "pages-1.img");
	if (recv(fd, reply, 6, MSG_WAITALL) != 6 || reply[5] != 1 || pipe(p) < 0)
		return NULL;
	send_pipe(fd, p[1]);
	while ((n = read(p[0], buf, sizeof(buf))) > 0)
		*sum += (size_t)n;
	close(fd);
	return arg;
}

static void serves(void **state)
{
	const struct image_source source = { NULL, source_open, source_pour,
					     source_close, NULL, NULL };
	struct stream *s;
	size_t sum = 0;
	struct err e;
	pthread_t t;
	void *ok;

	(void)state;
	images[0].at = 0;
	images[0].closed = false;
	s = stream_open(dir, NULL, &source, &e);
	assert_non_null(s);
	pthread_create(&t, NULL, criu_restores, &sum);
	while (!images[0].closed) {
		struct pollfd p = { stream_fd(s), POLLIN, 0 };

		poll(&p, 1, 5000);
		assert_true(stream_step(s, &e) >= 0);
	}
	pthread_join(t, &ok);
	assert_non_null(ok);
	assert_int_equal(sum, 250000);
	stream_close(s);
}

/* Criu closes its copy of the end that it has sent when it comes to it. */
static void is_done_before_criu_closes_its_end(void **state)
{
	const struct image_source source = { NULL, source_open, source_pour,
					     source_close, NULL, NULL };
	struct pollfd ready = { .events = POLLIN };
	struct err e = { "" };
	struct stream *s;
	int fd, p[2], kept;

	(void)state;
	images[1].at = 0;
	images[1].closed = false;
	assert_non_null(s = stream_open(dir, NULL, &source, &e));
	fd = connect_to(dir, "serve");
	ask_name(fd, images[1].name);
	assert_int_equal(pipe(p), 0);
	kept = dup(p[1]);
	send_pipe(fd, p[1]);
	while (!images[1].closed)
		assert_true(stream_step(s, &e) >= 0);
	ready.fd = stream_fd(s);
	assert_int_equal(poll(&ready, 1, 0), 0);
	close(kept);
	close(p[0]);
	close(fd);
	stream_close(s);
}

static void refuses_what_criu_would_not_say(void **state)
{
	static const struct {
		const char *msg;
		uint32_t size;
	} bad[] = {
		{ "\x0a\x05../ab", 7 }, { "\x0a\x03" "a/b", 5 }, { "\x0a\x00", 2 },
		{ "\x0a\x09short", 7 }, { "\x12\x01x", 3 },	  { "\x0a\x03" "a\0b", 5 },
		{ "\x0a\x02.x", 4 },
	};
	const struct image_sink sink = { NULL, sink_open, sink_pour, sink_close, NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e;
		struct stream *s = stream_open(dir, &sink, NULL, &e);
		int fd = connect_to(dir, "capture"), rc = 0;

		ask(fd, bad[i].msg, bad[i].size);
		for (int n = 0; n < 3 && rc >= 0; n++)
			rc = stream_step(s, &e);
		assert_int_equal(rc, -1);
		says(e, "not understood");
		close(fd);
		stream_close(s);
	}
	/* A length that no request has. */
	struct err e;
	struct stream *s = stream_open(dir, &sink, NULL, &e);
	int fd = connect_to(dir, "capture"), rc = 0;
	uint32_t huge = 0x7fffffff;

	assert_int_equal(write(fd, &huge, 4), 4);
	for (int n = 0; n < 3 && rc >= 0; n++)
		rc = stream_step(s, &e);
	assert_int_equal(rc, -1);
	close(fd);
	stream_close(s);
}

static int open_descriptors(void)
{
	int found = 0;

	for (int fd = 0; fd < 64; fd++)
		found += fcntl(fd, F_GETFD) >= 0;
	return found;
}

static void takes_one_pipe_of_two(void **state)
{
	const struct image_sink sink = { NULL, sink_open, sink_pour, sink_close, NULL };
	union {
		char space[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr head;
	} control = { "" };
	struct iovec iov = { (void *)"", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct err e = { "" };
	int before = open_descriptors(), p[2], fd;
	struct stream *s;

	(void)state;
	s = stream_open(dir, &sink, NULL, &e);
	fd = connect_to(dir, "capture");
	ask_name(fd, "two.img");
	assert_int_equal(pipe(p), 0);
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(p));
	memcpy(CMSG_DATA(&control.head), p, sizeof(p));
	assert_int_equal(sendmsg(fd, &msg, 0), 1);
	close(p[0]);
	close(p[1]);
	for (int n = 0; n < 3; n++)
		stream_step(s, &e);
	close(fd);
	stream_close(s);
	assert_int_equal(open_descriptors(), before);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return tree_remove(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captures),
		cmocka_unit_test(serves),
		cmocka_unit_test(is_done_before_criu_closes_its_end),
		cmocka_unit_test(refuses_what_criu_would_not_say),
		cmocka_unit_test(takes_one_pipe_of_two),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
