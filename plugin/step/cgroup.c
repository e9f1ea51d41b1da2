/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cgroup that this process is in, of either version (cgroups(7)). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"

#define TOP "/sys/fs/cgroup"

bool cgroup_find(const char *controller, char dir[CGROUP_PATH_MAX])
{
	cleanup_free char *text = NULL;
	char *rest, *line, name[40];
	bool found = false;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0)
		return false;
	snprintf(name, sizeof(name), ":%s:", controller);
	for (rest = text; (line = strsep(&rest, "\n"));) {
		const char *path = strstr(line, name);

		/* "0::/path" (v2), "4:memory:/path" (v1) */
		if (path) {
			snprintf(dir, CGROUP_PATH_MAX, TOP "/%s%s", controller,
				 path + strlen(name));
			return true;
		}
		if (!strncmp(line, "0::", 3)) {
			snprintf(dir, CGROUP_PATH_MAX, TOP "%s", line + 3);
			found = true;
		}
	}
	return found;
}

bool cgroup_up(char *dir)
{
	char *slash = strrchr(dir, '/');

	/* Up to the top: in a namespace of its own (a container's) that has limits, too. */
	if (slash < dir + strlen(TOP))
		return false;
	*slash = '\0';
	return true;
}

char *cgroup_text(const char *dir, const char *name)
{
	char path[CGROUP_PATH_MAX + 64], *text;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_read(AT_FDCWD, path, 65536, &text, NULL) < 0 ? NULL : text;
}

bool cgroup_number(const char *dir, const char *name, uint64_t *value)
{
	cleanup_free char *text = cgroup_text(dir, name);
	char *end;

	if (!text)
		return false;
	*value = strtoull(text, &end, 10); /* "max" is no number */
	return end != text;
}

uint64_t cgroup_stat(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = text; (at = strstr(at, name)); at += n)
		if ((at == text || at[-1] == '\n') && at[n] == ' ')
			return strtoull(at + n, NULL, 10);
	return 0;
}
