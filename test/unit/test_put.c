/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A restore's large reads: the stream and a reader's images on one side, and on the other a
 * process that reads as criu does; its read() is plugin/criu's. */
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "asks.h"
#include "images.h"
#include "sckpt/put.h"

#define PAGE IMAGE_PAGE
#define SIZE ((size_t)40 << 20)

static char top[] = "/tmp/sckpt-unit-XXXXXX";
static int dir;
static struct content image;
static struct image_set set;
static const struct image_options usual = { .threads = 2, .buffer = 4 << 20, .level = 1 };

static int setup(void **state)
{
	struct err e = { "" };

	(void)state;
	if (!mkdtemp(top) || (dir = open(top, O_RDONLY | O_DIRECTORY)) < 0)
		return -1;
	image = (struct content){ "pages-1.img", malloc(SIZE), SIZE };
	if (!image.data)
		return -1;
	fill_random(image.data, SIZE / 2, 5);
	memset(image.data + SIZE / 4, 0, SIZE / 8);
	fill_text(image.data + SIZE / 2, SIZE / 2, 6);
	return write_set(dir, "1-0", &usual, NULL, &image, 1, &set, &e);
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	free(image.data);
	image_set_free(&set);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

/* ---- criu's part -------------------------------------------------------------- */

static int open_image(void)
{
	int fd = connect_to(top, "serve"), p[2];
	char reply[6];

	if (fd < 0 || pipe(p) < 0)
		return -1;
	ask_name(fd, image.name);
	if (recv(fd, reply, sizeof(reply), MSG_WAITALL) != sizeof(reply) || !reply[5])
		return -1;
	send_pipe(fd, p[1]);
	close(fd);
	return p[0];
}

static bool read_whole(int fd, uint8_t *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, to + done, size - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* In turn pieces of these sizes, in pages; the last one again and again. Its exit status. */
static int restore(const unsigned *sizes)
{
	uint8_t *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
	int fd = open_image();
	size_t done = 0;
	char byte;

	if (fd < 0 || memory == MAP_FAILED)
		return 2;
	while (done < SIZE) {
		size_t n = *sizes * PAGE < SIZE - done ? *sizes * PAGE : SIZE - done;

		if (!read_whole(fd, memory + done, n))
			return 3;
		done += n;
		sizes += sizes[1] != 0;
	}
	if (memcmp(memory, image.data, SIZE))
		return 4;
	return read(fd, &byte, 1) == 0 ? 0 : 5;
}

/* ---- the agent's part ------------------------------------------------------------ */

static uint64_t put_bytes, put_calls;
static int fail_at;
static struct image_source inner;

static int counted_put(void *arg, int handle, pid_t pid, uint64_t to, uint64_t size,
		       struct err *e)
{
	int rc;

	put_calls++;
	if (fail_at && put_calls == (uint64_t)fail_at)
		return 0;
	rc = inner.put(arg, handle, pid, to, size, e);
	if (rc == 1)
		put_bytes += size;
	return rc;
}

/* Returns the child's exit status. */
static int serve(const unsigned *sizes, const struct image_options *options)
{
	struct err e = { "" };
	struct image_reader *r = image_reader_open(dir, &set, options, &e);
	struct image_source source;
	struct stream *s;
	int status = -1;
	pid_t pid;

	assert_non_null(r);
	inner = source = image_reader_source(r);
	source.put = counted_put;
	put_bytes = put_calls = 0;
	assert_non_null(s = stream_open(top, NULL, &source, &e));
	if ((pid = fork()) == 0) {
		char path[100];

		snprintf(path, sizeof(path), "%s/" PUT_SOCKET, top);
		setenv("SCKPT_PUT", path, 1);
		_exit(restore(sizes));
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct pollfd p = { stream_fd(s), POLLIN, 0 };

		poll(&p, 1, 20);
		if (stream_step(s, &e) < 0)
			fail_msg("%s", e.text);
	}
	stream_close(s);
	image_reader_close(r);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void goes_past_the_pipe(void **state)
{
	const unsigned all[] = { SIZE / PAGE, 0 };

	(void)state;
	assert_int_equal(serve(all, &usual), 0);
	/* But for what a pipe held when it was asked. */
	assert_in_range(put_bytes, SIZE - (1 << 20), SIZE);
}

static void in_turn_with_the_pipe(void **state)
{
	const unsigned sizes[] = { 1, 3, 1500, 2, 1024, 1, 1023, 1, 1, 2049, 700, 0 };
	const struct image_options one = { .threads = 1, .buffer = 1 << 20, .level = 1 };

	(void)state;
	assert_int_equal(serve(sizes, &usual), 0);
	assert_int_equal(put_calls, 3);
	assert_in_range(put_bytes, (1500 + 1024 + 2049) * PAGE - (3 << 20),
			(1500 + 1024 + 2049) * PAGE);
	assert_int_equal(serve(sizes, &one), 0);
	assert_int_equal(put_calls, 3);
}

/* It reads, then, and asks no more. */
static void refused(void **state)
{
	const unsigned sizes[] = { 2000, 0 };

	(void)state;
	fail_at = 1;
	assert_int_equal(serve(sizes, &usual), 0);
	assert_true(put_calls >= 1);
	fail_at = 3;
	assert_int_equal(serve(sizes, &usual), 0);
	fail_at = 0;
}

/* Nobody may make the agent wait, or put anything, in the name of another image. */
static void other_requests(void **state)
{
	struct put_request r = { .pipe = 1 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct err e = { "" };
	struct image_reader *reader = image_reader_open(dir, &set, &usual, &e);
	struct image_source source = image_reader_source(reader);
	struct stream *s = stream_open(top, NULL, &source, &e);
	char byte;

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" PUT_SOCKET, top);
	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		size_t size = i == 1 ? sizeof(r) - 1 : sizeof(r);

		r.size = i == 2;
		assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
		assert_int_equal(send(fd, &r, size, 0), size);
		assert_int_equal(stream_step(s, &e), 1);
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
		close(fd);
	}
	stream_close(s);
	image_reader_close(reader);
}

static int asking;

static int put_for_nobody(void *arg, int handle, pid_t pid, uint64_t to, uint64_t size,
			  struct err *e)
{
	(void)arg;
	(void)handle;
	(void)pid;
	(void)to;
	(void)size;
	(void)e;
	close_fd(&asking);
	return 1;
}

/* Who was not told reads on as if nothing had been put. */
static void answer_that_is_not_heard(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct err e = { "" };
	struct image_reader *reader = image_reader_open(dir, &set, &usual, &e);
	struct image_source source = image_reader_source(reader);
	struct put_request r = { .size = 0 };
	struct stream *s;
	struct stat st;
	int fd, p[2];

	(void)state;
	source.put = put_for_nobody;
	assert_non_null(s = stream_open(top, NULL, &source, &e));
	fd = connect_to(top, "serve");
	ask_name(fd, image.name);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(fstat(p[0], &st), 0);
	send_pipe(fd, p[1]);
	for (int i = 0; i < 3; i++)
		assert_true(stream_step(s, &e) >= 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" PUT_SOCKET, top);
	asking = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(connect(asking, (struct sockaddr *)&addr, sizeof(addr)), 0);
	r.pipe = st.st_ino;
	assert_int_equal(send(asking, &r, sizeof(r), 0), sizeof(r));
	r.size = PAGE;
	assert_int_equal(send(asking, &r, sizeof(r), 0), sizeof(r));
	assert_int_equal(stream_step(s, &e), -1);
	says(e, "could not be told");
	close(p[0]);
	close(fd);
	stream_close(s);
	image_reader_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_past_the_pipe),
		cmocka_unit_test(in_turn_with_the_pipe),
		cmocka_unit_test(refused),
		cmocka_unit_test(other_requests),
		cmocka_unit_test(answer_that_is_not_heard),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
