/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore of TCP connections. Its tasks have CAP_NET_ADMIN because each takes its
 * own connections out of repair mode (rst_tcp_socks_all(), criu/pie/restorer.c), right before
 * it gets the program's credentials. By then another thread of it, which has them already, may
 * have opened its memory to the user.
 *
 * Before that criu attaches to all of them (attach_to_tasks(), criu/cr-restore.c), when everything
 * is restored but that. So criu itself, whose memory nobody shares with the user, takes
 * the connections out of repair mode there, and they give the capability up. What they try
 * themselves then fails, which criu only logs (tcp_repair_off(), criu/include/sk-inet.h).
 */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_in.h"
#include "in_attach.h"

#define NET_ADMIN (UINT64_C(1) << CAP_NET_ADMIN)

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

static int connections_on_of(int pidfd, DIR *fds)
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

static int connections_on(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), rc = -1;
	char path[32];
	DIR *fds;

	if (pidfd < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if ((fds = opendir(path))) {
		rc = connections_on_of(pidfd, fds);
		closedir(fds);
	}
	close(pidfd);
	return rc;
}

int attach_give_up_net(pid_t tid)
{
	uint64_t caps = caps_of(tid);

	if (!(caps & NET_ADMIN))
		return 0;
	/* Is it the first of its process? */
	if (syscall(SYS_tgkill, tid, tid, 0) == 0 && connections_on(tid) < 0)
		return -1;
	return caps_keep(tid, caps & ~NET_ADMIN);
}
