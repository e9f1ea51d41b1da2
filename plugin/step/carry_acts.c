/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was done to carried directories before a restore, so that it can be undone when
 * that fails, and what is in nobody's way any more be removed when it does not. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"

struct carry_act {
	struct carry_in in;
	char *path, *aside; /* below it; aside NULL: it was made, or */
	mode_t was; /* had that mode; 0: it was made */
};

static int note(struct carry_acts *acts, struct carry_in in, const char *path,
		const char *aside, mode_t was, struct err *e)
{
	struct carry_act *more = realloc(acts->list, (acts->count + 1) * sizeof(*more));
	struct carry_act new = { in, strdup(path), aside ? strdup(aside) : NULL, was };

	if (more)
		acts->list = more;
	if (!more || !new.path || !aside != !new.aside) {
		free(new.path);
		free(new.aside);
		return err_set(e, "no memory for the carried directories");
	}
	more[acts->count++] = new;
	return 0;
}

/* The last one. */
static void forget(struct carry_acts *acts)
{
	acts->count--;
	free(acts->list[acts->count].path);
	free(acts->list[acts->count].aside);
}

int carry_made(struct carry_acts *acts, struct carry_in in, const char *path,
	       struct err *e)
{
	return note(acts, in, path, NULL, 0, e);
}

int carry_had_mode(struct carry_acts *acts, struct carry_in in, const char *path,
		   mode_t was, struct err *e)
{
	return note(acts, in, path, NULL, was, e);
}

int carry_move_aside(struct carry_acts *acts, struct carry_in in, int dir,
		     const char *path, const char *name, struct err *e)
{
	char aside[PATH_MAX];
	size_t at = (size_t)(name - path);

	for (int n = 1; n < 1000; n++) {
		char more[16] = "";

		if (n > 1)
			snprintf(more, sizeof(more), ".%d", n);
		if ((size_t)snprintf(aside, sizeof(aside), "%s" CARRY_ASIDE "%u.%d%s",
				     path, acts->job, acts->run, more) >=
		    sizeof(aside))
			break;
		if (faccessat(dir, aside + at, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		if (note(acts, in, path, aside, 0, e) < 0)
			return -1;
		if (renameat(dir, name, dir, aside + at) == 0)
			return 0;
		forget(acts);
		break;
	}
	return err_sys(e, "cannot move away what is there");
}

/* ---- modes -------------------------------------------------------------------- */

/* By a descriptor, for what has the name could be exchanged. */
int carry_set_mode(int dir, const char *name, mode_t mode)
{
	cleanup_fd int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
			       S_ISLNK(st.st_mode) || chmod(path, mode) < 0 ?
		       -1 :
		       0;
}

void carry_open_up(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
	    (st.st_mode & 0700) != 0700)
		carry_set_mode(dir, name, 0700);
}

/* And all that are in it. */
static void open_up_all(int dir, const char *name)
{
	struct dirent *entry;
	DIR *in;
	int fd;

	carry_open_up(dir, name);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || !(in = fdopendir(fd))) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(in)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			open_up_all(fd, entry->d_name);
	closedir(in);
}

/* ---- afterwards ---------------------------------------------------------------- */

void carry_acts_undo(struct carry_acts *acts)
{
	for (size_t i = 0; i < acts->count; i++) {
		const struct carry_act *a = &acts->list[i];
		const char *name;
		int dir = carry_parent(a->in.root, a->path, &name, NULL);

		if (dir >= 0 && !a->aside)
			carry_open_up(dir, name);
		close_fd(&dir);
	}
	for (; acts->count; forget(acts)) {
		const struct carry_act *a = &acts->list[acts->count - 1];
		const char *name, *aside = a->aside ? strrchr(a->aside, '/') : NULL;
		int dir = carry_parent(a->in.root, a->path, &name, NULL);

		if (dir >= 0 && a->was)
			carry_set_mode(dir, name, a->was & 07777);
		else if (dir >= 0 && a->aside)
			renameat(dir, aside ? aside + 1 : a->aside, dir, name);
		else if (dir >= 0 && unlinkat(dir, name, 0) < 0)
			unlinkat(dir, name, AT_REMOVEDIR);
		close_fd(&dir);
	}
}

void carry_acts_drop(struct carry_acts *acts)
{
	acts->dropped = true;
	for (size_t i = 0; i < acts->count; i++) {
		const struct carry_act *a = &acts->list[i];
		const char *name;
		int dir;

		if (!a->aside || !a->in.ours)
			continue;
		dir = carry_parent(a->in.root, a->aside, &name, NULL);
		if (dir >= 0) {
			open_up_all(dir, name);
			local_remove(dir, name);
		}
		close_fd(&dir);
	}
}

unsigned carry_acts_kept(const struct carry_acts *acts, char *example, size_t size)
{
	unsigned kept = 0;

	for (size_t i = 0; i < acts->count; i++) {
		const struct carry_act *a = &acts->list[i];

		if (a->aside && !(acts->dropped && a->in.ours) && !kept++)
			snprintf(example, size, "%.190s/%.200s", a->in.path, a->aside);
	}
	return kept;
}

void carry_acts_free(struct carry_acts *acts)
{
	while (acts->count)
		forget(acts);
	free(acts->list);
	acts->list = NULL;
}
