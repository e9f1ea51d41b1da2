/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a run of which it was found that its job goes on elsewhere: its node was cut off,
 * slurmctld gave it up and has started the job anew. Two copies of one program must not run, so
 * whatever is left of the job on this node goes, also the script and its srun. A srun that lives
 * until slurmd is heard again gets SIGTERM then, and has slurmctld kill the step of that number
 * (srun_job.c, job_force_termination), which is the other run's by now; its child would do
 * the same for one that was killed (_shepherd_spawn). So all are stopped before one is killed.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "end.h"
#include "supervise.h"

/* What is forked meanwhile is found the next time. */
#define ROUNDS_MOST 100

/* The group that all steps of the job here are in, with a '/' at its end. It has the job's number
 * in its name, or (26.05, CgroupJobIdPaths=no) its SLUID; where several slurmds share a machine the
 * path has the node's name, too. */
static char *job_group(void)
{
	char *text;

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0)
		return NULL;
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
		char *step = NULL, *path;

		/* The last: Slurm itself may run in a job. */
		for (char *at = line; (at = strstr(at, "/step_")); at++)
			step = at;
		if (!step)
			continue;
		step[1] = '\0';
		path = strchr(strchr(line, ':') + 1, ':') + 1;
		memmove(text, path, strlen(path) + 1);
		return text;
	}
	free(text);
	return NULL;
}

static bool is_of_job(const char *pid, const char *group)
{
	cleanup_free char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.20s/cgroup", pid);
	if (file_read(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return false;
	for (char *at = text; (at = strstr(at, group)); at++)
		if (at > text && at[-1] == ':')
			return true;
	return false;
}

/* One that has ended stays in its group (v2) until its parent has waited for it. */
static bool has_ended(const char *pid)
{
	cleanup_free char *text = NULL;
	char path[64], *name_end;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	return file_read(AT_FDCWD, path, 4096, &text, NULL) < 0 ||
	       !(name_end = strrchr(text, ')')) || !strncmp(name_end, ") Z", 3);
}

/* To every process of the job's user in it but this one. Returns how many there were. */
static int signal_all(const char *group, int sig)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

		/* slurmstepd is root's. */
		if (pid > 0 && pid != getpid() && is_of_job(entry->d_name, group) &&
		    !has_ended(entry->d_name))
			found += kill(pid, sig) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Nobody may read it any more, and the end does not wait for that. */
static bool is_heard(void)
{
	struct pollfd p = { STDERR_FILENO, POLLOUT, 0 };

	return poll(&p, 1, 0) > 0 && p.revents & POLLOUT;
}

void end_superseded(struct supervisor *s, const struct control *msg)
{
	/* A step that a script of the earlier run has begun in the later one's nodes: the others
	 * of the job here are that one's. */
	bool alone = !strcmp(msg->node, s->spec.node);
	cleanup_free char *group = alone ? NULL : job_group();

	if (is_heard())
		say(SAYS "step %u.%s: %s; it ends here%s: two copies of one program must not run",
		    s->spec.job, s->spec.step, msg->text,
		    group ? ", with all that is left of the job on this node" : "");
	if (group && signal_all(group, SIGSTOP))
		for (int i = 0; i < ROUNDS_MOST && signal_all(group, SIGKILL); i++)
			;
	if (!group)
		kill(s->agent, SIGKILL);
	end_as(SIGKILL);
}
