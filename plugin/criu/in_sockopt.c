/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, where it has CAP_NET_ADMIN for TCP connections: of its options of sockets only those have
 * it that are for these. Criu would also give a socket the mark or the priority that its user has
 * given it in a network namespace of their own, and policies of the node's trust marks. It is
 * effective again afterwards: without it criu could not look at what it has made (ptrace(2)).
 */
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_in.h"
#include "in_tcp.h"

static int switch_admin(bool on)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -1;
	data[0].effective &= ~(uint32_t)NET_ADMIN;
	if (on)
		data[0].effective |= (uint32_t)NET_ADMIN;
	return (int)syscall(SYS_capset, &header, data);
}

static int set(int fd, int level, int name, const void *value, socklen_t size)
{
	return (int)syscall(SYS_setsockopt, fd, level, name, value, size);
}

static bool is_tcp(int fd)
{
	int protocol;
	socklen_t size = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP;
}

/*
 * Larger buffers are needed for what is on its way in a connection. They are memory that counts
 * for the job, and that its user can have as well in a network namespace of their own.
 */
static bool needs_admin(int fd, int level, int name)
{
	if (level == IPPROTO_TCP)
		return name == TCP_REPAIR;
	return level == SOL_SOCKET && (name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE) && is_tcp(fd);
}

static int set_without(int fd, int level, int name, const void *value, socklen_t size)
{
	int rc, error;

	if (switch_admin(false) < 0)
		return -1;
	rc = set(fd, level, name, value, size);
	error = errno;
	if (switch_admin(true) < 0) {
		fprintf(stderr, "criu is without CAP_NET_ADMIN: %s\n", strerror(errno));
		_exit(1);
	}
	errno = error;
	return rc;
}

__attribute__((visibility("default"))) int setsockopt(int fd, int level, int name, const void *value,
						      socklen_t size)
{
	if (!(caps_of(0) & NET_ADMIN))
		return set(fd, level, name, value, size);
	if (!needs_admin(fd, level, name))
		return set_without(fd, level, name, value, size);
	return set(fd, level, name, value, size);
}
