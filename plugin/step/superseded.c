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
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "end.h"
#include "supervise.h"

/* What is forked meanwhile is found the next time. */
#define ROUNDS_MOST 100

/* The cgroup that all steps of the job have above them here, with a '/' at its end. Where several
 * slurmds share a machine the path has the node's name, too. */
static char *job_group(uint32_t job)
{
	char *text, *end, name[32];
	size_t n = (size_t)snprintf(name, sizeof(name), "/job_%u/", job);

	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0)
		return NULL;
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		if ((end = strstr(line, name))) {
			char *path = strchr(strchr(line, ':') + 1, ':') + 1;

			end[n] = '\0';
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

/* To every process of the job's user in it but this one. Returns how many there were that have not
 * ended: one that was killed is seen until its parent has waited for it. */
static int signal_all(const char *group, int sig)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

		/* Of one that has ended the group reads "/", or is that still; then kill(2) does
		 * no harm. slurmstepd is root's. */
		if (pid > 0 && pid != getpid() && is_of_job(entry->d_name, group))
			found += kill(pid, sig) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

void end_superseded(struct supervisor *s, const char *why)
{
	cleanup_free char *group = job_group(s->spec.job);

	say(SAYS "step %u.%s: %s; it ends here, with all that is left of the job on %s: two copies of one program must not run",
	    s->spec.job, s->spec.step, why, s->spec.node);
	if (group && signal_all(group, SIGSTOP))
		for (int i = 0; i < ROUNDS_MOST && signal_all(group, SIGKILL); i++)
			;
	kill(s->agent, SIGKILL);
	end_as(SIGKILL);
}
