/* SPDX-License-Identifier: GPL-2.0-or-later */
/* close() and splice() here are plugin/criu's, as they are in criu. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sckpt/image.h"
#include "sckpt/lanes.h"
#include "unit.h"

#define SIZE ((size_t)64 << 10)

/* As parasite and criu do it: memory, its pipe, the image's pipe. */
static void lend(char *memory, int image)
{
	struct iovec iov = { memory, SIZE };
	int pages[2];

	assert_int_equal(pipe(pages), 0);
	assert_int_equal(vmsplice(pages[1], &iov, 1, 0), SIZE);
	assert_int_equal(splice(pages[0], NULL, image, NULL, SIZE, SPLICE_F_MOVE), SIZE);
	close(pages[0]);
	close(pages[1]);
}

static void image_pipe(int image[2])
{
	assert_int_equal(pipe(image), 0);
	assert_true(fcntl(image[1], F_SETPIPE_SZ, 2 * SIZE) >= (int)(2 * SIZE));
}

static void *read_late(void *arg)
{
	const struct timespec late = { 0, 20000000 };
	int fd = *(int *)arg;
	char *data = malloc(SIZE);
	size_t got = 0;
	ssize_t n;

	while (data && got < SIZE) {
		nanosleep(&late, NULL);
		if ((n = read(fd, data + got, SIZE / 4)) <= 0)
			break;
		got += (size_t)n;
	}
	return data;
}

static void test_read_before_it_is_closed(void **state)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t reader;
	int image[2];
	void *data;

	(void)state;
	assert_true(memory != MAP_FAILED);
	memset(memory, 'p', SIZE);
	image_pipe(image);
	lend(memory, image[1]);
	assert_int_equal(pthread_create(&reader, NULL, read_late, &image[0]), 0);
	close(image[1]);
	memset(memory, 0xcc, SIZE);
	pthread_join(reader, &data);
	memset(memory, 'p', SIZE);
	assert_memory_equal(data, memory, SIZE);
	free(data);
	munmap(memory, SIZE);
	close(image[0]);
}

static void test_nobody_reads(void **state)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int image[2];

	(void)state;
	assert_true(memory != MAP_FAILED);
	image_pipe(image);
	lend(memory, image[1]);
	close(image[0]);
	assert_int_equal(close(image[1]), 0);
	munmap(memory, SIZE);
}

/* What was written, and not lent, is nobody's memory. */
static void test_written(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(close(p[1]), 0);
	close(p[0]);
	assert_int_equal(close(-1), -1);
}

/* ---- by lanes ------------------------------------------------------------------ */

#define MIB ((size_t)1 << 20)
#define PIECES 40

static char top[] = "/tmp/sckpt-unit-XXXXXX";
static uint8_t got[(PIECES + 2) * MIB];
static size_t got_size;
static bool closed;

static int sink_open(void *arg, const char *name, struct err *e)
{
	(void)arg;
	(void)name;
	(void)e;
	return 0;
}

static int sink_pour(void *arg, int handle, int pipe, struct err *e)
{
	(void)arg;
	(void)handle;
	for (;;) {
		ssize_t n = read(pipe, got + got_size, sizeof(got) - got_size);

		if (n < 0)
			return errno == EAGAIN ? 1 : err_sys(e, "read");
		if (n == 0)
			return 0;
		got_size += (size_t)n;
	}
}

static int sink_close(void *arg, int handle, struct err *e)
{
	(void)arg;
	(void)handle;
	(void)e;
	closed = true;
	return 0;
}

static int connect_to(const char *name, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", top, name);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : fd;
}

static int open_image(void)
{
	static const char ask[] = "\x0d\0\0\0\x0a\x0bpages-1.img";
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd = connect_to("streamer-capture.sock", SOCK_STREAM), p[2];

	if (fd < 0 || pipe(p) < 0 || send(fd, ask, sizeof(ask) - 1, 0) != sizeof(ask) - 1)
		return -1;
	CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &p[0], sizeof(int));
	if (sendmsg(fd, &msg, 0) != 1)
		return -1;
	syscall(SYS_close, p[0]);
	return p[1];
}

static bool lend_all(char *memory, size_t size, int image)
{
	while (size) {
		struct iovec iov = { memory, size < MIB ? size : MIB };
		int pages[2];
		ssize_t n, moved;

		if (pipe(pages) < 0)
			return false;
		fcntl(pages[1], F_SETPIPE_SZ, MIB);
		n = vmsplice(pages[1], &iov, 1, 0);
		for (ssize_t left = n; left > 0; left -= moved)
			if ((moved = splice(pages[0], NULL, image, NULL, (size_t)left,
					    SPLICE_F_MOVE)) <= 0)
				return false;
		syscall(SYS_close, pages[0]);
		syscall(SYS_close, pages[1]);
		memory += n;
		size -= (size_t)n;
	}
	return true;
}

/* Criu: a little, much, a little; once it has closed the image it writes to the memory. */
static int dump(void)
{
	size_t size = (PIECES + 1) * MIB;
	char path[100], *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int image = open_image();

	if (memory == MAP_FAILED || image < 0)
		return 2;
	snprintf(path, sizeof(path), "%s/" LANES_SOCKET, top);
	setenv("SCKPT_LANES", path, 1);
	for (size_t i = 0; i < size; i += sizeof(uint32_t))
		*(uint32_t *)(memory + i) = (uint32_t)i;
	if (!lend_all(memory, 4096, image) ||
	    !lend_all(memory + 4096, PIECES * MIB, image) ||
	    !lend_all(memory + 4096 + PIECES * MIB, 8192, image))
		return 3;
	close(image);
	memset(memory, 0xcc, size);
	return 0;
}

static int serve(int (*criu)(void), struct err *e)
{
	const struct image_sink sink = { NULL, sink_open, sink_pour, sink_close };
	struct stream *s = stream_open(top, &sink, NULL, e);
	int status = -1, rc = 0;
	pid_t pid;

	assert_non_null(s);
	got_size = 0;
	closed = false;
	if ((pid = fork()) == 0)
		_exit(criu());
	while (waitpid(pid, &status, WNOHANG) == 0 && rc >= 0) {
		struct pollfd p = { stream_fd(s), POLLIN, 0 };

		poll(&p, 1, 20);
		rc = stream_step(s, e);
	}
	if (rc >= 0)
		rc = stream_drain(s, e);
	stream_close(s);
	if (rc < 0)
		waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_by_lanes(void **state)
{
	struct err e = { "" };

	(void)state;
	assert_int_equal(serve(dump, &e), 0);
	assert_true(closed);
	assert_int_equal(got_size, PIECES * MIB + 3 * 4096);
	for (size_t i = 0; i < got_size; i += sizeof(uint32_t))
		if (*(uint32_t *)(got + i) != (uint32_t)i)
			fail_msg("byte %zu", i);
}

static int speaks_of_no_image(void)
{
	struct lanes_message m = { .size = 0 };
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd = connect_to(LANES_SOCKET, SOCK_SEQPACKET), p[2];

	if (fd < 0 || pipe(p) < 0)
		return 2;
	CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &p[0], sizeof(int));
	m.size = 0;
	if (sendmsg(fd, &msg, 0) != (ssize_t)sizeof(m))
		return 3;
	m.pipe = 1;
	m.size = 4096;
	if (send(fd, &m, sizeof(m), 0) != (ssize_t)sizeof(m))
		return 4;
	return recv(fd, &byte, 1, 0) == 0 ? 0 : 5;
}

static void test_of_no_image(void **state)
{
	struct err e = { "" };

	(void)state;
	assert_int_equal(serve(speaks_of_no_image, &e), 0);
	assert_non_null(strstr(e.text, "an image that is not open"));
}

static int make_top(void **state)
{
	(void)state;
	return mkdtemp(top) ? 0 : -1;
}

static int remove_top(void **state)
{
	(void)state;
	return rmdir(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_before_it_is_closed),
		cmocka_unit_test(test_nobody_reads),
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_by_lanes),
		cmocka_unit_test(test_of_no_image),
	};

	return cmocka_run_group_tests_name("drain", tests, make_top, remove_top);
}
