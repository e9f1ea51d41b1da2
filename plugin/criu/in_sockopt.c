/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, where it has CAP_NET_ADMIN for TCP connections: of its options of sockets only those have
 * it that are for these. Criu would also give a socket the mark or the priority that its user has
 * given it in a network namespace of their own, and policies of the node's trust marks. It is
 * effective again afterwards: without it criu could not look at what it has made (ptrace(2)).
 *
 * At a dump criu itself does not switch repair mode: a connection in it is one that any process with
 * it may bind to a port of another user's, and criu may be killed by its user. There the
 * broker's runner switches it (broker/repair.c), and is asked for that.
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
#include <sys/un.h>
#include <unistd.h>

#include "call_in.h"
#include "in_tcp.h"
#include "sckpt/criu.h"

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

/* ---- at a dump --------------------------------------------------------------------------- */

/* Beside the hook's. */
static int name_runner(struct sockaddr_un *addr)
{
	const char *hook = getenv("SCKPT_HOOK"), *end = hook ? strrchr(hook, '/') : NULL;
	int n;

	if (!end)
		return -1;
	addr->sun_family = AF_UNIX;
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%.*s/" REPAIR_NAME, (int)(end - hook), hook);
	return n < (int)sizeof(addr->sun_path) ? 0 : -1;
}

static int send_request(const struct sockaddr_un *to, char on, int fd, int answer)
{
	const int fds[2] = { fd, answer };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fds))] = "";
	struct iovec iov = { &on, 1 };
	struct msghdr m = { .msg_name = (void *)to, .msg_namelen = sizeof(*to), .msg_iov = &iov,
			    .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (sock < 0)
		return -1;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	rc = sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : -1;
	close(sock);
	return rc;
}

static int ask_runner(int fd, bool on)
{
	struct sockaddr_un to;
	char answer = REPAIR_REFUSED;
	int pair[2], rc;

	if (name_runner(&to) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	rc = send_request(&to, on, fd, pair[1]);
	/* Where the runner ends without an answer, that is the end of this. */
	close(pair[1]);
	while (rc == 0 && (rc = (int)syscall(SYS_read, pair[0], &answer, 1)) < 0 && errno == EINTR)
		rc = 0;
	close(pair[0]);
	/* Criu only tries on one of its own what the kernel can do (kerndat_tcp_repair()). */
	if (rc == 1 && (answer == REPAIR_DONE || answer == REPAIR_NOT_OURS))
		return 0;
	errno = EPERM;
	return -1;
}

/* ---------------------------------------------------------------------------------------- */

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

/*
 * In repair mode the kernel gives a socket also a port on which another user listens (SK_FORCE_REUSE), and then, as
 * criu has set SO_REUSEPORT, any other socket of this user's, to listen there, too (fastuid,
 * net/ipv4/inet_connection_sock.c). That is taken away before criu binds it: a port that the program had is free, or the program's
 * own, of which all sockets have SO_REUSEPORT by then (open_inet_sk(), criu/sk-inet.c).
 */
static int set_repair(int fd, const void *value, socklen_t size)
{
	const int yes = 1;
	int rc = set(fd, IPPROTO_TCP, TCP_REPAIR, value, size);

	/* It is made anew by the end of the mode. */
	return rc == 0 && *(const int *)value > 0 ? set(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) : rc;
}

__attribute__((visibility("default"))) int setsockopt(int fd, int level, int name, const void *value,
						      socklen_t size)
{
	if (!(caps_of(0) & NET_ADMIN))
		return set(fd, level, name, value, size);
	if (!needs_admin(fd, level, name))
		return set_without(fd, level, name, value, size);
	if (level != IPPROTO_TCP || size != sizeof(int))
		return set(fd, level, name, value, size);
	return getenv("SCKPT_RESTORES") ? set_repair(fd, value, size) : ask_runner(fd, *(const int *)value > 0);
}
