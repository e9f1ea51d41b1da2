/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children, orphans, daemons and zombies. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zoo.h"

/* ---- this process ---------------------------------------------------------- */

static pid_t self, parent, group, session;

static void identity_setup(void)
{
	self = getpid();
	parent = getppid();
	group = getpgrp();
	session = getsid(0);
}

static const char *identity_verify(bool last)
{
	(void)last;
	WANT(self == getpid() && parent == getppid());
	WANT(group == getpgrp() && session == getsid(0));
	return NULL;
}

/* ---- others that answer who they are whenever asked ------------------------ */

struct reply {
	pid_t pid, ppid, pgid, sid;
	unsigned asked;
};

struct distant {
	int ask[2], answer[2];
	struct reply was;
};

static void serve(struct distant *d, const char *name)
{
	struct reply r = { .asked = 0 };
	char c;

	prctl(PR_SET_NAME, name, 0, 0, 0);
	/* The end of whoever asks is seen only if no copy is kept. */
	close(d->ask[1]);
	close(d->answer[0]);
	while (read(d->ask[0], &c, 1) == 1) {
		r.pid = getpid();
		r.ppid = getppid();
		r.pgid = getpgrp();
		r.sid = getsid(0);
		r.asked++;
		if (write(d->answer[1], &r, sizeof(r)) != sizeof(r))
			break;
	}
	_exit(0);
}

static bool ask(struct distant *d, struct reply *r)
{
	return write(d->ask[1], "x", 1) == 1 &&
	       zoo_read(d->answer[0], r, sizeof(*r));
}

/* Forks a child that makes itself what it is to be; with orphan, that child
 * forks once more and ends. */
static void distant_start(struct distant *d, const char *name,
			  void (*become)(void), bool orphan)
{
	pid_t child;

	NEED(pipe(d->ask) == 0 && pipe(d->answer) == 0);
	child = fork();
	if (child == 0) {
		become();
		if (!orphan || fork() == 0)
			serve(d, name);
		_exit(0);
	}
	NEED(child > 0);
	close(d->ask[0]);
	close(d->answer[1]);
	if (orphan)
		NEED(zoo_ended(child));
	/* The orphan may be asked before it got its new parent. */
	do
		NEED(ask(d, &d->was));
	while (orphan && d->was.ppid == child);
}

static const char *distant_verify(struct distant *d)
{
	struct reply r;

	WANT(ask(d, &r));
	WANT(r.pid == d->was.pid);
	if (r.ppid != d->was.ppid)
		return zoo_text("its parent was %d and is %d", d->was.ppid,
				r.ppid);
	WANT(r.pgid == d->was.pgid);
	WANT(r.sid == d->was.sid);
	/* The same one all the time, asked by nobody else. */
	WANT(r.asked == ++d->was.asked);
	return NULL;
}

static struct distant orphan, daemonised, leader, grouped;

static void stay(void)
{
}

static void lead_session(void)
{
	setsid();
}

static void lead_group(void)
{
	setpgid(0, 0);
}

static void orphan_setup(void)
{
	distant_start(&orphan, "orphan", stay, true);
}

static const char *orphan_verify(bool last)
{
	(void)last;
	return distant_verify(&orphan);
}

/* Its session's leader has ended. */
static void daemon_setup(void)
{
	distant_start(&daemonised, "daemon", lead_session, true);
	NEED(daemonised.was.sid != getsid(0) &&
	     daemonised.was.sid != daemonised.was.pid);
}

static const char *daemon_verify(bool last)
{
	(void)last;
	return distant_verify(&daemonised);
}

static void session_setup(void)
{
	distant_start(&leader, "leader", lead_session, false);
	NEED(leader.was.sid == leader.was.pid);
}

static const char *session_verify(bool last)
{
	(void)last;
	return distant_verify(&leader);
}

static void group_setup(void)
{
	distant_start(&grouped, "grouped", lead_group, false);
	NEED(grouped.was.pgid == grouped.was.pid);
}

static const char *group_verify(bool last)
{
	(void)last;
	WANT(kill(-grouped.was.pgid, 0) == 0);
	return distant_verify(&grouped);
}

/* ---- a zombie, reaped at the end only --------------------------------------- */

static pid_t zombie;

static void zombie_setup(void)
{
	siginfo_t info;

	if ((zombie = fork()) == 0)
		_exit(17);
	NEED(zombie > 0);
	NEED(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT) == 0);
}

static const char *zombie_verify(bool last)
{
	siginfo_t info = { .si_pid = 0 };

	WANT(waitid(P_PID, (id_t)zombie, &info,
		    WEXITED | WNOHANG | (last ? 0 : WNOWAIT)) == 0);
	WANT(info.si_pid == zombie);
	WANT(info.si_code == CLD_EXITED && info.si_status == 17);
	return NULL;
}

const struct exhibit zoo_processes[] = {
	{ "identity", identity_setup, identity_verify },
	{ "orphan", orphan_setup, orphan_verify },
	{ "daemon", daemon_setup, daemon_verify },
	{ "session", session_setup, session_verify },
	{ "process-group", group_setup, group_verify },
	{ "zombie", zombie_setup, zombie_verify },
	{ NULL, NULL, NULL }
};
