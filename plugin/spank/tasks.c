/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several tasks of a step on this node. slurmstepd makes two socket pairs before it
 * forks them, and what they have to say to the first one goes through: their links
 * to its supervisor, and, from sckpt-join, the tasks themselves to its agent.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tasks.h"

/* [0] is the first task's, [1] everybody's. */
static int links[2] = { -1, -1 }, joins[2] = { -1, -1 };

void tasks_prepare(struct spec *spec)
{
	if (spec->tasks > 1 &&
	    (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, links) < 0 ||
	     socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, joins) < 0))
		snprintf(spec->off, sizeof(spec->off),
			 "sockets for its tasks cannot be made: %m");
}

void tasks_forked(void)
{
	for (int i = 0; i < 2; i++) {
		close_fd(&links[i]);
		close_fd(&joins[i]);
	}
}

int tasks_door(void)
{
	return links[0];
}

int tasks_joins(void)
{
	return joins[0];
}

int tasks_helper(struct helper *h, int task, struct err *e)
{
	const struct link_message msg = { .task = task };
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "cannot make the link of a task");
	rc = fds_send(links[1], &msg, sizeof(msg), &pair[1], 1, e);
	close(pair[1]);
	if (rc == 0)
		rc = helper_prepare(h, TASK_PATH, (int[]){ pair[0], joins[1] },
				    2, e);
	close(pair[0]);
	snprintf(h->task, sizeof(h->task), "%d", task);
	h->argv[2] = h->task;
	return rc;
}

void tasks_answer(int count, const struct control *answer)
{
	/* Without sockets each knows by itself that it is not protected. */
	if (links[0] < 0)
		return;
	for (int i = 1; i < count; i++) {
		struct link_message msg;
		int fd = -1, n = 1;

		if (fds_receive(links[0], &msg, sizeof(msg), &fd, &n,
				VERDICT_TIMEOUT_MS, NULL) <= 0)
			return;
		if (fd >= 0)
			control_send(fd, answer, NULL);
		close_fd(&fd);
	}
}

/* ---- MPI ------------------------------------------------------------------------ */

bool tasks_limit_mpi(spank_t sp)
{
	char text[16];

	/* Slurm's pmi2 starts it. ESPANK_NOSPACE: there is one, and it is long. */
	return spank_getenv(sp, "PMI_FD", text, sizeof(text)) == ESPANK_SUCCESS &&
	       spank_getenv(sp, "UCX_TLS", text, sizeof(text)) ==
		       ESPANK_ENV_NOEXIST &&
	       spank_setenv(sp, "UCX_TLS", "posix,self", 0) == ESPANK_SUCCESS;
}

/* ---- a task that is not the first ------------------------------------------------ */

static int put_join_first(spank_t sp, const struct spec *spec, int task,
			  struct err *e)
{
	char number[16], fd[16], job[16];
	const char *argv[] = { JOIN_PATH, number, fd, job, spec->id, spec->node };

	snprintf(number, sizeof(number), "%d", task);
	snprintf(fd, sizeof(fd), "%d", joins[1]);
	snprintf(job, sizeof(job), "%u", spec->job);
	fcntl(joins[1], F_SETFD, 0);
	return prepend(sp, sizeof(argv) / sizeof(argv[0]), argv, e);
}

int tasks_follow(spank_t sp, const struct spec *spec, int task)
{
	struct control answer = { .value = -1 };
	struct helper helper;
	struct err e = { "" };
	pid_t pid;

	if (tasks_helper(&helper, task, &e) < 0 ||
	    control_receive(helper.fds[0], &answer, -1, &e) <= 0 ||
	    answer.value < 0) {
		slurm_error(SAYS "task %d: the first task of the step has not started%s%s",
			    task, *e.text ? ": " : "", e.text);
		return -1;
	}
	if (!answer.value)
		return 1;
	tasks_limit_mpi(sp);
	if ((pid = fork()) < 0) {
		slurm_error(SAYS "cannot fork: %m");
		return -1;
	}
	if (pid > 0)
		helper_become(&helper, pid);
	helper_drop(&helper);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (put_join_first(sp, spec, task, &e) < 0) {
		slurm_error(SAYS "%s", e.text);
		return -1;
	}
	return 0;
}
