/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages between a step's agent and its broker. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sckpt/broker.h"

int broker_send(int to, const struct broker_message *m, const int *fds, int count,
		struct err *e)
{
	return fds_send(to, m, BROKER_HEAD + m->size, fds, count, e);
}

/* What came beside the text. More descriptors than were wanted are closed. */
static void take_control(struct msghdr *msg, int *fds, int *count, struct ucred *from)
{
	int most = *count;

	*count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && from &&
		    c->cmsg_len == CMSG_LEN(sizeof(*from)))
			memcpy(from, CMSG_DATA(c), sizeof(*from));
		for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*count < most)
				fds[(*count)++] = fd;
			else
				close(fd);
		}
	}
}

int broker_receive(int fd, struct broker_message *m, int *fds, int *count,
		   struct ucred *from, struct err *e)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FDS_MAX) +
			  CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	if (from)
		*from = (struct ucred){ .pid = -1, .uid = (uid_t)-1 };
	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (packet_again(n));
	if (n < 0) {
		*count = 0;
		return err_sys(e, "cannot hear the broker");
	}
	take_control(&msg, fds, count, from);
	/* An empty packet has a sender; the end has none. */
	if (n == 0 && (!from || from->pid < 0))
		return 0;
	if ((size_t)n >= BROKER_HEAD && m->size <= sizeof(m->text) &&
	    (size_t)n == BROKER_HEAD + m->size &&
	    !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	while (*count > 0)
		close(fds[--*count]);
	return err_set(e, "a message to the broker, or from it, has the wrong size");
}
