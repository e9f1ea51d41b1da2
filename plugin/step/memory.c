/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory the images' buffer may take. It comes out of the step's own
 * cgroup: a step near its limit must not be killed for its checkpoint.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "step.h"

#define LEAST (UINT64_C(4) << 20)

static bool read_number(const char *dir, const char *name, uint64_t *value)
{
	cleanup_free char *text = NULL;
	char path[4200], *end;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (file_read(AT_FDCWD, path, 64, &text, NULL) < 0)
		return false;
	*value = strtoull(text, &end, 10); /* "max" is no number */
	return end != text;
}

/* What is left below a group's limit; page cache can be had back. */
static uint64_t left_in(const char *dir)
{
	uint64_t limit, usage;

	if (!(read_number(dir, "memory.max", &limit) &&
	      read_number(dir, "memory.current", &usage)) &&
	    !(read_number(dir, "memory.limit_in_bytes", &limit) &&
	      read_number(dir, "memory.usage_in_bytes", &usage)))
		return UINT64_MAX;
	return usage < limit ? limit - usage : 0;
}

/* The group's directory: "0::/path" (v2), "4:memory:/path" (v1). */
static bool find_group(char *dir, size_t size)
{
	cleanup_free char *text = NULL;
	char *rest, *line, *path;
	bool found = false;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0)
		return false;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		if (!strncmp(line, "0::", 3) && !found) {
			snprintf(dir, size, "/sys/fs/cgroup%s", line + 3);
			found = true;
		} else if ((path = strstr(line, ":memory:"))) {
			snprintf(dir, size, "/sys/fs/cgroup/memory%s", path + 8);
			return true;
		}
	}
	return found;
}

/* What the node can give without swapping. */
static uint64_t left_on_node(void)
{
	cleanup_free char *text = NULL;
	const char *at;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0 ||
	    !(at = strstr(text, "MemAvailable:")))
		return UINT64_MAX;
	return strtoull(at + strlen("MemAvailable:"), NULL, 10) * 1024;
}

uint64_t memory_left(void)
{
	uint64_t least_left = left_on_node();
	char dir[4096], *slash;
	bool grouped = find_group(dir, sizeof(dir));

	/* A limit of any group above holds, too. */
	while (grouped) {
		uint64_t left = left_in(dir);

		if (left < least_left)
			least_left = left;
		slash = strrchr(dir, '/');
		if (slash <= dir + strlen("/sys/fs/cgroup"))
			break;
		*slash = '\0';
	}
	return least_left;
}

uint64_t memory_for_buffer(uint64_t setting)
{
	uint64_t left = memory_left();

	if (left / 2 < setting)
		setting = left / 2;
	return setting < LEAST ? LEAST : setting;
}
