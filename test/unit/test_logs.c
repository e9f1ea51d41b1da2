/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent between slurmstepd and the program: output that is kept, or is not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "unit.h"

/* None is restored here that is a file. */
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

/* What the server has of a log when it says once that it could not write it; -1: all. */
static off_t server_has = -1;
/* The next time it answers when there is a byte in that pipe; -1: at once. */
static int server_waits = -1;

int fsync(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	int pipe = __atomic_exchange_n(&server_waits, -1, __ATOMIC_ACQ_REL);
	char c;

	if (pipe >= 0)
		assert_int_equal(read(pipe, &c, 1), 1);
	if (server_has < 0 || size <= server_has)
		return 0;
	/* The rest are zeros. */
	assert_int_equal(ftruncate(fd, server_has), 0);
	assert_int_equal(ftruncate(fd, size), 0);
	server_has = -1;
	errno = EIO;
	return -1;
}

/* A step with one task, whose three streams are pipes, or its output a file, and its logs. */
struct at {
	struct spec spec;
	struct stdio io;
	struct store store;
	char top[32];
	int slurm[TASK_STREAMS], program[TASK_STREAMS]; /* their ends */
};

static void begin_with(struct at *at, int output)
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
	if (output >= 0) {
		close(fds[1]);
		fds[1] = output;
	}
	assert_int_equal(stdio_take(&at->io, &at->spec, fds, 1, &e), 0);
	assert_int_equal(stdio_keep(&at->io, &at->store, true, &e), 0);
	for (int i = 0; i < TASK_STREAMS; i++) {
		at->program[i] = at->io.s[i].program;
		close(fds[i]);
	}
}

static void begin(struct at *at)
{
	begin_with(at, -1);
}

static void end(struct at *at)
{
	for (int i = 0; i < TASK_STREAMS; i++) {
		close(at->slurm[i]);
		close(at->program[i]);
		close_fd(&at->io.s[i].outer);
		close_fd(&at->io.s[i].inner);
		close_fd(&at->io.logs.list[i].fd);
		free(at->io.logs.list[i].tail);
		free(at->io.s[i].buf);
		free(at->io.s[i].raw);
	}
	free(at->io.s);
	free(at->io.logs.list);
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
	assert_int_equal(stdio_whole(&at.io, &m, &e), 0);
	assert_int_equal(stdio_recall(&at.io, &m, NULL, &e), 0);
	assert_said(&at, 1, "one\n");
	assert_said(&at, 2, "err\n");
	/* Something could still fail, and a newer one be tried. */
	assert_int_equal(lseek(at.io.logs.list[1].fd, 0, SEEK_END), 8);
	assert_int_equal(stdio_goes_on(&at.io, &at.store, 1, &m, &e), 0);
	assert_int_equal(lseek(at.io.logs.list[1].fd, 0, SEEK_END), 4);
	assert_int_equal(ftruncate(at.io.logs.list[2].fd, 3), 0);
	assert_int_equal(stdio_whole(&at.io, &m, &e), -1);
	says(e, "only 3 of 4 bytes");
	assert_int_equal(lseek(at.io.logs.list[2].fd, 0, SEEK_END), 3);
	manifest_free(&m);
	end(&at);
}

/* Run 0 was only thought dead, and run 1 goes on from its checkpoint: what run 0 keeps of its
 * output, and cuts off, is not run 1's. */
static void a_log_is_of_one_run(void **state)
{
	struct manifest m = { .generation = 3 };
	struct err e = { "" };
	char is[100] = "";
	struct at at;
	int late;

	(void)state;
	begin(&at);
	say(&at, "one\n");
	assert_int_equal(stdio_settle(&at.io, &m, &e), 0);
	say(&at, "two\n");
	late = dup(at.io.logs.list[1].fd);
	assert_int_equal(stdio_goes_on(&at.io, &at.store, 1, &m, &e), 0);
	say(&at, "three\n");
	assert_int_equal(output_cut(late, 4, &e), 0);
	assert_int_equal(file_write(late, "late\n", 5, &e), 0);
	close(late);
	say(&at, "four\n");
	late = openat(at.store.dir, "output.1", O_RDONLY);
	assert_true(read(late, is, sizeof(is) - 1) > 0);
	assert_string_equal(is, "one\nthree\nfour\n");
	close(late);
	manifest_free(&m);
	end(&at);
}

/* Lines, each of which is another, until there are so many bytes of them. */
static void write_lines(int fd, off_t size)
{
	static int number;

	while (lseek(fd, 0, SEEK_END) < size)
		assert_true(dprintf(fd, "line %d\n", number++) > 0);
}

/* A file that is larger cannot be written. */
static void limit_files(rlim_t size)
{
	struct rlimit r;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void assert_same(int a, int b)
{
	off_t size = lseek(a, 0, SEEK_END);

	assert_int_equal(lseek(b, 0, SEEK_END), size);
	for (off_t at = 0; at < size; at += 4096) {
		char one[4096] = "", other[4096] = "";

		assert_true(pread(a, one, sizeof(one), at) > 0);
		assert_true(pread(b, other, sizeof(other), at) > 0);
		assert_memory_equal(one, other, sizeof(one));
	}
}

static int dump(struct at *at, struct err *e)
{
	struct manifest m = { .job = 0 };
	int rc = stdio_settle(&at->io, &m, e);

	if (rc == 0)
		rc = stdio_sync(&at->io, e);
	if (rc == 0)
		assert_int_equal(m.streams[1].length, lseek(at->io.logs.list[1].fd, 0, SEEK_END));
	manifest_free(&m);
	return rc;
}

static int begin_file(struct at *at)
{
	struct err e;
	int file = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	begin_with(at, fcntl(file, F_DUPFD_CLOEXEC, 0));
	write_lines(file, 1 << 20);
	assert_int_equal(dump(at, &e), 0);
	write_lines(file, 5 << 20);
	return file;
}

/* The disk is full in the middle of a file's copy: it is begun where the last good dump ended. */
static void a_copy_that_came_to_nothing(void **state)
{
	struct err e = { "" };
	struct at at;
	int file;

	(void)state;
	file = begin_file(&at);
	limit_files((5 << 20) / 2);
	assert_int_equal(dump(&at, &e), -1);
	says(e, strerror(EFBIG));
	limit_files(RLIM_INFINITY);
	assert_int_equal(dump(&at, &e), 0);
	assert_same(at.io.logs.list[1].fd, file);
	close(file);
	end(&at);
}

/* The kernel says once that bytes of a log are lost: they are copied again. */
static void a_file_that_did_not_reach_the_disk(void **state)
{
	struct err e = { "" };
	struct at at;
	int file;

	(void)state;
	file = begin_file(&at);
	server_has = 2 << 20;
	assert_int_equal(dump(&at, &e), -1);
	says(e, strerror(EIO));
	assert_int_equal(dump(&at, &e), 0);
	assert_same(at.io.logs.list[1].fd, file);
	close(file);
	end(&at);
}

static void assert_log(const struct at *at, const char *text)
{
	char is[100] = "";

	assert_true(pread(at->io.logs.list[1].fd, is, sizeof(is) - 1, 0) >= 0);
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
	log = at.io.logs.list[1].fd;
	at.io.logs.list[1].fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	say(&at, "two\n");
	close(at.io.logs.list[1].fd);
	at.io.logs.list[1].fd = log;
	say(&at, "three\n");
	assert_said(&at, 1, "one\ntwo\nthree\n");
	assert_int_equal(stdio_sync(&at.io, &e), -1);
	says(e, "could not be kept");
	says(e, strerror(ENOSPC));
	assert_int_equal(lseek(log, 0, SEEK_END), 4);
	manifest_free(&m);
	assert_int_equal(dump(&at, &e), 0);
	assert_log(&at, "one\ntwo\nthree\n");
	end(&at);
}

/* What came by a pipe is nowhere else but in memory. */
static void a_pipe_that_did_not_reach_the_disk(void **state)
{
	struct err e = { "" };
	struct at at;

	(void)state;
	begin(&at);
	say(&at, "one\n");
	assert_int_equal(dump(&at, &e), 0);
	say(&at, "two\n");
	server_has = 4;
	assert_int_equal(dump(&at, &e), -1);
	says(e, strerror(EIO));
	says(e, "tried again");
	assert_int_equal(dump(&at, &e), 0);
	assert_log(&at, "one\ntwo\n");
	/* Of what is on the disk nothing is in memory. */
	assert_int_equal(at.io.logs.list[1].held, 0);
	end(&at);
}

/* A line is printed while there is no room: no dump counts until it could be written. */
static void a_full_disk(void **state)
{
	struct err e = { "" };
	struct at at;

	(void)state;
	begin(&at);
	say(&at, "one\n");
	assert_int_equal(dump(&at, &e), 0);
	limit_files(6); /* in the middle of the next */
	say(&at, "two\n");
	say(&at, "three\n");
	assert_said(&at, 1, "one\ntwo\nthree\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(dump(&at, &e), -1);
		says(e, "could not be kept");
		says(e, strerror(EFBIG));
		says(e, "tried again");
	}
	limit_files(RLIM_INFINITY);
	assert_int_equal(dump(&at, &e), 0);
	assert_log(&at, "one\ntwo\nthree\n");
	/* Or when the program says something after a while. */
	limit_files(15);
	say(&at, "four\n");
	limit_files(RLIM_INFINITY);
	say(&at, "five\n");
	assert_log(&at, "one\ntwo\nthree\nf");
	at.io.logs.again = 0;
	say(&at, "six\n");
	assert_log(&at, "one\ntwo\nthree\nfour\nfive\nsix\n");
	assert_int_equal(dump(&at, &e), 0);
	end(&at);
}

/* Returns how many bytes; each of 64 KiB is another. */
static int64_t add(struct at *at, int64_t size)
{
	static char data[65536];
	int64_t n = 0;

	for (; n < size; n += (int64_t)sizeof(data)) {
		memset(data, (int)(n >> 16), sizeof(data));
		outlog_add(&at->io.logs, 1, data, sizeof(data));
	}
	return n;
}

static void too_much_waits(void **state)
{
	struct err e = { "" };
	struct at at;

	(void)state;
	begin(&at);
	limit_files(0);
	add(&at, OUTLOG_MOST);
	assert_int_equal(dump(&at, &e), -1);
	says(e, "tried again");
	add(&at, 1);
	limit_files(RLIM_INFINITY);
	assert_int_equal(dump(&at, &e), -1);
	says(e, strerror(EFBIG));
	says(e, "more than 64 MiB");
	says(e, "not saved any more");
	assert_null(at.io.logs.list[1].tail);
	end(&at);
}

/* The thread is through. */
static void wait_synced(struct outlogs *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->syncing)
		pthread_cond_wait(&l->synced, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

/* The memory is the job's: much output is made durable without a dump. */
static void much_output(void **state)
{
	struct err e = { "" };
	struct at at;
	int64_t n, more;

	(void)state;
	begin(&at);
	/* What comes while the thread is at work waits for the next time. */
	n = more = add(&at, OUTLOG_HELD + 1);
	wait_synced(&at.io.logs);
	assert_true(at.io.logs.list[1].held < OUTLOG_HELD);
	server_has = n + 70000;
	n += add(&at, OUTLOG_HELD + 100000);
	wait_synced(&at.io.logs);
	assert_int_equal(server_has, -1);
	assert_true(at.io.logs.list[1].held >= OUTLOG_HELD);
	assert_int_equal(dump(&at, &e), 0);
	assert_int_equal(lseek(at.io.logs.list[1].fd, 0, SEEK_END), n);
	for (int64_t i = more; i < n; i += 65536) {
		char c = 0;

		assert_int_equal(pread(at.io.logs.list[1].fd, &c, 1, i), 1);
		assert_int_equal(c, (char)((i - more) >> 16));
	}
	end(&at);
}

static struct {
	struct outlog *log;
	int pipe;
} hanging;

/* When no more can wait for it. */
static void *let_the_server_answer(void *arg)
{
	while (__atomic_load_n(&hanging.log->held, __ATOMIC_ACQUIRE) < OUTLOG_MOST - 65536)
		usleep(1000);
	usleep(100000);
	assert_int_equal(write(hanging.pipe, "", 1), 1);
	return arg;
}

static void *sync_beside(void *arg)
{
	static struct err e;

	return stdio_sync(arg, &e) < 0 ? &e : NULL;
}

/* That is no error: the program waits when much of it waits. */
static void a_sync_that_hangs(void **state)
{
	struct manifest m = { .job = 0 };
	pthread_t server, syncs;
	struct err e = { "" };
	void *failed;
	struct at at;
	int p[2];

	(void)state;
	begin(&at);
	say(&at, "one\n");
	assert_int_equal(stdio_settle(&at.io, &m, &e), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	server_waits = p[0];
	pthread_create(&syncs, NULL, sync_beside, &at.io);
	while (__atomic_load_n(&server_waits, __ATOMIC_ACQUIRE) >= 0)
		usleep(1000);
	hanging.log = &at.io.logs.list[1];
	hanging.pipe = p[1];
	pthread_create(&server, NULL, let_the_server_answer, NULL);
	add(&at, OUTLOG_MOST + OUTLOG_HELD);
	pthread_join(syncs, &failed);
	pthread_join(server, NULL);
	assert_null(failed);
	assert_int_equal(dump(&at, &e), 0);
	close(p[0]);
	close(p[1]);
	manifest_free(&m);
	end(&at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_that_is_too_short),
		cmocka_unit_test(a_log_is_of_one_run),
		cmocka_unit_test(a_copy_that_came_to_nothing),
		cmocka_unit_test(a_file_that_did_not_reach_the_disk),
		cmocka_unit_test(a_log_that_had_an_error),
		cmocka_unit_test(a_pipe_that_did_not_reach_the_disk),
		cmocka_unit_test(a_full_disk),
		cmocka_unit_test(too_much_waits),
		cmocka_unit_test(much_output),
		cmocka_unit_test(a_sync_that_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
