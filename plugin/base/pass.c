/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages that carry descriptors, between processes of one step (unix(7)). */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sckpt/base.h"

int fds_send(int to, const void *data, size_t size, const int *fds, int count,
	     struct err *e)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control = { .room = "" };
	struct iovec iov = { (void *)data, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (count > FDS_MAX)
		return err_set(e, "more than %d descriptors cannot be handed over",
			       FDS_MAX);
	if (count) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)count);
	}
	do
		n = sendmsg(to, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, "cannot hand over to the step's other helper") :
		       0;
}

static int take_fds(struct msghdr *msg, int *fds, int most)
{
	int count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (count < most)
				fds[count++] = fd;
			else
				close(fd);
		}
	}
	return count;
}

int fds_receive(int from, void *data, size_t size, int *fds, int *count,
		int timeout_ms, struct err *e)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	struct pollfd p = { .fd = from, .events = POLLIN };
	struct iovec iov = { data, size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int most = *count, rc;
	ssize_t n;

	*count = 0;
	do
		rc = poll(&p, 1, timeout_ms);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return err_set(e, "the step's other helper did not answer within %d s",
			       timeout_ms / 1000);
	do
		n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	while (packet_again(n));
	if (n == 0)
		return 0;
	if (n < 0)
		return err_sys(e, "cannot hear the step's other helper");
	*count = take_fds(&msg, fds, most);
	if ((size_t)n == size && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	while (*count > 0)
		close(fds[--*count]);
	return err_set(e, "the step's other helper sent a message of the wrong size");
}
