/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In criu: a dump's pages by way of several pipes (sckpt/lanes.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lanes.h"

static struct {
	pid_t owner; /* 0: not tried yet */
	int sock; /* -1: none */
	int pipes[LANES_MOST];
	unsigned count, sent, read;
} lanes = { .sock = -1 };

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (!path || strlen(path) >= sizeof(addr.sun_path))
		return -1;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		syscall(SYS_close, fd);
		return -1;
	}
	return fd;
}

/* As many as may be as large as that (pipe(7), pipe-user-pages-soft). */
static unsigned make_pipes(int ends[LANES_MOST])
{
	unsigned count = 0;
	int p[2];

	while (count < LANES_MOST && pipe2(p, O_CLOEXEC) == 0) {
		if (fcntl(p[1], F_SETPIPE_SZ, LANE_SIZE) < LANE_SIZE) {
			syscall(SYS_close, p[0]);
			syscall(SYS_close, p[1]);
			break;
		}
		ends[count] = p[0];
		lanes.pipes[count++] = p[1];
	}
	return count;
}

static bool offer(int sock, const int *ends, unsigned count)
{
	const struct lanes_message m = { .size = 0 };
	char control[CMSG_SPACE(sizeof(int) * LANES_MOST)] = "";
	struct iovec iov = { (void *)&m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = CMSG_SPACE(sizeof(int) * count) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(c), ends, sizeof(int) * count);
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(m);
}

static bool open_lanes(void)
{
	int ends[LANES_MOST], sock = connect_to(getenv("SCKPT_LANES"));

	lanes.owner = getpid();
	if (sock < 0)
		return false;
	lanes.count = make_pipes(ends);
	/* One alone is what the image's is. */
	if (lanes.count > 1 && offer(sock, ends, lanes.count))
		lanes.sock = sock;
	for (unsigned i = 0; i < lanes.count; i++) {
		syscall(SYS_close, ends[i]);
		if (lanes.sock < 0)
			syscall(SYS_close, lanes.pipes[i]);
	}
	if (lanes.sock < 0)
		syscall(SYS_close, sock);
	return lanes.sock >= 0;
}

static bool wait_for_one(void)
{
	char byte;

	if (recv(lanes.sock, &byte, 1, 0) != 1)
		return false;
	lanes.read++;
	return true;
}

void lanes_wait(void)
{
	if (lanes.sock >= 0 && lanes.owner == getpid())
		while (lanes.read != lanes.sent && wait_for_one())
			;
}

ssize_t lanes_splice(int from, int image, size_t size, unsigned int flags, bool *taken)
{
	struct lanes_message m;
	struct stat st;
	ssize_t n;

	*taken = false;
	if (lanes.owner ? lanes.owner != getpid() || lanes.sock < 0 : size < LANES_LEAST)
		return 0;
	if (fstat(image, &st) < 0 || !S_ISFIFO(st.st_mode))
		return 0;
	if (!lanes.owner) {
		/* What it holds comes before. */
		wait_until_read(image);
		if (!open_lanes())
			return 0;
	}
	*taken = true;
	if (lanes.sent - lanes.read == lanes.count && !wait_for_one()) {
		errno = EPIPE;
		return -1;
	}
	n = syscall(SYS_splice, from, NULL, lanes.pipes[lanes.sent % lanes.count], NULL, size, flags);
	if (n <= 0)
		return n;
	m = (struct lanes_message){ st.st_ino, (uint64_t)n };
	if (send(lanes.sock, &m, sizeof(m), MSG_NOSIGNAL) != (ssize_t)sizeof(m))
		return -1;
	lanes.sent++;
	return n;
}
