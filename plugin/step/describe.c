/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program's processes, for the manifest: what people want to see of it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "step.h"

/* A process with a million files is still described in bounded space. */
#define COMMAND_MAX 512
#define FILES_MAX 8192

static void read_stat(pid_t pid, struct manifest_process *p)
{
	cleanup_free char *text = NULL;
	char path[64], *name, *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0 ||
	    !(name = strchr(text, '(')) || !(end = strrchr(text, ')')))
		return;
	*end = '\0';
	snprintf(p->name, sizeof(p->name), "%s", name + 1);
	for (char *at = p->name; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = '?';
	sscanf(end + 1, " %*c %d", &p->parent);
}

static char *read_command(pid_t pid)
{
	cleanup_free char *text = NULL;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	n = file_read(AT_FDCWD, path, 1 << 22, &text, NULL);
	for (ssize_t i = 0; i + 1 < n; i++)
		if (!text[i])
			text[i] = ' ';
	return n > 0 ? strndup(text, COMMAND_MAX) : NULL;
}

static char *read_files(pid_t pid)
{
	char path[64], *files = malloc(FILES_MAX);
	struct dirent *entry;
	size_t size = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (!files || !(dir = opendir(path))) {
		free(files);
		return NULL;
	}
	files[0] = '\0';
	while ((entry = readdir(dir))) {
		char link[1024];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link,
				       sizeof(link) - 1);

		/* Pipes, sockets and devices say nothing to people. */
		if (n <= 0 || link[0] != '/' || !strncmp(link, "/dev/", 5) ||
		    size + (size_t)n + 2 > FILES_MAX)
			continue;
		link[n] = '\0';
		size += (size_t)snprintf(files + size, FILES_MAX - size, "%s%s",
					 size ? "\n" : "", link);
	}
	closedir(dir);
	return files;
}

int program_describe(const pid_t *pids, int count, struct manifest *m,
		     struct err *e)
{
	if (count > MANIFEST_PROCESSES_MAX)
		count = MANIFEST_PROCESSES_MAX;
	if (!(m->processes = calloc((size_t)count + 1, sizeof(*m->processes))))
		return err_set(e, "no memory to describe the program");
	for (int i = 0; i < count; i++) {
		struct manifest_process *p = &m->processes[i];

		p->pid = pids[i];
		read_stat(pids[i], p);
		p->resident = program_resident(&pids[i], 1);
		p->command = read_command(pids[i]);
		p->files = read_files(pids[i]);
	}
	m->process_count = (size_t)count;
	return 0;
}
