/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What criu says to its image streamer (plugin/image/stream.c). */
#ifndef UNIT_ASKS_H
#define UNIT_ASKS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* what: capture or serve. */
static inline int connect_to(const char *dir, const char *what)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/streamer-%s.sock",
		 dir, what);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -1;
	return fd;
}

static inline void ask(int fd, const void *msg, uint32_t size)
{
	if (write(fd, &size, 4) != 4 || write(fd, msg, size) != (ssize_t)size)
		perror("ask");
}

static inline void ask_name(int fd, const char *name)
{
	uint8_t msg[400];
	size_t n = strlen(name), at = 0;

	msg[at++] = 0x0a;
	if (n > 127) {
		msg[at++] = (uint8_t)(n | 0x80);
		msg[at++] = (uint8_t)(n >> 7);
	} else {
		msg[at++] = (uint8_t)n;
	}
	memcpy(msg + at, name, n);
	ask(fd, msg, (uint32_t)(at + n));
}

static inline void send_pipe(int fd, int pipe)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pipe, sizeof(pipe));
	if (sendmsg(fd, &msg, 0) != 1)
		perror("send_pipe");
	close(pipe);
}

#endif
