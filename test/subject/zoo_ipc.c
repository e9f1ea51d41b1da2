/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pipes, sockets, event descriptors: with what is unread in them. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zoo.h"

/* ---- pipe and socketpair, with unread data in them ------------------------------- */

#define UNREAD 6000

/* Numbers in order, so that nothing missing, doubled or swapped agrees. */
static void text_of(char *buf)
{
	for (int i = 0; i < UNREAD; i += 6)
		snprintf(buf + i, 7, "%05d\n", i);
}

static bool put(int fd)
{
	char text[UNREAD + 1];

	text_of(text);
	return write(fd, text, UNREAD) == UNREAD;
}

/* Takes what is unread, and puts it back for the next look. */
static bool holds(int rd, int wr)
{
	char buf[UNREAD], text[UNREAD + 1], more;

	text_of(text);
	return zoo_read(rd, buf, UNREAD) && !memcmp(buf, text, UNREAD) &&
	       read(rd, &more, 1) < 0 && errno == EAGAIN && put(wr);
}

static int pipes[2];

static void pipe_setup(void)
{
	NEED(pipe2(pipes, O_NONBLOCK) == 0);
	NEED(fcntl(pipes[0], F_SETPIPE_SZ, 16384) == 16384);
	NEED(put(pipes[1]));
}

static const char *pipe_verify(bool last)
{
	(void)last;
	WANT(holds(pipes[0], pipes[1]));
	WANT(fcntl(pipes[0], F_GETPIPE_SZ) == 16384);
	WANT(fcntl(pipes[0], F_GETFL) & O_NONBLOCK);
	return NULL;
}

static int pairs[2], grams[2];

static void pair_setup(void)
{
	NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs) == 0);
	NEED(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, grams) == 0);
	NEED(put(pairs[1]));
	NEED(write(grams[1], "one", 3) == 3);
	NEED(write(grams[1], "second", 6) == 6);
}

static const char *pair_verify(bool last)
{
	char buf[16];

	(void)last;
	WANT(holds(pairs[0], pairs[1]));
	WANT(read(grams[0], buf, sizeof(buf)) == 3 && !memcmp(buf, "one", 3));
	WANT(read(grams[0], buf, sizeof(buf)) == 6 && !memcmp(buf, "second", 6));
	WANT(read(grams[0], buf, sizeof(buf)) < 0 && errno == EAGAIN);
	WANT(write(grams[1], "one", 3) == 3 && write(grams[1], "second", 6) == 6);
	return NULL;
}

/* ---- eventfd ------------------------------------------------------------------------ */

static int events, semaphore;

static void eventfd_setup(void)
{
	NEED((events = eventfd(41, EFD_NONBLOCK)) >= 0);
}

static const char *eventfd_verify(bool last)
{
	uint64_t v = 0;

	(void)last;
	WANT(read(events, &v, sizeof(v)) == sizeof(v) && v == 41);
	WANT(write(events, &v, sizeof(v)) == sizeof(v));
	return NULL;
}

/* Criu brings it back as a plain one (criu/eventfd.c): sckpt must refuse it. */
static void semaphore_setup(void)
{
	NEED((semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK)) >= 0);
}

static const char *semaphore_verify(bool last)
{
	uint64_t v = 0;

	(void)last;
	for (int i = 0; i < 3; i++)
		WANT(read(semaphore, &v, sizeof(v)) == sizeof(v) && v == 1);
	WANT(read(semaphore, &v, sizeof(v)) < 0 && errno == EAGAIN);
	v = 3;
	WANT(write(semaphore, &v, sizeof(v)) == sizeof(v));
	return NULL;
}

/* ---- signalfd, with a signal waiting in it ------------------------------------------- */

static int signals;

static void signalfd_setup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	NEED(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	signals = signalfd(-1, &set, SFD_NONBLOCK);
	NEED(signals >= 0 && raise(SIGUSR2) == 0);
}

static const char *signalfd_verify(bool last)
{
	struct signalfd_siginfo si;

	(void)last;
	WANT(read(signals, &si, sizeof(si)) == sizeof(si));
	WANT(si.ssi_signo == SIGUSR2 && si.ssi_pid == (uint32_t)getpid());
	WANT(read(signals, &si, sizeof(si)) < 0 && errno == EAGAIN);
	WANT(raise(SIGUSR2) == 0);
	return NULL;
}

/* ---- epoll ----------------------------------------------------------------------------- */

static int poller, ready_pipe[2], idle_pipe[2];

static void epoll_setup(void)
{
	struct epoll_event ev = { .events = EPOLLIN };

	NEED(pipe(ready_pipe) == 0 && pipe(idle_pipe) == 0);
	NEED(write(ready_pipe[1], "x", 1) == 1);
	NEED((poller = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	ev.data.u64 = 0x1234567890abcdefULL;
	NEED(epoll_ctl(poller, EPOLL_CTL_ADD, ready_pipe[0], &ev) == 0);
	ev.data.u64 = 2;
	NEED(epoll_ctl(poller, EPOLL_CTL_ADD, idle_pipe[0], &ev) == 0);
}

static const char *epoll_verify(bool last)
{
	struct epoll_event ev[4];
	char c;

	(void)last;
	WANT(epoll_wait(poller, ev, 4, 0) == 1);
	WANT(ev[0].data.u64 == 0x1234567890abcdefULL);
	WANT(ev[0].events == EPOLLIN);
	/* The one that was not ready is watched as well. */
	WANT(write(idle_pipe[1], "x", 1) == 1);
	WANT(epoll_wait(poller, ev, 4, 0) == 2);
	WANT(ev[0].data.u64 == 2 || ev[1].data.u64 == 2);
	WANT(read(idle_pipe[0], &c, 1) == 1);
	return NULL;
}

/* ---- a listening TCP socket is taken along; an established one is not -------------------- */

static struct sockaddr_in address;
static int listener;

static void listen_setup(void)
{
	socklen_t len = sizeof(address);

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	NEED(listener >= 0 &&
	     bind(listener, (struct sockaddr *)&address, len) == 0 &&
	     listen(listener, 5) == 0 &&
	     getsockname(listener, (struct sockaddr *)&address, &len) == 0);
}

/* Connected at the last look only: what a connection leaves behind would be
 * one more thing to dump. */
static const char *listen_verify(bool last)
{
	struct sockaddr_in now;
	socklen_t len = sizeof(now);
	int client, server;

	WANT(getsockname(listener, (struct sockaddr *)&now, &len) == 0);
	WANT(now.sin_port == address.sin_port);
	if (!last)
		return NULL;
	client = socket(AF_INET, SOCK_STREAM, 0);
	WANT(connect(client, (struct sockaddr *)&now, len) == 0);
	server = accept(listener, NULL, NULL);
	WANT(server >= 0);
	close(client);
	close(server);
	return NULL;
}

const struct exhibit zoo_ipc[] = {
	{ "pipe", pipe_setup, pipe_verify },
	{ "socketpair", pair_setup, pair_verify },
	{ "eventfd", eventfd_setup, eventfd_verify },
	{ "semaphore", semaphore_setup, semaphore_verify },
	{ "signalfd", signalfd_setup, signalfd_verify },
	{ "epoll", epoll_setup, epoll_verify },
	{ "listening-tcp", listen_setup, listen_verify },
	{ NULL, NULL, NULL }
};
