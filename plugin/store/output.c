/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program's past output, kept for the day Slurm truncates its files. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"

#define BLOCK (1 << 20)
/* The longest line of slurmstepd's that is looked for. */
#define LINE_MAX_STEPD 512

static void log_name(int number, char name[32])
{
	snprintf(name, 32, "output.%d", number);
}

int output_open(const struct store *store, int number, bool make,
		struct err *e)
{
	char name[32];
	int fd;

	log_name(number, name);
	fd = openat(store->dir, name,
		    O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC |
			    (make ? O_CREAT : 0),
		    0600);
	return fd < 0 ? err_sys(e, "%s/%s", store->path, name) : fd;
}

int output_open_new(const struct store *store, int number, struct err *e)
{
	char name[32];

	log_name(number, name);
	if (unlinkat(store->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "%s/%s", store->path, name);
	return output_open(store, number, true, e);
}

/* Does the line say that this job, or a step of it, was cancelled (req.c,
 * _handle_signal_container)? Returns the length of the words with the newline, or 0. */
static size_t says_cancelled(const char *words, size_t size, uint32_t job)
{
	const char *nl = memchr(words, '\n', size < LINE_MAX_STEPD ? size :
							     LINE_MAX_STEPD);
	char line[LINE_MAX_STEPD + 1], *at = line, *end;
	unsigned long number;
	size_t n;

	if (!nl)
		return 0;
	n = (size_t)(nl - words);
	memcpy(line, words, n);
	line[n] = '\0';
	if (!strncmp(at, "JOB ", 4))
		at += 4;
	else if (!strncmp(at, "STEP ", 5))
		at += 5;
	else
		return 0;
	number = strtoul(at, &end, 10);
	if (number != job || end == at || (*end != ' ' && *end != '.') ||
	    !strstr(end, " CANCELLED AT ") || n < 4 ||
	    strcmp(line + n - 4, " ***"))
		return 0;
	return n + 1;
}

size_t output_strip(char *buf, size_t size, uint32_t job)
{
	char *at = buf, *end = buf + size, *begin, *words;

	while ((begin = stepd_line(at, (size_t)(end - at), &words))) {
		size_t n = says_cancelled(words, (size_t)(end - words), job);

		if (!n) {
			at = words;
			continue;
		}
		memmove(begin, words + n, (size_t)(end - words) - n);
		end -= words + n - begin;
		at = begin;
	}
	return (size_t)(end - buf);
}

int64_t output_copy(int log, int fd, int64_t from, uint32_t job, struct err *e)
{
	cleanup_free char *buf = malloc(BLOCK);
	struct stat st;
	int64_t at = from;

	if (!buf)
		return err_sys(e, "cannot keep the program's output");
	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot keep the program's output");
	while (at < st.st_size) {
		size_t want = st.st_size - at < BLOCK ?
				      (size_t)(st.st_size - at) :
				      BLOCK;
		ssize_t n = pread(fd, buf, want, at);
		size_t take, left;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot keep the program's output");
		if (n == 0)
			break;
		/* Slurmstepd's lines end in a newline: cut after one, so that
		 * none is cut in two. */
		take = (size_t)n;
		if (at + n < st.st_size) {
			const char *nl = memrchr(buf, '\n', take);

			if (nl)
				take = (size_t)(nl - buf) + 1;
			else if (take > LINE_MAX_STEPD)
				take -= LINE_MAX_STEPD;
		}
		left = output_strip(buf, take, job);
		if (file_write(log, buf, left, e) < 0)
			return err_context(e, "cannot keep the program's output");
		at += (int64_t)take;
	}
	return at - from;
}

int output_whole(int log, int64_t length, struct err *e)
{
	struct stat st;

	if (fstat(log, &st) < 0)
		return err_sys(e, "cannot bring back the program's output");
	return st.st_size < length ?
		       err_set(e, "of the program's output only %jd of %jd bytes are in the store",
			       (intmax_t)st.st_size, (intmax_t)length) :
		       0;
}

int output_cut(int log, int64_t length, struct err *e)
{
	if (output_whole(log, length, e) < 0)
		return -1;
	return ftruncate(log, length) < 0 ?
		       err_sys(e, "cannot cut the log of the program's output") :
		       0;
}

/* Durably, into an empty file. */
static int copy_log(int log, int64_t length, int to, struct err *e)
{
	int flags = fcntl(to, F_GETFL);

	/* The kernel copies to no file in append mode. */
	return file_copy(log, 0, to, length, e) < 0 || fsync(to) < 0 || flags < 0 ||
			       fcntl(to, F_SETFL, flags | O_APPEND) < 0 ?
		       -1 :
		       0;
}

int output_take_over(const struct store *store, int number, int from, int run,
		     int64_t length, int *log, struct err *e)
{
	char name[32], part[64];
	cleanup_fd int to = -1;

	if (output_whole(*log, length, e) < 0)
		return -1;
	log_name(number, name);
	/* Who is killed here leaves it to store_next(), as images. */
	snprintf(part, sizeof(part), ".%d-%d.%s" DIR_PART, from, run, name);
	to = openat(store->dir, part,
		    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 || copy_log(*log, length, to, NULL) < 0 ||
	    renameat(store->dir, part, store->dir, name) < 0) {
		unlinkat(store->dir, part, 0);
		return output_cut(*log, length, e);
	}
	close(*log);
	*log = steal_fd(&to);
	return 0;
}

int output_replay(int log, int64_t length, int fd, struct err *e)
{
	cleanup_free char *buf = malloc(BLOCK);
	int64_t at = 0;

	if (!buf)
		return err_sys(e, "cannot bring back the program's output");
	if (output_whole(log, length, e) < 0)
		return -1;
	while (at < length) {
		size_t want = length - at < BLOCK ? (size_t)(length - at) :
						    BLOCK;
		ssize_t n = pread(log, buf, want, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "cannot bring back the program's output");
		if (file_write(fd, buf, (size_t)n, e) < 0)
			return err_context(e, "cannot bring back the program's output");
		at += n;
	}
	return 0;
}
