/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process may use, where it stands, and how it is scheduled. */
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zoo.h"

static const struct {
	__rlimit_resource_t what;
	rlim_t soft;
} lowered[] = { { RLIMIT_NOFILE, 777 },
		{ RLIMIT_STACK, 5 << 20 },
		{ RLIMIT_FSIZE, (rlim_t)1 << 40 },
		{ RLIMIT_CORE, 4096 } };
#define LOWERED (sizeof(lowered) / sizeof(lowered[0]))

/* As set: the node's hard limit may be lower still. */
static struct rlimit wanted[LOWERED];
static char cwd[4096];

static void limits_setup(void)
{
	for (size_t i = 0; i < LOWERED; i++) {
		NEED(getrlimit(lowered[i].what, &wanted[i]) == 0);
		if (lowered[i].soft < wanted[i].rlim_cur)
			wanted[i].rlim_cur = lowered[i].soft;
		NEED(setrlimit(lowered[i].what, &wanted[i]) == 0);
	}
	umask(0137);
	NEED(chdir(zoo_dir) == 0 && getcwd(cwd, sizeof(cwd)));
}

static const char *limits_verify(bool last)
{
	char now[4096];
	mode_t mask = umask(0);

	(void)last;
	umask(mask);
	for (size_t i = 0; i < LOWERED; i++) {
		struct rlimit r;

		WANT(getrlimit(lowered[i].what, &r) == 0);
		WANT(r.rlim_cur == wanted[i].rlim_cur);
		WANT(r.rlim_max == wanted[i].rlim_max);
	}
	WANT(mask == 0137);
	WANT(getcwd(now, sizeof(now)) && !strcmp(now, cwd));
	return NULL;
}

static int niceness;

static void nice_setup(void)
{
	niceness = getpriority(PRIO_PROCESS, 0) + 3;
	niceness = niceness < 19 ? niceness : 19;
	NEED(setpriority(PRIO_PROCESS, 0, niceness) == 0);
}

static const char *nice_verify(bool last)
{
	(void)last;
	WANT(getpriority(PRIO_PROCESS, 0) == niceness);
	return NULL;
}

/* Criu does not carry the affinity: a narrowed one is the new node's again,
 * so only that there is one can be said here. */
static void affinity_setup(void)
{
	cpu_set_t set;
	int cpu = 0;

	NEED(sched_getaffinity(0, sizeof(set), &set) == 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	NEED(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static const char *affinity_verify(bool last)
{
	cpu_set_t set;

	(void)last;
	WANT(sched_getaffinity(0, sizeof(set), &set) == 0);
	WANT(CPU_COUNT(&set) > 0);
	return NULL;
}

const struct exhibit zoo_sched[] = {
	{ "limits", limits_setup, limits_verify },
	{ "nice", nice_setup, nice_verify },
	{ "affinity", affinity_setup, affinity_verify },
	{ NULL, NULL, NULL }
};
