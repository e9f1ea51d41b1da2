/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tasks of a step that has several here, as its supervisor sees them. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "sckpt/store.h"
#include "supervise.h"
#include "tasks.h"

int links_begin(struct links *l, const struct spec *spec, struct err *e)
{
	l->count = spec->tasks > 1 ? spec->tasks : 0;
	l->door = spec->links;
	if (spec->tasks > TASKS_MAX ||
	    !(l->list = calloc((size_t)l->count + 1, sizeof(*l->list))))
		return err_set(e, "no memory for %d tasks", spec->tasks);
	if (l->door >= 0)
		fcntl(l->door, F_SETFD, FD_CLOEXEC);
	for (int i = 0; i < l->count; i++)
		l->list[i].fd = -1;
	return 0;
}

int links_polls(const struct links *l, struct pollfd *p)
{
	p[0] = (struct pollfd){ l->door, POLLIN, 0 };
	for (int i = 0; i < l->count; i++)
		p[i + 1] = (struct pollfd){ l->list[i].fd, POLLIN, 0 };
	return l->count + 1;
}

void links_take(struct links *l)
{
	const struct control join = { .kind = CONTROL_VERDICT, .value = 1 };
	struct link_message msg;
	struct err e = { "" };
	int fd = -1, count = 1;
	int rc = fds_receive(l->door, &msg, sizeof(msg), &fd, &count, 0, &e);

	if (rc == 0) {
		/* All tasks have sent theirs, or will not come. */
		close_fd(&l->door);
		return;
	}
	if (rc < 0) {
		say(SAYS "a task of the step cannot be heard: %s", e.text);
		return;
	}
	if (count && msg.task >= 0 && msg.task < l->count &&
	    l->list[msg.task].fd < 0) {
		l->list[msg.task].fd = fd;
		control_send(fd, &join, NULL);
	} else {
		close_fd(&fd);
	}
}

bool links_hear(struct links *l, int task, int *sig)
{
	struct control msg;
	int *fd = &l->list[task].fd;

	if (control_receive(*fd, &msg, 0, NULL) <= 0) {
		/* It was killed by itself: so is its program. */
		close_fd(fd);
		*sig = SIGKILL;
		return !l->list[task].ended;
	}
	*sig = msg.value;
	return msg.kind == CONTROL_SIGNAL;
}

static void tell_end(struct link *link)
{
	const struct control msg = { .kind = CONTROL_ENDED,
				     .value = link->status };

	if (link->fd >= 0)
		control_send(link->fd, &msg, NULL);
	close_fd(&link->fd);
}

void links_ended(struct links *l, int task, int status)
{
	bool others = false;

	if (task < 0 || task >= l->count || l->list[task].ended)
		return;
	l->list[task].ended = true;
	l->list[task].status = status;
	for (int i = 0; i < l->count; i++)
		others |= !l->list[i].ended;
	/* With the last of them Slurm ends the step, and the supervisor with it. */
	if (others)
		tell_end(&l->list[task]);
}

void links_end(struct links *l, int status)
{
	for (int i = 0; i < l->count; i++) {
		if (!l->list[i].ended)
			l->list[i].status = status;
		tell_end(&l->list[i]);
	}
}
