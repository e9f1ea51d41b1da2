/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a program takes of the node that it goes on on: memory, process ids and
 * places for processes; and the groups it is in, which only root can set.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "needs.h"

#define MIB (UINT64_C(1) << 20)

/* ---- at a dump ------------------------------------------------------------------ */

static void count_threads(pid_t pid, struct manifest *m)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(dir = opendir(path)))
		return; /* it is gone */
	while ((entry = readdir(dir))) {
		int tid = atoi(entry->d_name);

		m->threads += tid > 0;
		if (tid > m->highest_pid)
			m->highest_pid = tid;
	}
	closedir(dir);
}

/* The line of /proc/PID/status; "" also when there are more than have room. */
static void groups_of(const char *pid, char groups[GROUPS_MAX])
{
	cleanup_free char *text = NULL;
	char path[64], *line;
	size_t n;

	groups[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	if (file_read(AT_FDCWD, path, 4 << 20, &text, NULL) < 0 ||
	    !(line = strstr(text, "\nGroups:")))
		return;
	line += strlen("\nGroups:");
	line += strspn(line, " \t");
	n = strcspn(line, "\n");
	while (n && line[n - 1] == ' ')
		n--;
	if (n < GROUPS_MAX)
		snprintf(groups, GROUPS_MAX, "%.*s", (int)n, line);
}

void room_find(pid_t root, const pid_t *pids, int count, struct manifest *m)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", root);
	groups_of(pid, m->groups);
	m->memory = (int64_t)memory_of_step();
	/* Where steps have no memory cgroup, that is of all that slurmd's is for. */
	if (m->memory > m->resident)
		m->memory = m->resident;
	for (int i = 0; i < count; i++)
		count_threads(pids[i], m);
}

/* ---- at a restore ------------------------------------------------------------------ */

/* What the job asked for would be the same on other nodes. All of a node's is
 * what it has got who asked for none, or for all. */
static bool is_own_limit(uint64_t limit)
{
	return (getenv("SLURM_MEM_PER_NODE") || getenv("SLURM_MEM_PER_CPU") ||
		getenv("SLURM_MEM_PER_GPU")) &&
	       limit < memory_of_node() / 5 * 4;
}

static int memory_met(const struct manifest *m, struct step *step, struct err *e)
{
	uint64_t need = (uint64_t)m->memory + BUFFER_LEAST, limit = memory_limit();
	char used[16], has[16];

	if (m->memory <= 0)
		return 0;
	size_print((uint64_t)m->memory, used);
	if (memory_of_node() < need) {
		step->elsewhere = true;
		size_print(memory_of_node(), has);
		return err_set(e, "the program had %s of memory in use, and %s has %s in all",
			       used, step->spec.node, has);
	}
	if (limit >= need)
		return 0;
	size_print(limit, has);
	if (!is_own_limit(limit)) {
		step->elsewhere = true;
		return err_set(e, "the program had %s of memory in use, and a cgroup of %s lets the step have %s",
			       used, step->spec.node, has);
	}
	step->unfit = true;
	return err_set(e, "the program had %s of memory in use, and the step may use %s here: give it more (scontrol update job %u MinMemoryNode=%" PRIu64 ", or --mem of srun)",
		       used, has, step->spec.job, need / MIB + need / MIB / 16 + 16);
}

/* Processes and threads that the groups let this step start; UINT64_MAX: any number. */
static uint64_t threads_left(void)
{
	uint64_t least = UINT64_MAX, most, count;
	char dir[CGROUP_PATH_MAX];
	bool grouped = cgroup_find("pids", dir);

	for (; grouped; grouped = cgroup_up(dir))
		if (cgroup_number(dir, "pids.max", &most) &&
		    cgroup_number(dir, "pids.current", &count) &&
		    (most > count ? most - count : 0) < least)
			least = most > count ? most - count : 0;
	return least;
}

static int pids_met(const struct manifest *m, struct step *step, struct err *e)
{
	uint64_t left = threads_left(), most;

	step->elsewhere = true;
	if (cgroup_number("/proc/sys/kernel", "pid_max", &most) &&
	    (uint64_t)m->highest_pid >= most)
		return err_set(e, "the program has a process or thread %d, and %s has none above %" PRIu64 ": raise it there (sysctl kernel.pid_max=4194304)",
			       m->highest_pid, step->spec.node, most - 1);
	if ((uint64_t)m->threads > left)
		return err_set(e, "the program has %d processes and threads, and a cgroup of %s leaves room for %" PRIu64 ": raise its pids.max (TasksMax= of slurmd's unit)",
			       m->threads, step->spec.node, left);
	step->elsewhere = false;
	return 0;
}

/* Slurm's own default is that slurmctld says which groups a user is in. */
static bool node_knows_groups(void)
{
	char *argv[] = { SCONTROL_PATH, "show", "config", NULL };
	cleanup_free char *answer = NULL;

	return run_collect(argv, environ, 3000, 4 << 20, &answer, NULL) == 0 &&
	       strstr(answer, "disable_send_gids");
}

/* " (name)", or "". A program that is linked statically has no data bases. */
static void name_group(const char *gid, char *name, size_t size)
{
	char *argv[] = { "/usr/bin/getent", "group", (char *)gid, NULL };
	cleanup_free char *line = NULL;

	name[0] = '\0';
	if (run_collect(argv, environ, 1000, 1 << 20, &line, NULL) == 0 && *line)
		snprintf(name, size, " (%.*s)", (int)strcspn(line, ":"), line);
}

/* Those in `groups` that are not in `of`: "2001 (project)"; "" none. */
static void print_others(const char *groups, const char *of, char *text, size_t size)
{
	char word[24], name[80];
	size_t n = 0;

	text[0] = '\0';
	for (const char *at = groups; *at; at += strspn(at, " ")) {
		size_t length = strcspn(at, " ");

		snprintf(word, sizeof(word), "%.*s", (int)length, at);
		at += length;
		if (words_have(of, word) || n + sizeof(name) + sizeof(word) > size)
			continue;
		name_group(word, name, sizeof(name));
		n += (size_t)snprintf(text + n, size - n, "%s%s%s", n ? ", " : "",
				      word, name);
	}
}

/* Criu leaves them alone where they are the same. */
static int groups_met(const struct manifest *m, struct step *step, struct err *e)
{
	char now[GROUPS_MAX], gone[300], new[300];

	groups_of("self", now);
	if (!*m->groups || !strcmp(m->groups, now))
		return 0;
	if (node_knows_groups())
		step->elsewhere = true;
	else
		step->unfit = true;
	print_others(m->groups, now, gone, sizeof(gone));
	print_others(now, m->groups, new, sizeof(new));
	return err_set(e, "only root can change a program's groups, and its user %s%s%s%s%s%s%s: have it as before%s%s, or start afresh",
		       *gone ? "is not in " : "", gone, *gone ? " any more" : "",
		       *gone && *new ? ", and " : "", *new ? "is in " : "", new,
		       *new ? " since" : "", step->elsewhere ? " on " : "",
		       step->elsewhere ? step->spec.node : "");
}

int room_met(const struct manifest *m, struct step *step, struct err *e)
{
	return memory_met(m, step, e) < 0 || pids_met(m, step, e) < 0 ||
			       groups_met(m, step, e) < 0 ?
		       -1 :
		       0;
}
