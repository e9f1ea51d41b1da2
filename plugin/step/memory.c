/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory the images' buffer may take. It comes out of the step's own
 * cgroup: a step near its limit must not be killed for its checkpoint.
 */
#include <fcntl.h>
#include <string.h>

#include "cgroup.h"
#include "step.h"

/* What is left below a group's limit; page cache can be had back. */
static uint64_t left_in(const char *dir)
{
	uint64_t limit, usage;

	if (!(cgroup_number(dir, "memory.max", &limit) &&
	      cgroup_number(dir, "memory.current", &usage)) &&
	    !(cgroup_number(dir, "memory.limit_in_bytes", &limit) &&
	      cgroup_number(dir, "memory.usage_in_bytes", &usage)))
		return UINT64_MAX;
	return usage < limit ? limit - usage : 0;
}

/* A line of /proc/meminfo in bytes. */
static bool meminfo(const char *name, uint64_t *bytes)
{
	cleanup_free char *text = NULL;
	const char *at;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0 ||
	    !(at = strstr(text, name)))
		return false;
	*bytes = strtoull(at + strlen(name), NULL, 10) * 1024;
	return true;
}

uint64_t memory_left(void)
{
	char dir[CGROUP_PATH_MAX];
	uint64_t least_left;
	bool grouped = cgroup_find("memory", dir);

	/* What the node can give without swapping. */
	if (!meminfo("\nMemAvailable:", &least_left))
		least_left = UINT64_MAX;
	/* A limit of any group above holds, too. */
	while (grouped) {
		uint64_t left = left_in(dir);

		if (left < least_left)
			least_left = left;
		grouped = cgroup_up(dir);
	}
	return least_left;
}

bool memory_ran_out(void)
{
	cleanup_free char *text = NULL;
	char dir[CGROUP_PATH_MAX];

	/* A group that is not Slurm's own of the step counts what others had. */
	if (!cgroup_find("memory", dir) || !strstr(dir, "/step_"))
		return false;
	if (!(text = cgroup_text(dir, "memory.events")))
		text = cgroup_text(dir, "memory.oom_control"); /* version 1 */
	return text && cgroup_stat(text, "oom_kill") > 0;
}

uint64_t memory_limit(void)
{
	uint64_t least = UINT64_MAX, limit;
	char dir[CGROUP_PATH_MAX];
	bool grouped = cgroup_find("memory", dir);

	for (; grouped; grouped = cgroup_up(dir))
		if ((cgroup_number(dir, "memory.max", &limit) ||
		     cgroup_number(dir, "memory.limit_in_bytes", &limit)) &&
		    limit < least)
			least = limit;
	return least;
}

uint64_t memory_of_node(void)
{
	uint64_t memory, swap;

	return meminfo("MemTotal:", &memory) && meminfo("\nSwapTotal:", &swap) ?
		       memory + swap :
		       UINT64_MAX;
}

/* slurmstepd makes a group for each task of the step. */
static void of_step(char *dir)
{
	char *step = strstr(dir, "/step_");

	if (step)
		step[1 + strcspn(step + 1, "/")] = '\0';
}

uint64_t memory_of_step(void)
{
	cleanup_free char *text = NULL;
	char dir[CGROUP_PATH_MAX];

	if (!cgroup_find("memory", dir))
		return 0;
	of_step(dir);
	if (!(text = cgroup_text(dir, "memory.stat")))
		return 0;
	/* Version 2 has no total_…: its numbers are those of all groups below. */
	return strstr(text, "total_rss ") ?
		       cgroup_stat(text, "total_rss") + cgroup_stat(text, "total_shmem") :
		       cgroup_stat(text, "anon") + cgroup_stat(text, "shmem");
}

uint64_t memory_for_buffer(uint64_t setting, uint64_t needed)
{
	uint64_t left = memory_left();

	left = left > needed ? left - needed : 0;
	if (left / 2 < setting)
		setting = left / 2;
	return setting < BUFFER_LEAST ? BUFFER_LEAST : setting;
}
