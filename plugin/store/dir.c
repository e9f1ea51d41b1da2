/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a step's directory have in common. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"

int dir_each(const struct store *store,
	     int (*visit)(const char *name, void *arg), void *arg, struct err *e)
{
	int fd = openat(store->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return err_sys(e, "cannot read %s", store->path);
	}
	while (rc == 0 && (errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = visit(entry->d_name, arg);
	if (rc == 0 && errno)
		rc = err_sys(e, "cannot read %s", store->path);
	closedir(dir);
	return rc;
}

static const char *number(const char *text, int least, int *value)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)*text))
		return NULL;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || n < least || n >= INT_MAX)
		return NULL;
	*value = (int)n;
	return end;
}

bool dir_split(const char *name, struct generation *g, const char **rest)
{
	const char *at = number(name, 1, &g->number);

	if (!at || *at != '-' || !(at = number(at + 1, 0, &g->run)))
		return false;
	*rest = at;
	return true;
}

/* An NFS client that hears no answer asks again, and is then told that its own link is there. */
static int link_once(const struct store *store, const char *part, const char *name, int fd)
{
	struct stat st;

	if (linkat(store->dir, part, store->dir, name, 0) == 0)
		return 0;
	if (errno != EEXIST || fstat(fd, &st) < 0)
		return -1;
	errno = EEXIST;
	return st.st_nlink == 2 ? 0 : -1;
}

int dir_write(const struct store *store, const char *name, const char *text,
	      bool only, struct err *e)
{
	cleanup_fd int fd = -1;
	uint64_t id;
	char part[128];

	/* Of this writer alone: others may be on other nodes. */
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return err_sys(e, "no random numbers");
	snprintf(part, sizeof(part), ".%.80s.%016jx" DIR_PART, name,
		 (uintmax_t)id);
	fd = openat(store->dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(e, "cannot make %s/%s", store->path, name);
	if (file_write(fd, text, strlen(text), e) < 0) {
		unlinkat(store->dir, part, 0);
		return err_context(e, "%s/%s", store->path, name);
	}
	/* link and rename are atomic on NFS too, and link alone refuses. */
	if (fsync(fd) < 0 ||
	    (only ? link_once(store, part, name, fd) :
		    renameat(store->dir, part, store->dir, name)) < 0) {
		int why = errno;

		unlinkat(store->dir, part, 0);
		errno = why;
		return err_sys(e, "cannot write %s/%s", store->path, name);
	}
	if (only)
		unlinkat(store->dir, part, 0);
	return 0;
}
