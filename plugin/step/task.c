/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-task PID TASK: Slurm's task, of a step that has several on this node. Every
 * signal that Slurm sends it goes to the step's supervisor; it ends when that says
 * so, as its program ended. PID is its sckpt-join, or 0: it is the first task.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "end.h"
#include "tasks.h"

#define LINK 3
#define JOINS 4

/* The program will not be started: TaskProlog failed, say. Its step must not wait
 * for it, and Slurm is to hear of it as always. */
static void __attribute__((noreturn)) not_joined(int task, int status)
{
	const struct join_message msg = { .task = task,
					  .failed = 1,
					  .status = status };

	fds_send(JOINS, &msg, sizeof(msg), NULL, 0, NULL);
	end_as(status);
}

static void pass(int signals, int task, pid_t *joiner)
{
	struct signalfd_siginfo si;

	while (read(signals, &si, sizeof(si)) == sizeof(si)) {
		struct control msg = { .kind = CONTROL_SIGNAL,
				       .value = (int)si.ssi_signo,
				       .task = task };
		int status;

		if (si.ssi_signo != SIGCHLD) {
			/* If it is gone, that is seen in the poll loop. */
			control_send(LINK, &msg, NULL);
		} else if (*joiner && waitpid(*joiner, &status, WNOHANG) == *joiner) {
			*joiner = 0;
			if (status)
				not_joined(task, status);
			/* Nobody waits for more of this task. */
			close(JOINS);
		}
	}
}

int main(int argc, char *argv[])
{
	struct pollfd p[2] = { { .events = POLLIN }, { LINK, POLLIN, 0 } };
	struct control msg;
	sigset_t all;
	pid_t joiner;
	int task;

	if (argc != 3) {
		fprintf(stderr, "sckpt-task: started by Slurm through spank-sckpt, not by hand\n");
		return 2;
	}
	joiner = atoi(argv[1]);
	task = atoi(argv[2]);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if ((p[0].fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return 1;
	/* The program's own streams end when the program closes them. */
	close(0);
	close(1);
	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents) {
			if (control_receive(LINK, &msg, 0, NULL) <= 0) {
				dprintf(2, "sckpt: the step's supervisor was killed, and task %d with it\n",
					task);
				end_as(SIGKILL);
			}
			if (msg.kind == CONTROL_ENDED)
				end_as(msg.value);
		}
		if (p[0].revents)
			pass(p[0].fd, task, &joiner);
	}
}
