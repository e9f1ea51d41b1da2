/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of criu. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "adopt.h"
#include "session.h"

/* How often people are told of the progress. */
#define TICK_MS 250

static int listen_hook(struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX,
				    .sun_path = HOOK_SOCKET };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(HOOK_SOCKET);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 1) < 0)
		return err_sys(e, "cannot listen on %s", HOOK_SOCKET);
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

static int answer_hook(struct session *s, int listener, struct err *e)
{
	cleanup_fd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char action[32], answer;
	int rc;

	if (fd < 0 || !is_hook_of(fd, s->criu) ||
	    read_action(fd, action, sizeof(action)) < 0)
		return 0;
	if (!strcmp(action, "pre-restore")) {
		rc = adopt_begin(s->criu, e);
		s->adopting = rc == 0;
	} else {
		rc = s->commit(s->arg, s->stream, e);
	}
	answer = rc < 0;
	if (write(fd, &answer, 1) != 1 && rc == 0)
		return err_sys(e, "criu's hook is gone");
	return rc;
}

/* Criu stopped, as a traced process does, or ended. */
static int look_at_criu(struct session *s, int signals, struct err *e)
{
	struct signalfd_siginfo si;
	int status, rc;

	while (read(signals, &si, sizeof(si)) > 0)
		;
	while (!s->ended && waitpid(s->criu, &status, WNOHANG | __WALL) > 0) {
		if (!WIFSTOPPED(status)) {
			s->ended = true;
			s->status = status;
		} else {
			if ((rc = adopt_event(s->criu, status, e)) < 0)
				return -1;
			s->adopting = rc == 0;
		}
	}
	return 0;
}

/* Waits for criu's end, and serves it meanwhile. */
static int serve(struct session *s, int hook, int signals, struct err *e)
{
	int64_t next = clock_ns(CLOCK_MONOTONIC) + TICK_MS * INT64_C(1000000);

	while (!s->ended) {
		struct pollfd p[] = { { stream_fd(s->stream), POLLIN, 0 },
				      { hook, POLLIN, 0 },
				      { signals, POLLIN, 0 } };

		int n = poll(p, 3, s->tick ? TICK_MS : -1);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, "cannot wait for criu");
		}
		if (s->tick && clock_ns(CLOCK_MONOTONIC) >= next) {
			if (s->tick(s->arg, e) < 0)
				return -1;
			next = clock_ns(CLOCK_MONOTONIC) + TICK_MS * INT64_C(1000000);
		}
		if (p[0].revents && stream_step(s->stream, e) < 0)
			return -1;
		if (p[1].revents && answer_hook(s, hook, e) < 0)
			return -1;
		if (p[2].revents && look_at_criu(s, signals, e) < 0)
			return -1;
	}
	return 0;
}

static void wait_end(struct session *s)
{
	int status;

	while (!s->ended) {
		if (waitpid(s->criu, &status, __WALL) < 0) {
			if (errno != EINTR)
				return;
		} else if (WIFSTOPPED(status)) {
			/* Still traced, and to undo what it did by itself. */
			adopt_let_go(s->criu, status);
		} else {
			s->ended = true;
			s->status = status;
		}
	}
}

int session_run(struct session *s, struct criu_command *criu, int *status,
		struct err *e)
{
	cleanup_fd int hook = listen_hook(e), signals = -1;
	sigset_t chld;
	int rc = -1;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (hook < 0)
		return -1;
	/* The caller keeps SIGCHLD blocked, and looks for ended children of its
	 * own afterwards: theirs may be taken from here. */
	signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return err_sys(e, "cannot watch criu");
	if ((s->criu = criu_start(criu, e)) < 0)
		return -1;
	rc = serve(s, hook, signals, e);
	if (rc < 0) {
		/* Closed pipes and a refused hook make criu undo what it did
		 * and end by itself, which a signal would not let it do. */
		stream_close(s->stream);
		s->stream = NULL;
		close(hook);
		hook = -1;
		if (s->adopting)
			adopt_stop(s->criu);
	}
	wait_end(s);
	*status = s->status;
	return rc;
}
