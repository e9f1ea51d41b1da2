/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages between supervisor and agent: one fixed record per packet. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "sckpt/base.h"

int control_send(int fd, const struct control *msg, struct err *e)
{
	ssize_t n;

	do
		n = send(fd, msg, sizeof(*msg), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, "cannot reach the step's other helper") : 0;
}

int control_receive(int fd, struct control *msg, int timeout_ms, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;
	int rc;

	memset(msg, 0, sizeof(*msg));
	do
		rc = poll(&p, 1, timeout_ms);
	while (rc < 0 && errno == EINTR);
	if (rc <= 0)
		return rc == 0 ? 0 : err_sys(e, "cannot wait for the step's other helper");
	do
		n = recv(fd, msg, sizeof(*msg), 0);
	while (packet_again(n));
	if (n == 0) {
		msg->kind = 0;
		return 0;
	}
	if (n != sizeof(*msg)) {
		msg->kind = 0;
		return err_set(e, "the step's other helper sent a message of the wrong size");
	}
	msg->text[sizeof(msg->text) - 1] = '\0';
	msg->request[sizeof(msg->request) - 1] = '\0';
	/* slurmstepd logs what the user's processes say. */
	text_plain(msg->text);
	return 1;
}
