/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repair mode of connections (TCP_REPAIR, net/ipv4/tcp.c), at a dump: on and off, for criu. It is
 * this process that does so, for criu may be killed or stopped by its user, and then it would stay on.
 *
 * With it the kernel lets a socket have a port that is in use (SK_FORCE_REUSE), and asks for no
 * capability any more; the user can have the connection in processes outside of the tree, too,
 * which are not frozen. That is taken away at once, by SO_REUSEADDR: only a restore needs it. What is
 * not the connection any more that it was is no connection at all afterwards.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"

/* Another process of the user's may turn it into a listener again and again meanwhile. */
#define TRIES 1000

struct repaired {
	int fd;
	uint64_t cookie; /* the socket's, which it keeps */
	int reuse;
	struct sockaddr_storage here, there; /* zeros behind what is in use */
};

/* ---- a connection ----------------------------------------------------------------------- */

static int get(int fd, int level, int name)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, level, name, &value, &size) < 0 ? -1 : value;
}

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static bool is_loopback(const struct sockaddr_storage *at)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)at;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)at;

	if (at->ss_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	return at->ss_family == AF_INET6 &&
	       (IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
		(IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == 127));
}

/* Of one that is none (a listener, or closed) the kernel has no peer. */
static bool has_ends(int fd, struct sockaddr_storage *here, struct sockaddr_storage *there)
{
	socklen_t size = sizeof(*here), peer = sizeof(*there);

	memset(here, 0, sizeof(*here));
	memset(there, 0, sizeof(*there));
	return getsockname(fd, (struct sockaddr *)here, &size) == 0 &&
	       getpeername(fd, (struct sockaddr *)there, &peer) == 0 && is_loopback(here) &&
	       is_loopback(there);
}

static bool cookie_of(int fd, uint64_t *cookie)
{
	socklen_t size = sizeof(*cookie);

	return get(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP &&
	       get(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size) == 0;
}

static bool is_same(const struct repaired *c)
{
	struct sockaddr_storage here, there;

	return has_ends(c->fd, &here, &there) && !memcmp(&here, &c->here, sizeof(here)) &&
	       !memcmp(&there, &c->there, sizeof(there));
}

static void disconnect(int fd)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	if (connect(fd, &none, sizeof(none)) < 0)
		say("a connection cannot be broken: %s", strerror(errno));
}

static void switch_off(const struct repaired *c, bool broken)
{
	int rc = -1;

	for (int i = 0; rc < 0 && i < TRIES; i++) {
		if (broken || !is_same(c))
			disconnect(c->fd);
		/* Not of a listener. */
		rc = set(c->fd, IPPROTO_TCP, TCP_REPAIR, 0);
	}
	if (rc < 0)
		say("a socket of the job's stays in repair mode: %s", strerror(errno));
	/* That has changed it. */
	set(c->fd, SOL_SOCKET, SO_REUSEADDR, c->reuse);
}

static int switch_on(struct repaired *c)
{
	if (!has_ends(c->fd, &c->here, &c->there) ||
	    (c->reuse = get(c->fd, SOL_SOCKET, SO_REUSEADDR)) < 0)
		return -1;
	c->reuse = c->reuse == 1; /* SK_CAN_REUSE, net/sock.h */
	if (set(c->fd, IPPROTO_TCP, TCP_REPAIR, 1) < 0)
		return -1;
	set(c->fd, SOL_SOCKET, SO_REUSEADDR, c->reuse);
	if (is_same(c))
		return 0;
	switch_off(c, false);
	return -1;
}

/* ---- those of the tree -------------------------------------------------------------------- */

static bool is_known(const struct repairs *r, unsigned long inode)
{
	for (size_t i = 0; i < r->our_count; i++)
		if (r->ours[i] == inode)
			return true;
	return false;
}

static bool is_ours(struct repairs *r, int fd)
{
	struct err e = { "" };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	/* Frozen it does not change any more; before that criu asks about one of its own alone. */
	return is_known(r, st.st_ino) ||
	       (look_for_sockets(&r->ours, &r->our_count, &e) == 0 && is_known(r, st.st_ino));
}

static struct repaired *find(const struct repairs *r, uint64_t cookie)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->list[i].cookie == cookie)
			return &r->list[i];
	return NULL;
}

/* Takes the descriptor where it is done. */
static int on(struct repairs *r, int *fd)
{
	struct repaired c = { .fd = *fd }, *more;

	if (!cookie_of(*fd, &c.cookie))
		return REPAIR_REFUSED;
	if (!is_ours(r, *fd))
		return REPAIR_NOT_OURS;
	if (find(r, c.cookie))
		return REPAIR_DONE;
	if (r->count == r->room) {
		size_t room = r->room ? r->room * 2 : 64;

		if (!(more = realloc(r->list, room * sizeof(*more))))
			return REPAIR_REFUSED;
		r->list = more;
		r->room = room;
	}
	if (switch_on(&c) < 0)
		return REPAIR_REFUSED;
	steal_fd(fd);
	r->list[r->count++] = c;
	return REPAIR_DONE;
}

static int off(struct repairs *r, int fd)
{
	struct repaired *c;
	uint64_t cookie;

	if (!cookie_of(fd, &cookie) || !(c = find(r, cookie)))
		return REPAIR_REFUSED;
	switch_off(c, false);
	close(c->fd);
	*c = r->list[--r->count];
	return REPAIR_DONE;
}

/* ---- criu's requests ----------------------------------------------------------------------- */

int repairs_begin(struct repairs *r, int dir, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int yes = 1;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/" REPAIR_NAME, dir);
	unlink(addr.sun_path);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(e, "cannot listen on %s", addr.sun_path);
	r->sock = steal_fd(&fd);
	return 0;
}

struct wish {
	char on;
	int fds[2]; /* the connection, and where the answer goes */
	pid_t from;
};

static void take_apart(struct msghdr *m, struct wish *q)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const size_t size = c->cmsg_len - CMSG_LEN(0);
		struct ucred from;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && size == sizeof(from)) {
			memcpy(&from, CMSG_DATA(c), sizeof(from));
			q->from = from.pid;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			/* For more there is no room. */
			memcpy(q->fds, CMSG_DATA(c), size < sizeof(q->fds) ? size : sizeof(q->fds));
		}
	}
}

static int receive(int sock, struct wish *q)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(q->fds))];
	struct iovec iov = { &q->on, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };

	*q = (struct wish){ .fds = { -1, -1 } };
	if (recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return -1;
	take_apart(&m, q);
	return 0;
}

void repairs_hear(struct repairs *r, pid_t criu)
{
	struct wish q;
	char answer;

	if (receive(r->sock, &q) < 0)
		return;
	/* Nobody but criu and what it starts gets to this socket; and of those criu alone is heard. */
	if (q.from == criu && q.fds[0] >= 0 && q.fds[1] >= 0) {
		answer = (char)(q.on ? on(r, &q.fds[0]) : off(r, q.fds[0]));
		send(q.fds[1], &answer, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	close_fd(&q.fds[0]);
	close_fd(&q.fds[1]);
}

void repairs_end(struct repairs *r, bool broken)
{
	for (size_t i = 0; i < r->count; i++) {
		switch_off(&r->list[i], broken);
		close(r->list[i].fd);
	}
	free(r->list);
	free(r->ours);
	close_fd(&r->sock);
	*r = (struct repairs){ .sock = -1 };
}
