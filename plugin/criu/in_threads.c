/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore, where it has more capabilities than its user (in_attach.c): it writes what
 * is in /proc/PID/task into the place of as many threads as there should be, and counts them
 * afterwards (parse_threads(), criu/proc_parse.c). The user can have a process make more of them,
 * by the memory of its first thread that has the program's credentials. So criu ends when it is
 * given one too many.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "in_attach.h"

/* The directory that is being read, one at a time. */
static DIR *reading;
static pid_t process; /* 0: it is no process's tasks */
static size_t left;

static void begin(DIR *dir)
{
	char link[32], path[64];
	ssize_t n;
	char end;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd(dir));
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	if (sscanf(path, "/proc/%d/tas%c", &process, &end) != 2 || end != 'k')
		process = 0;
	left = process ? attach_threads(process) : 0;
	reading = dir;
}

__attribute__((visibility("default"))) struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*real)(DIR *);
	struct dirent *d;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "readdir");
	if (!attach_done())
		return real(dir);
	if (dir != reading)
		begin(dir);
	d = real(dir);
	if (d && process && *d->d_name != '.' && !left--)
		attach_failed(process);
	return d;
}

_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "one function for both");

__attribute__((visibility("default"))) struct dirent64 *readdir64(DIR *dir)
{
	return (struct dirent64 *)readdir(dir);
}

__attribute__((visibility("default"))) int closedir(DIR *dir)
{
	static int (*real)(DIR *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "closedir");
	if (dir == reading)
		reading = NULL;
	return real(dir);
}
