/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports that a program has, and that another one has on this node: criu would fail in the
 * middle of a restore, and what it had made of connections by then would keep their ports for
 * another minute. So they are tried before, as criu binds them (criu/sk-inet.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "images.h"
#include "step.h"

/* TIME_WAIT lasts 60 s (TCP_TIMEWAIT_LEN, net/tcp.h), FIN_WAIT2 of nobody as long, and
 * the end of neither is told to anybody. */
#define WAIT_NS (INT64_C(65) * 1000000000)
#define LOOK_NS 200000000

struct place {
	int family, type;
	uint16_t port;
	uint32_t address[4]; /* in the order of the network, of IPv4 the first */
	bool v6only;
};

/* inet_sk_entry: family = 3, type = 4, src_port = 7, src_addr = 11, v6only = 15 */
static bool read_place(struct pb isk, struct place *p)
{
	struct pb_field f;
	size_t n = 0;

	*p = (struct place){ .family = (int)criu_number(isk, 3),
			     .type = (int)criu_number(isk, 4),
			     .port = (uint16_t)criu_number(isk, 7),
			     .v6only = criu_number(isk, 15) != 0 };
	while (pb_next(&isk, &f) > 0)
		if (f.number == 11 && n < 4)
			p->address[n++] = (uint32_t)f.value;
	return p->port && (p->family == AF_INET || p->family == AF_INET6);
}

/* 0, or why it cannot be had (errno). */
static int try(const struct place *p)
{
	cleanup_fd int fd = socket(p->family, p->type | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(p->port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(p->port),
				    .sin_addr = { p->address[0] } };
	const int yes = 1, v6only = p->v6only;

	memcpy(&six.sin6_addr, p->address, sizeof(six.sin6_addr));
	if (fd < 0)
		return 0; /* criu will tell */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (p->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	if (p->family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof(four)) == 0 :
				   bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0)
		return 0;
	/* A port below 1024 is for criu to fail on, or not. */
	return errno == EADDRINUSE || errno == EADDRNOTAVAIL ? errno : 0;
}

/* Does anybody have it, but connections that have ended, which are no process's any more
 * (inode 0: TIME_WAIT, FIN_WAIT and the like)? */
static bool is_held(const char *path, unsigned port)
{
	cleanup_free char *text = NULL;
	char *rest, *line;

	if (file_read(AT_FDCWD, path, 256 << 20, &text, NULL) < 0)
		return false;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		unsigned long inode;
		unsigned its;

		if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %*x %*s %*s %*s %*s %*s %lu",
			   &its, &inode) == 2 &&
		    its == port && inode)
			return true;
	}
	return false;
}

static void print_place(const struct place *p, char *text, size_t size)
{
	char address[INET6_ADDRSTRLEN] = "?";

	inet_ntop(p->family, p->address, address, sizeof(address));
	snprintf(text, size, "%s port %u%s%s", p->type == SOCK_STREAM ? "TCP" : "UDP", p->port,
		 p->address[0] || p->address[3] ? " of " : "",
		 p->address[0] || p->address[3] ? address : "");
}

static int get(const struct place *p, const struct step *step, int64_t until,
	       struct err *e)
{
	const char *node = step->spec.node;
	const struct timespec look = { .tv_nsec = LOOK_NS };
	bool told = false;
	char text[128];
	int why;

	while ((why = try(p))) {
		print_place(p, text, sizeof(text));
		if (why == EADDRNOTAVAIL)
			return err_set(e, "it has %s, and that address is not one of %s: let it use 0.0.0.0 or 127.0.0.1",
				       text, node);
		if (p->type != SOCK_STREAM || is_held("/proc/self/net/tcp", p->port) ||
		    is_held("/proc/self/net/tcp6", p->port) ||
		    clock_ns(CLOCK_MONOTONIC) > until)
			return err_set(e, "it has %s, which is taken on %s by another program",
				       text, node);
		if (!told)
			step_tell(step, CONTROL_NOTE,
				  "its %s is kept on %s by a connection that has ended, for a minute at most: that is waited for",
				  text, node);
		told = true;
		nanosleep(&look, NULL);
	}
	return 0;
}

int ports_free(struct image_reader *reader, const struct step *step, struct err *e)
{
	const int64_t until = clock_ns(CLOCK_MONOTONIC) + WAIT_NS;
	cleanup_free char *data = NULL;
	struct pb files, entry;
	int rc = 0;

	if (criu_image_read(reader, "files.img", &data, &files, e) < 0)
		return -1;
	/* file_entry: isk = 4 */
	while (rc == 0 && pb_message(&files, &entry) > 0) {
		struct pb isk = criu_bytes(entry, 4);
		struct place p;

		if (isk.at && read_place(isk, &p))
			rc = get(&p, step, until, e);
	}
	return rc;
}
