/* SPDX-License-Identifier: GPL-2.0-or-later */
/* close() here is drain.c's, as it is in criu. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_before_it_is_closed),
		cmocka_unit_test(test_nobody_reads),
		cmocka_unit_test(test_written),
	};

	return cmocka_run_group_tests_name("drain", tests, NULL, NULL);
}
