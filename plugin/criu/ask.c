/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of hook_ask.c. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sckpt/criu.h"

int hook_listen(const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, "%s is too long for a socket", path);
	strcpy(addr.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 1) < 0)
		return err_sys(e, "cannot listen on %s", path);
	return steal_fd(&fd);
}

/*
 * Only the hook that this criu started may have an answer: the program can
 * reach the socket too, and a commit of its choosing would publish half a
 * dump. It is frozen at that point, but might have connected before.
 */
static bool is_hook_of(int fd, pid_t criu)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	cleanup_free char *stat = NULL;
	char path[64], *at;
	int parent = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", peer.pid);
	if (file_read(AT_FDCWD, path, 4096, &stat, NULL) > 0 &&
	    (at = strrchr(stat, ')')))
		sscanf(at, ") %*c %d", &parent);
	return parent == criu;
}

/* What the hook asks about; it closes its side behind the word. */
static int read_action(int fd, char *action, size_t size)
{
	size_t n = 0;
	ssize_t got;

	while (n < size - 1 && (got = read(fd, action + n, size - 1 - n)) > 0)
		n += (size_t)got;
	action[n] = '\0';
	return n > 0 ? 0 : -1;
}

int hook_accept(int listener, pid_t criu, char *action, size_t size)
{
	cleanup_fd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 || !is_hook_of(fd, criu) || read_action(fd, action, size) < 0)
		return -1;
	return steal_fd(&fd);
}
