/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting the program, and looking at its tree. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "end.h"
#include "step.h"
#include "tasks.h"

const int as_started_limits[AS_STARTED_LIMITS] = { RLIMIT_NOFILE, RLIMIT_FSIZE,
						    RLIMIT_AS, RLIMIT_DATA };

/* The next process of this namespace gets pid (proc(5), ns_last_pid). */
static int choose_next_pid(pid_t pid, struct err *e)
{
	char text[16];
	cleanup_fd int fd = open("/proc/sys/kernel/ns_last_pid",
				 O_WRONLY | O_CLOEXEC);

	snprintf(text, sizeof(text), "%d", pid - 1);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_sys(e, "cannot choose the program's PID");
	return 0;
}

/*
 * Becomes the root, with the tasks below it. None begins before all are there: what
 * the first one starts would take the second one's PID.
 */
static void __attribute__((noreturn))
become_root(const struct spec *spec, const struct stdio *io, char *argv[],
	    const struct as_started *as, const struct tasks *tasks)
{
	char names[TASKS_MAX][24], *with[TASKS_MAX + 2] = { ROOT_PATH };
	char go = 0;
	int gate[2], n = 1;

	if ((spec->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || setsid() < 0 ||
	    pipe2(gate, O_CLOEXEC) < 0)
		_exit(1);
	for (int i = 0; i < AS_STARTED_LIMITS; i++)
		setrlimit(as_started_limits[i], &as->limits[i]);
	for (int i = 0; i < tasks->count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			_exit(1);
		if (pid == 0) {
			/* As slurmstepd's task: leader of its process group. */
			setpgid(0, 0);
			close(gate[1]);
			if (tasks->list[i].ended) /* it never came */
				end_as(tasks->list[i].status);
			if (read(gate[0], &go, 1) != 1)
				_exit(1);
			/* The root itself needs it for a moment (alone.h). */
			if (spec->grant == GRANT_AGENT && drop_capability() < 0)
				_exit(1);
			stdio_give(io, i);
			sigprocmask(SIG_SETMASK, &as->mask, NULL);
			task_become(tasks, i, argv);
		}
		snprintf(names[i], sizeof(names[i]), "%d:-----", pid);
		with[n++] = names[i];
	}
	for (int i = 0; i < tasks->count; i++)
		if (!tasks->list[i].ended && write(gate[1], &go, 1) != 1)
			_exit(1);
	/* A signal to everybody (kill -1) is not for the root: all stay blocked. */
	syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
	execve(ROOT_PATH, with, environ);
	_exit(1);
}

pid_t program_launch(const struct spec *spec, const struct stdio *io,
		     char *argv[], const struct as_started *as,
		     const struct tasks *tasks, struct err *e)
{
	char *path = program_resolve(argv[0], spec->job, spec->id, spec->node);
	pid_t pid;

	if (!path)
		return err_sys(e, "cannot start the program");
	argv[0] = path;
	if (choose_next_pid(ROOT_PID, e) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		become_root(spec, io, argv, as, tasks);
	return pid < 0 ? err_sys(e, "cannot start the program") : pid;
}

/* ---- the tree ----------------------------------------------------------- */

/* The processes that this one thread forked. */
static int add_children(int tasks, const char *tid, pid_t **pids, int *count,
			struct err *e)
{
	cleanup_free char *text = NULL;
	char path[300], *at, *end;
	long child;

	snprintf(path, sizeof(path), "%s/children", tid);
	if (file_read(tasks, path, 1 << 20, &text, e) < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -1;
	for (at = text; (child = strtol(at, &end, 10)) > 0; at = end) {
		pid_t *more = realloc(*pids, (size_t)(*count + 1) *
						     sizeof(**pids));

		if (!more)
			return err_sys(e, "cannot list the step's processes");
		*pids = more;
		more[(*count)++] = (pid_t)child;
	}
	return 0;
}

/* Every thread has a list of its own (fs/proc/array.c, get_children_pid). */
static int add_children_of_threads(pid_t pid, pid_t **pids, int *count,
				   struct err *e)
{
	struct dirent *entry;
	char path[64];
	int rc = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(dir = opendir(path)))
		return errno == ENOENT ?
			       0 :
			       err_sys(e, "cannot look at process %d", pid);
	while (rc == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			rc = add_children(dirfd(dir), entry->d_name, pids,
					  count, e);
	closedir(dir);
	return rc;
}

int program_tree(pid_t root, pid_t **pids, struct err *e)
{
	int count = 1;

	if (!(*pids = malloc(sizeof(**pids))))
		return err_sys(e, "cannot list the step's processes");
	(*pids)[0] = root;
	for (int i = 0; i < count; i++)
		if (add_children_of_threads((*pids)[i], pids, &count, e) < 0)
			return -1;
	return count;
}

/* The highest id of this process's threads; 0 when it is gone. */
static pid_t highest_thread(pid_t pid)
{
	struct dirent *entry;
	pid_t highest = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(dir = opendir(path)))
		return 0;
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) > highest)
			highest = atoi(entry->d_name);
	closedir(dir);
	return highest;
}

int program_leave_low_pids(pid_t root, struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	int count = program_tree(root, &pids, e);
	pid_t highest = ROOT_PID;

	if (count < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		pid_t tid = highest_thread(pids[i]);

		if (tid > highest)
			highest = tid;
	}
	return choose_next_pid(highest + 1, e);
}

int64_t program_resident(const pid_t *pids, int count)
{
	int64_t pages = 0;

	for (int i = 0; i < count; i++) {
		cleanup_free char *text = NULL;
		char path[64];
		long long size, resident;

		snprintf(path, sizeof(path), "/proc/%d/statm", pids[i]);
		if (file_read(AT_FDCWD, path, 4096, &text, NULL) > 0 &&
		    sscanf(text, "%lld %lld", &size, &resident) == 2)
			pages += resident;
	}
	return pages * sysconf(_SC_PAGESIZE);
}

int64_t program_own(const pid_t *pids, int count)
{
	int64_t kb = 0; /* proc_pid_status(5) */

	for (int i = 0; i < count; i++) {
		cleanup_free char *text = NULL;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/status", pids[i]);
		if (file_read(AT_FDCWD, path, 16384, &text, NULL) > 0)
			kb += text_number(text, "\nRssAnon:") + text_number(text, "\nRssShmem:");
	}
	return kb * 1024;
}
