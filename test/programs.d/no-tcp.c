// SPDX-License-Identifier: GPL-2.0-or-later
// For LD_PRELOAD: connections that processes of a job have to each other over
// 127.0.0.1 become those of unix sockets, which criu can dump. Who listens has an
// abstract name of the job and the port; nothing else is remembered.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char prefix[] = "no-tcp";

static socklen_t name_of(int port, struct sockaddr_un *a)
{
	const char *job = getenv("SLURM_JOB_ID");

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	return offsetof(struct sockaddr_un, sun_path) + 1 +
	       snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s.%s.%d", prefix, job ? job : "", port);
}

// The port of such a name, 0 when it is none or another's.
static int port_of(const struct sockaddr_un *a, socklen_t length)
{
	char name[sizeof(a->sun_path) + 1] = "";
	const size_t head = offsetof(struct sockaddr_un, sun_path) + 1;

	if (a->sun_family != AF_UNIX || length <= head || length > sizeof(*a) || a->sun_path[0])
		return 0;
	memcpy(name, a->sun_path + 1, length - head);
	return strncmp(name, prefix, strlen(prefix)) ? 0 : atoi(strrchr(name, '.') + 1);
}

static int port_at(int fd, __typeof__(&getsockname) which)
{
	struct sockaddr_un a;
	socklen_t length = sizeof(a);

	return which(fd, (struct sockaddr *)&a, &length) ? 0 : port_of(&a, length);
}

static int ours(int fd)
{
	return port_at(fd, REAL(getsockname)) || port_at(fd, REAL(getpeername));
}

static int is_stream(int fd)
{
	int type = 0;
	socklen_t length = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_STREAM;
}

// A unix socket takes the number and the flags of FD, once it is what WHAT says.
static int become(int fd, int port, __typeof__(&bind) what, int backlog)
{
	struct sockaddr_un a;
	socklen_t length = name_of(port, &a);
	int flags = fcntl(fd, F_GETFL), cloexec = fcntl(fd, F_GETFD) & FD_CLOEXEC;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (s < 0 || what(s, (struct sockaddr *)&a, length) || (backlog && REAL(listen)(s, backlog)) ||
	    fcntl(s, F_SETFL, flags) || dup3(s, fd, cloexec ? O_CLOEXEC : 0) < 0) {
		close(s);
		return -1;
	}
	return close(s);
}

static void tell(struct sockaddr *to, socklen_t *length, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (!to || !length)
		return;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(to, &a, *length < sizeof(a) ? *length : sizeof(a));
	*length = sizeof(a);
}

int listen(int fd, int backlog)
{
	struct sockaddr_in a = { 0 };
	socklen_t length = sizeof(a);

	if (!REAL(getsockname)(fd, (struct sockaddr *)&a, &length) && a.sin_family == AF_INET &&
	    is_stream(fd) && (a.sin_addr.s_addr == htonl(INADDR_LOOPBACK) || !a.sin_addr.s_addr) &&
	    !become(fd, ntohs(a.sin_port), REAL(bind), backlog > 0 ? backlog : 1))
		return 0;
	return REAL(listen)(fd, backlog);
}

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
	const struct sockaddr_in *a = (const void *)to;

	if (to->sa_family == AF_INET && ntohl(a->sin_addr.s_addr) == INADDR_LOOPBACK && is_stream(fd) &&
	    !become(fd, ntohs(a->sin_port), REAL(connect), 0))
		return 0;
	return REAL(connect)(fd, to, length);
}

int accept4(int fd, struct sockaddr *from, socklen_t *length, int flags)
{
	if (!ours(fd))
		return REAL(accept4)(fd, from, length, flags);
	fd = REAL(accept4)(fd, NULL, NULL, flags);
	if (fd >= 0)
		tell(from, length, 1);
	return fd;
}

int accept(int fd, struct sockaddr *from, socklen_t *length)
{
	return accept4(fd, from, length, 0);
}

int getsockname(int fd, struct sockaddr *to, socklen_t *length)
{
	if (!ours(fd))
		return REAL(getsockname)(fd, to, length);
	tell(to, length, port_at(fd, REAL(getsockname)));
	return 0;
}

int getpeername(int fd, struct sockaddr *to, socklen_t *length)
{
	if (!ours(fd))
		return REAL(getpeername)(fd, to, length);
	tell(to, length, port_at(fd, REAL(getpeername)));
	return 0;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	if (level == IPPROTO_TCP && ours(fd))
		return 0;
	return REAL(setsockopt)(fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	if (level == IPPROTO_TCP && ours(fd)) {
		memset(value, 0, *length);
		return 0;
	}
	return REAL(getsockopt)(fd, level, option, value, length);
}
