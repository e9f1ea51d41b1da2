/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file systems that the program has something open on. On a node that has not
 * mounted one of them, criu would miss the first of its files and say no more.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "needs.h"

#define MOUNTINFO "/proc/self/mountinfo"

struct table {
	char *text;
	struct mount_line *lines;
	size_t count;
};

static bool table_read(struct table *t)
{
	*t = (struct table){ .text = NULL };
	if (file_read(AT_FDCWD, MOUNTINFO, 16 << 20, &t->text, NULL) <= 0)
		return false;
	if (!(t->lines = calloc(MOUNTS_MOST, sizeof(*t->lines))))
		return false;
	t->count = mountinfo_parse(t->text, t->lines, MOUNTS_MOST);
	return true;
}

static void table_free(struct table *t)
{
	free(t->text);
	free(t->lines);
}

/* Those that every node has, and each its own; and what mounts the others. */
static bool is_of_system(const struct mount_line *line)
{
	static const char *const types[] = { "autofs", "cgroup", "cgroup2",
					     "devpts", "devtmpfs", "mqueue",
					     "proc",   "sysfs" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(line->type, types[i]))
			return true;
	return !strcmp(line->point, "/") || !strncmp(line->point, "/dev/", 5) ||
	       !strcmp(line->point, "/dev") || !strcmp(line->point, SCKPT_RUN_DIR);
}

static void printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
}

static int add(const struct step *step, struct manifest *m, const struct table *t,
	       const char *path, struct err *e)
{
	const struct mount_line *line = mount_of(t->lines, t->count, path);
	struct manifest_mount *mount;

	if (!line || is_of_system(line) || m->mount_count == MANIFEST_MOUNTS_MAX)
		return 0;
	for (size_t i = 0; i < m->mount_count; i++)
		if (!strcmp(m->mounts[i].point, line->point))
			return 0;
	mount = &m->mounts[m->mount_count];
	/* What is only this node's comes along, if there is a place for it. */
	mount->point = strdup(line->point);
	mount->path = strdup(local_is(step, path) ? line->point : path);
	m->mount_count++;
	if (!mount->point || !mount->path)
		return err_set(e, "no memory for the program's file systems");
	snprintf(mount->type, sizeof(mount->type), "%s", line->type);
	snprintf(mount->source, sizeof(mount->source), "%s", line->source);
	printable(mount->type);
	printable(mount->source);
	return 0;
}

static int add_link(const struct step *step, struct manifest *m,
		    const struct table *t, int dir, const char *name, struct err *e)
{
	char path[4096];
	ssize_t n = readlinkat(dir, name, path, sizeof(path) - 1);

	if (n <= 0 || path[0] != '/')
		return 0;
	path[n] = '\0';
	/* Criu brings what was removed. */
	if (n > 10 && !strcmp(path + n - 10, " (deleted)"))
		return 0;
	return add(step, m, t, path, e);
}

static int look_at(const struct step *step, struct manifest *m,
		   const struct table *t, pid_t pid, struct err *e)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	rc = add_link(step, m, t, AT_FDCWD, path, e);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (rc < 0 || !(dir = opendir(path)))
		return rc;
	while (rc == 0 && (entry = readdir(dir)))
		rc = add_link(step, m, t, dirfd(dir), entry->d_name, e);
	closedir(dir);
	return rc;
}

int mounts_find(const struct step *step, const pid_t *pids, int count,
		struct manifest *m, struct err *e)
{
	struct table t;
	int rc = 0;

	if (!(m->mounts = calloc(MANIFEST_MOUNTS_MAX, sizeof(*m->mounts))))
		return err_set(e, "no memory for the program's file systems");
	if (table_read(&t)) {
		for (int i = 0; rc == 0 && i < count; i++)
			rc = look_at(step, m, &t, pids[i], e);
		for (size_t i = 0; rc == 0 && i < m->need_count; i++)
			rc = add(step, m, &t, m->needs[i].path, e);
	}
	table_free(&t);
	return rc;
}

int mounts_met(const struct manifest *m, const char *node, struct err *e)
{
	struct table t = { .text = NULL };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->mount_count; i++) {
		const struct manifest_mount *mount = &m->mounts[i];
		const struct mount_line *line;

		/* To look is what has automounters mount it. */
		if (access(mount->path, F_OK) == 0 ||
		    (errno != ENOENT && errno != ENOTDIR))
			continue;
		if (!t.text && !table_read(&t))
			break;
		line = mount_of(t.lines, t.count, mount->point);
		/* It is there, and the file is not: its own message tells of that. */
		if (line && !strcmp(line->point, mount->point))
			continue;
		rc = err_set(e, "the program uses %.200s, of the file system %.100s (%s) that %s has mounted on %.200s, and nothing is mounted there on %s: mount it there",
			     mount->path, mount->source, mount->type, m->node,
			     mount->point, node);
	}
	table_free(&t);
	return rc;
}
