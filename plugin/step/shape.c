/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tree of processes looks like, and whether another one looks the same. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shape.h"

/* Criu's own code is still mapped, or pages of the kernel's are moved. */
#define MAPPED_SLACK (1 << 20)

/* ---- comparing ---------------------------------------------------------------- */

static const struct shape_process *find(const struct shape *s, pid_t pid)
{
	for (int i = 0; i < s->count; i++)
		if (s->list[i].pid == pid)
			return &s->list[i];
	return NULL;
}

/* The first descriptor of a that b has not; -1. Criu may have some more. */
static int missing_fd(const struct shape_process *a, const struct shape_process *b)
{
	int at = 0;

	for (int i = 0; i < a->fd_count; i++) {
		while (at < b->fd_count && b->fds[at] < a->fds[i])
			at++;
		if (at == b->fd_count || b->fds[at] != a->fds[i])
			return a->fds[i];
	}
	return -1;
}

static bool differ(const struct shape_process *a, const struct shape_process *b,
		   bool root, char *text, size_t size)
{
	int fd = b ? missing_fd(a, b) : -1;

	if (!b)
		snprintf(text, size, "%s[%d] is not there", a->name, a->pid);
	else if (strcmp(a->name, b->name))
		snprintf(text, size, "process %d is %s, and was %s", a->pid,
			 b->name, a->name);
	else if (a->parent != b->parent && !root)
		snprintf(text, size, "%s[%d] is a child of %d, and was one of %d",
			 a->name, a->pid, b->parent, a->parent);
	else if (a->threads != b->threads)
		snprintf(text, size, "%s[%d] has %d threads, and had %d",
			 a->name, a->pid, b->threads, a->threads);
	else if (fd >= 0)
		snprintf(text, size, "%s[%d] has lost descriptor %d", a->name,
			 a->pid, fd);
	else if (b->mapped + MAPPED_SLACK < a->mapped)
		snprintf(text, size, "%s[%d] has %lld KiB of memory mapped, and had %lld",
			 a->name, a->pid, (long long)b->mapped >> 10,
			 (long long)a->mapped >> 10);
	else
		return false;
	return true;
}

int shape_compare(const struct shape *want, const struct shape *have,
		  void (*differs)(void *arg, const char *text), void *arg)
{
	char text[200];
	int count = 0;

	for (int i = 0; i < want->count; i++)
		if (differ(&want->list[i], find(have, want->list[i].pid),
			   i == 0, text, sizeof(text))) {
			differs(arg, text);
			count++;
		}
	return count;
}

int shape_threads(const struct shape *s)
{
	int n = 0;

	for (int i = 0; i < s->count; i++)
		n += s->list[i].threads;
	return n;
}

int shape_descriptors(const struct shape *s)
{
	int n = 0;

	for (int i = 0; i < s->count; i++)
		n += s->list[i].fd_count;
	return n;
}

/* ---- looking -------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* A FIFO has a name: who opens that has the same one. */
static int take_fifo(struct shape *s, int dir, const char *fd, struct err *e)
{
	char path[PATH_MAX], **more;
	struct stat st;
	ssize_t n;

	if (fstatat(dir, fd, &st, 0) < 0 || !S_ISFIFO(st.st_mode) ||
	    (n = readlinkat(dir, fd, path, sizeof(path) - 1)) <= 0 ||
	    path[0] != '/')
		return 0;
	path[n] = '\0';
	for (int i = 0; i < s->fifo_count; i++)
		if (!strcmp(s->fifos[i], path))
			return 0;
	if (!(more = realloc(s->fifos, (size_t)(s->fifo_count + 1) * sizeof(*more))))
		return err_set(e, "no memory to look at the program");
	s->fifos = more;
	if (!(more[s->fifo_count] = strdup(path)))
		return err_set(e, "no memory to look at the program");
	s->fifo_count++;
	return 0;
}

static int take_fds(struct shape *s, struct shape_process *p, struct err *e)
{
	struct dirent *entry;
	int room = 0, rc = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
	if (!(dir = opendir(path)))
		return 0;
	while (rc == 0 && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		if (p->fd_count == room) {
			int *more = realloc(p->fds, (size_t)(room += 1024) *
							    sizeof(*more));

			if (!more) {
				rc = err_set(e, "no memory to look at the program");
				break;
			}
			p->fds = more;
		}
		p->fds[p->fd_count++] = atoi(entry->d_name);
		rc = take_fifo(s, dirfd(dir), entry->d_name, e);
	}
	closedir(dir);
	if (p->fd_count)
		qsort(p->fds, (size_t)p->fd_count, sizeof(*p->fds), by_number);
	return rc;
}

static int take_process(struct shape *s, struct shape_process *p, struct err *e)
{
	cleanup_free char *status = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", p->pid);
	if (file_read(AT_FDCWD, path, 65536, &status, e) < 0)
		return -1;
	/* "Name:\tpython3\n" */
	snprintf(p->name, sizeof(p->name), "%.*s",
		 (int)strcspn(status + strlen("Name:\t"), "\n"),
		 status + strlen("Name:\t"));
	p->parent = (pid_t)text_number(status, "\nPPid:");
	p->threads = (int)text_number(status, "\nThreads:");
	p->mapped = text_number(status, "\nVmSize:") << 10;
	return take_fds(s, p, e);
}

int shape_of(const pid_t *pids, int count, struct shape *s, struct err *e)
{
	shape_free(s);
	if (!(s->list = calloc((size_t)count, sizeof(*s->list))))
		return err_set(e, "no memory to look at the program");
	for (int i = 0; i < count; i++) {
		s->list[i].pid = pids[i];
		s->count++;
		if (take_process(s, &s->list[i], e) < 0)
			return -1;
	}
	return 0;
}

void shape_free(struct shape *s)
{
	for (int i = 0; i < s->count; i++)
		free(s->list[i].fds);
	free(s->list);
	for (int i = 0; i < s->fifo_count; i++)
		free(s->fifos[i]);
	free(s->fifos);
	*s = (struct shape){ .count = 0 };
}
