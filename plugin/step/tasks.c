/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tasks of the step: how they come, where they run, and how they end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "step.h"
#include "tasks.h"

struct joined {
	char *state; /* what sckpt-join wrote */
	cpu_set_t cpus;
	char **arguments, **environment; /* into it */
	int count;
	int numbers[FDS_MAX], fds[FDS_MAX];
};

/* ---- how they come -------------------------------------------------------------- */

static void joined_free(struct joined *j)
{
	if (!j)
		return;
	for (int i = 0; i < j->count; i++)
		close(j->fds[i]);
	free(j->arguments);
	free(j->environment);
	free(j->state);
	free(j);
}

/* The file's content, whose two blocks of strings are each ended by a NUL. */
static int read_state(struct joined *j, int fd, struct err *e)
{
	struct join_state head;
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) < 0 || st.st_size > JOIN_STATE_MAX ||
	    !(j->state = malloc((size_t)st.st_size + 1)))
		return err_set(e, "a task that joins the step has no state, or too much");
	if (pread(fd, j->state, (size_t)st.st_size, 0) != st.st_size ||
	    (size_t)st.st_size <= sizeof(head))
		return err_set(e, "the state of a task that joins the step cannot be read");
	memcpy(&head, j->state, sizeof(head));
	size = sizeof(head) + (uint64_t)head.arguments + head.environment;
	if (!head.arguments || size != (uint64_t)st.st_size ||
	    j->state[sizeof(head) + head.arguments - 1] || j->state[size - 1])
		return err_set(e, "the state of a task that joins the step makes no sense");
	j->cpus = head.cpus;
	j->arguments = block_list(j->state + sizeof(head), head.arguments, 0);
	j->environment = block_list(j->state + sizeof(head) + head.arguments,
				    head.environment, 0);
	return j->arguments && j->environment ?
		       0 :
		       err_set(e, "no memory for a task that joins the step");
}

static struct joined *take(const struct join_message *msg, int *fds, int count,
			   struct err *e)
{
	struct joined *j = calloc(1, sizeof(*j));
	bool good = j && count > 0 && msg->count == count - 1;

	for (int i = 0; good && i < msg->count; i++) {
		j->numbers[i] = msg->numbers[i];
		j->fds[i] = fds[i + 1];
		good = msg->numbers[i] >= 0;
		j->count++;
	}
	if (!good)
		err_set(e, "a task that joins the step makes no sense");
	else
		good = read_state(j, fds[0], e) == 0;
	if (count > 0)
		close(fds[0]);
	if (good)
		return j;
	for (int i = j ? j->count + 1 : 1; i < count; i++)
		close(fds[i]);
	joined_free(j);
	return NULL;
}

/* One more of them is here, or will never be. */
static int receive(struct tasks *t, int joins, struct err *e)
{
	struct join_message msg;
	int fds[FDS_MAX], count = FDS_MAX;
	int rc = fds_receive(joins, &msg, sizeof(msg), fds, &count, -1, e);
	struct task *task;

	if (rc <= 0)
		return rc < 0 ? -1 : err_set(e, "the step's tasks did not all start");
	task = msg.task > 0 && msg.task < t->count ? &t->list[msg.task] : NULL;
	if (task && msg.failed) {
		task->ended = true;
		task->status = msg.status;
	} else if (task && !task->joined) {
		task->joined = take(&msg, fds, count, e);
		return task->joined ? 0 : -1;
	}
	while (count > 0)
		close(fds[--count]);
	return task ? 0 : err_set(e, "a task joins the step that it has not got");
}

int tasks_collect(struct tasks *t, const struct spec *spec, struct err *e)
{
	t->count = spec->tasks;
	if (t->count < 1 || t->count > TASKS_MAX)
		return err_set(e, "a step of %d tasks", spec->tasks);
	if (!(t->list = calloc((size_t)t->count, sizeof(*t->list))))
		return err_set(e, "no memory for the step's tasks");
	for (int i = 1; i < t->count; i++)
		while (!t->list[i].joined && !t->list[i].ended)
			if (receive(t, spec->joins, e) < 0)
				return -1;
	return 0;
}

int tasks_descriptor(const struct tasks *t, int task, int number)
{
	const struct joined *j = t->list[task].joined;

	if (task == 0)
		return number;
	for (int i = 0; j && i < j->count; i++)
		if (j->numbers[i] == number)
			return j->fds[i];
	return -1;
}

char *const *tasks_environment(const struct tasks *t, int task)
{
	if (task == 0)
		return environ;
	return t->list[task].joined ? t->list[task].joined->environment : NULL;
}

/* ---- where they run --------------------------------------------------------------- */

/* Away from all numbers that are wanted, then to them. */
static void give_descriptors(const struct joined *j)
{
	int above = 3, moved[FDS_MAX];

	for (int i = 0; i < j->count; i++)
		if (j->numbers[i] >= above)
			above = j->numbers[i] + 1;
	for (int i = 0; i < j->count; i++)
		moved[i] = fcntl(j->fds[i], F_DUPFD_CLOEXEC, above);
	for (int i = 0; i < j->count; i++)
		if (j->numbers[i] > 2)
			dup2(moved[i], j->numbers[i]);
}

void task_become(const struct tasks *t, int task, char *const argv[])
{
	const struct joined *j = t->list[task].joined;
	char *const *environment = environ;
	int error;

	if (j) {
		argv = j->arguments;
		environment = j->environment;
		syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
		give_descriptors(j);
		sched_setaffinity(0, sizeof(j->cpus), &j->cpus);
	}
	execve(argv[0], argv, environment);
	/* slurmstepd's words and exit code (task.c, exec_task). */
	error = errno;
	dprintf(2, "sckpt: error: execve(): %s: %s\n", argv[0], strerror(error));
	_exit(error);
}

static void bind_process(pid_t pid, const cpu_set_t *cpus)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!(dir = opendir(path)))
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			sched_setaffinity(atoi(entry->d_name), sizeof(*cpus),
					  cpus);
	closedir(dir);
}

int tasks_bind(const struct tasks *t, struct err *e)
{
	for (int i = 1; i < t->count; i++) {
		const struct joined *j = t->list[i].joined;
		cleanup_free pid_t *pids = NULL;
		int count;

		if (!j || kill(PROGRAM_PID + i, 0) < 0)
			continue;
		if ((count = program_tree(PROGRAM_PID + i, &pids, e)) < 0)
			return -1;
		for (int k = 0; k < count; k++)
			bind_process(pids[k], &j->cpus);
	}
	return 0;
}

void tasks_started(struct tasks *t)
{
	for (int i = 0; i < t->count; i++) {
		joined_free(t->list[i].joined);
		t->list[i].joined = NULL;
	}
}

/* ---- how they end ----------------------------------------------------------------- */

int tasks_look(struct tasks *t, pid_t root)
{
	cleanup_free char *text = NULL;
	const char *at, *end;
	char path[64];
	int known = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", root);
	if ((n = file_read(AT_FDCWD, path, JOIN_STATE_MAX, &text, NULL)) <= 0)
		return 0;
	end = text + n;
	for (at = block_next(text, end); at < end; at = block_next(at, end)) {
		int pid, status;

		if (sscanf(at, "%d:%d", &pid, &status) != 2 ||
		    pid < PROGRAM_PID || pid >= PROGRAM_PID + t->count ||
		    t->list[pid - PROGRAM_PID].ended)
			continue;
		t->list[pid - PROGRAM_PID].ended = true;
		t->list[pid - PROGRAM_PID].status = status;
		known++;
	}
	return known;
}

bool tasks_over(const struct tasks *t)
{
	for (int i = 0; i < t->count; i++)
		if (!t->list[i].ended)
			return false;
	return true;
}

void tasks_killed(struct tasks *t, int status)
{
	for (int i = 0; i < t->count; i++)
		if (!t->list[i].ended) {
			t->list[i].ended = true;
			t->list[i].status = status;
		}
}

int tasks_status(const struct tasks *t)
{
	for (int i = 0; i < t->count; i++)
		if (t->list[i].status)
			return t->list[i].status;
	return 0;
}

void tasks_signal(struct tasks *t, int task, int sig)
{
	for (int i = 0; i < t->count; i++)
		if ((task < 0 || task == i) && !t->list[i].ended)
			kill(PROGRAM_PID + i, sig);
}
