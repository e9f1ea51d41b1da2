/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu: TCP connections, where it has CAP_NET_ADMIN for them.
 *
 * What it restores has that, too, to make its sockets; and to take them out of repair mode at the
 * very end (rst_tcp_socks_all(), criu/pie/restorer.c), when memory of the program's is there that
 * its user can write to, which the kernel believes (rseq(2)), and threads of the same process have
 * the program's credentials. So each task gives it up before: when its umask is restored, which is
 * the last thing before it leaves criu's memory (restore_fs(), criu/files.c). Its connections criu
 * itself takes out of repair mode (in_attach.c). What the task tries then fails, which criu only
 * logs (tcp_repair_off(), criu/include/sk-inet.h).
 *
 * A connection that is on its way in a unix socket is in nobody's table of descriptors: nobody
 * has looked where it leads, and nobody would take it out of repair mode. It is not dumped, nor is any other
 * TCP socket there.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_in.h"
#include "in_tcp.h"
#include "sckpt/criu.h"

/* A process of the program may have any number. */
static pid_t criu;

static void __attribute__((constructor)) note_criu(void)
{
	criu = getpid();
}

__attribute__((visibility("default"))) mode_t umask(mode_t mask)
{
	const uint64_t caps = caps_of(0);

	if (getenv("SCKPT_RESTORES") && getpid() != criu && (caps & NET_ADMIN) &&
	    caps_keep_own(caps & ~NET_ADMIN) < 0) {
		fprintf(stderr, "what is restored keeps CAP_NET_ADMIN: %s\n", strerror(errno));
		_exit(1);
	}
	return (mode_t)syscall(SYS_umask, mask);
}

bool is_tcp(int fd)
{
	int protocol;
	socklen_t size = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP;
}

/* ---- at criu's attach ---------------------------------------------------------------- */

/* tcp(7) does not tell of TCP_REPAIR; net/ipv4/tcp.c does. */
static int repair_off(int sock)
{
	int mode, off = 0;
	socklen_t size = sizeof(mode);

	/* Of other kinds: no such option. */
	if (getsockopt(sock, IPPROTO_TCP, TCP_REPAIR, &mode, &size) < 0 || !mode)
		return 0;
	return setsockopt(sock, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
}

static bool is_socket(int dir, const char *name)
{
	char link[16];

	return readlinkat(dir, name, link, sizeof(link)) > 8 && !memcmp(link, "socket:[", 8);
}

static int all_on(int pidfd, DIR *fds)
{
	struct dirent *d;

	while ((errno = 0, d = readdir(fds))) {
		int sock, rc;

		if (!is_socket(dirfd(fds), d->d_name))
			continue;
		if ((sock = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(d->d_name), 0)) < 0)
			return -1;
		rc = repair_off(sock);
		close(sock);
		if (rc < 0)
			return -1;
	}
	return errno ? -1 : 0;
}

int tcp_go_on(pid_t pid)
{
	int pidfd, rc = -1;
	char path[32];
	DIR *fds;

	if (!(caps_of(0) & NET_ADMIN))
		return 0;
	if ((pidfd = (int)syscall(SYS_pidfd_open, pid, 0)) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if ((fds = opendir(path))) {
		rc = all_on(pidfd, fds);
		closedir(fds);
	}
	close(pidfd);
	return rc;
}

/* ---- at a dump -------------------------------------------------------------------------- */

/* Or soon is: others may have it, too, who are not frozen. */
static bool is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);

	return is_tcp(fd) && ((caps_of(0) & NET_ADMIN) || getpeername(fd, (struct sockaddr *)&peer, &size) == 0);
}

static bool has_connection(struct msghdr *m)
{
	bool found = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			found |= is_connected(fd);
		}
	}
	return found;
}

/* Criu looks so at what is on its way (dump_sk_queue(), criu/sk-queue.c). */
__attribute__((visibility("default"))) ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t n = syscall(SYS_recvmsg, fd, m, flags);

	if (n < 0 || !(flags & MSG_PEEK) || getenv("SCKPT_RESTORES") || !has_connection(m))
		return n;
	/* explain.c knows this one. Criu ends, and what it has of them with it. */
	errno = EPROTONOSUPPORT;
	return -1;
}
