/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A criu that runs: its end, and its stops while it is traced (adopt.c). */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/criu.h"

int criu_watch_begin(struct criu_watch *w, struct err *e)
{
	sigset_t chld;

	*w = (struct criu_watch){ .pid = -1 };
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	w->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	return w->signals < 0 ? err_sys(e, "cannot watch criu") : 0;
}

int criu_watch_adopt(struct criu_watch *w, struct err *e)
{
	int rc = adopt_begin(w->pid, e);

	w->adopting = rc == 0;
	return rc;
}

static void note_end(struct criu_watch *w, int status)
{
	w->ended = true;
	w->status = status;
}

int criu_watch_look(struct criu_watch *w, struct err *e)
{
	struct signalfd_siginfo si;
	int status, rc;

	while (read(w->signals, &si, sizeof(si)) > 0)
		;
	while (!w->ended && waitpid(w->pid, &status, WNOHANG | __WALL) > 0) {
		if (!WIFSTOPPED(status)) {
			note_end(w, status);
		} else {
			if ((rc = adopt_event(w->pid, status, w->keep, e)) < 0)
				return -1;
			w->adopting = rc == 0;
			w->adopted |= rc > 0;
		}
	}
	return 0;
}

void criu_watch_end(struct criu_watch *w)
{
	int status;

	if (w->adopting && !w->ended)
		adopt_stop(w->pid);
	while (w->pid > 0 && !w->ended) {
		if (waitpid(w->pid, &status, __WALL) < 0) {
			if (errno != EINTR)
				break;
		} else if (WIFSTOPPED(status)) {
			/* Still traced, and to undo what it did by itself. */
			adopt_let_go(w->pid, status);
		} else {
			note_end(w, status);
		}
	}
	close_fd(&w->signals);
}
