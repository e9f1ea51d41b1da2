/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a unix socket of the program's is bound to. The kernel's table of them
 * (/proc/net/unix) prints names as they are, newlines too, of everybody on the
 * node: whoever likes can write a line of it. The socket itself is asked.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "files.h"

bool bound_name(pid_t pid, const char *fd, char *path, size_t size)
{
	/* One of 108 bytes has no NUL at its end (unix(7)). */
	struct sockaddr_un addr;
	char name[sizeof(addr.sun_path) + 1] = "", cwd[32];
	socklen_t n = sizeof(addr);
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cleanup_fd int sock = -1;
	ssize_t at = 0;

	if (pidfd >= 0)
		sock = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(fd), 0);
	if (sock < 0 || getsockname(sock, (struct sockaddr *)&addr, &n) < 0 ||
	    addr.sun_family != AF_UNIX ||
	    n <= offsetof(struct sockaddr_un, sun_path))
		return false;
	memcpy(name, addr.sun_path, n - offsetof(struct sockaddr_un, sun_path));
	if (!*name)
		return false; /* an abstract one */
	/* Criu looks for others there, too (sk-unix.c, resolve_rel_name). */
	if (*name != '/') {
		snprintf(cwd, sizeof(cwd), "/proc/%d/cwd", pid);
		at = readlink(cwd, path, size);
		if (at <= 0)
			return false;
	}
	return (size_t)at < size &&
	       (size_t)snprintf(path + at, size - (size_t)at, "%s%s", at ? "/" : "",
				name) < size - (size_t)at;
}
