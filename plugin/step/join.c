/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-join TASK DESCRIPTOR JOB STEP NODE PROGRAM ARGS…: in place of the program of
 * a task that is not the first of its step on the node. slurmstepd has made this
 * process what the program is to be; all that is this task's alone is handed to the
 * step's agent, which starts the program below sckpt-root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tasks.h"

static size_t block_size(char *const list[])
{
	size_t size = 0;

	for (; *list; list++)
		size += strlen(*list) + 1;
	return size;
}

static int write_block(int fd, char *const list[], struct err *e)
{
	for (; *list; list++)
		if (file_write(fd, *list, strlen(*list) + 1, e) < 0)
			return -1;
	return 0;
}

/* The file with the state. */
static int make_state(char *const argv[], struct err *e)
{
	struct join_state state = { .arguments = (uint32_t)block_size(argv),
				    .environment = (uint32_t)block_size(environ) };
	cleanup_fd int fd = memfd_create("sckpt-join", MFD_CLOEXEC);

	/* With more CPUs than fit the task is where the agent is. */
	if (sched_getaffinity(0, sizeof(state.cpus), &state.cpus) < 0)
		CPU_ZERO(&state.cpus);
	if (fd < 0)
		return err_sys(e, "cannot describe the task");
	if (file_write(fd, &state, sizeof(state), e) < 0 ||
	    write_block(fd, argv, e) < 0 || write_block(fd, environ, e) < 0)
		return -1;
	return steal_fd(&fd);
}

/* All open descriptors but our own two; fds[0] is set. */
static int list_descriptors(struct join_message *msg, int *fds, int joins,
			    struct err *e)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!dir)
		return err_sys(e, "cannot list the task's descriptors");
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir) || fd == joins ||
		    fd == fds[0])
			continue;
		if (msg->count == FDS_MAX - 1) {
			closedir(dir);
			return err_set(e, "the task has more than %d open descriptors, and has them from Slurm",
				       FDS_MAX - 1);
		}
		msg->numbers[msg->count++] = fd;
		fds[msg->count] = fd;
	}
	closedir(dir);
	return 0;
}

int main(int argc, char *argv[])
{
	struct join_message msg = { .task = argc > 6 ? atoi(argv[1]) : 0 };
	struct err e = { "" };
	int fds[FDS_MAX] = { -1 }, joins;
	cleanup_free char *path = NULL;

	if (msg.task <= 0) {
		fprintf(stderr, "sckpt-join: started by Slurm through spank-sckpt, not by hand\n");
		return 2;
	}
	joins = atoi(argv[2]);
	path = program_resolve(argv[6], (unsigned)strtoul(argv[3], NULL, 10),
			       argv[4], argv[5]);
	/* The program's file goes in front, and argv[0] is what was typed: as
	 * with slurmstepd, both are the same. */
	argv[6] = path;
	if (!path || (fds[0] = make_state(argv + 6, &e)) < 0 ||
	    list_descriptors(&msg, fds, joins, &e) < 0 ||
	    fds_send(joins, &msg, sizeof(msg), fds, msg.count + 1, &e) < 0) {
		fprintf(stderr, "sckpt: task %d cannot join its step: %s\n",
			msg.task, path ? e.text : strerror(errno));
		return 1;
	}
	return 0;
}
