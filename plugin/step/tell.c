/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The job's user is told: on stderr, in the job's Comment, by mail. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/store.h"
#include "supervise.h"

/* In one write, so that lines of several processes do not mix. */
void say(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	file_write(STDERR_FILENO, text, (size_t)n, NULL);
}

/* ---- events ---------------------------------------------------------------------- */

/*
 * Standard output holds what the program wrote, and nothing else unless people
 * must know it: where both are one file, as with sbatch by default, events are not
 * told there; nor where they are one file of srun's, which the plugin in srun sees. Nor are those of a step that a protected script called: its own
 * supervisor tells of the script, and sckpt-srun counts what the step says.
 */
void tell_begin(struct supervisor *s)
{
	bool call = is_call_step(s->spec.step);
	struct stat out, err;

	s->own_stderr = !call && fstat(2, &err) == 0 &&
			(S_ISREG(err.st_mode) || s->spec.own_stderr) &&
			!(fstat(1, &out) == 0 && out.st_dev == err.st_dev &&
			  out.st_ino == err.st_ino);
}

/* Not into the middle of a line of the program's, as far as that can be seen. */
static bool at_line(void)
{
	cleanup_fd int fd = -1;
	struct stat st;
	char last;

	if (fstat(2, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
		return true;
	fd = open("/proc/self/fd/2", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 || pread(fd, &last, 1, st.st_size - 1) != 1 || last == '\n';
}

/* When this run was put into the queue is known by slurmctld alone, and tells how
 * long the run before can have lived at most. */
static void note_requeue(const struct supervisor *s, int64_t submitted)
{
	struct event ev = { .kind = EVENT_REQUEUED,
			    .time_us = submitted * 1000000,
			    .run = s->spec.restart };
	struct store store;

	if (s->spec.restart <= 0 || !submitted ||
	    store_open(&s->spec, false, &store, NULL))
		return;
	event_add(&store, &ev, false);
	store_close(&store);
}

/* SIGKILL comes so many ms from now, and something before it is left. */
static int ms_left(const struct supervisor *s)
{
	int64_t since = clock_ns(CLOCK_MONOTONIC) - s->told;
	int64_t left = s->spec.kill_wait * INT64_C(1000) - since / 1000000 - 300;

	return !s->told || left > 1000 ? 1000 : left < 0 ? 0 : (int)left;
}

/* True in the child, which is *pid to the supervisor; where there can be none, 0. */
static bool in_child(pid_t *pid)
{
	pid_t made = fork();

	*pid = made > 0 ? made : 0;
	return made == 0;
}

/*
 * In a process of its own. slurmctld is asked whether the Comment is the user's;
 * at a stop it was asked already, and no time is to be lost.
 */
static void comment(struct supervisor *s, const char *text, bool restored)
{
	bool ending = s->dumping == ENDING;
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	struct job_facts facts;
	const char *name = s->name;

	if (is_call_step(s->spec.step) ||
	    s->commenter || (ending && s->comment != COMMENT_FREE))
		return;
	s->commented = now;
	if (!in_child(&s->commenter))
		return;
	if (!ending) {
		ask_until_answered(s->spec.job, &facts, NULL);
		if (restored && facts.restarts == s->spec.restart)
			note_requeue(s, facts.submitted);
		if (!facts.answered || !comment_is_free(facts.comment))
			_exit(0);
		name = facts.name;
	}
	comment_set(name, s->spec.step, text, 10000, NULL);
	_exit(0);
}

void tell_event(struct supervisor *s, const char *text)
{
	bool restored = s->dumping == NOTHING; /* no dump is under way */

	if (s->spec.part)
		return; /* the step's first node tells of it */
	if (s->own_stderr && at_line())
		say(SAYS "%s", text);
	if (restored || s->dumping == ENDING ||
	    comment_due(s->commented, clock_ns(CLOCK_MONOTONIC)))
		comment(s, text, restored);
}

void tell_refusal(struct supervisor *s, const char *why)
{
	char text[640];

	say(SAYS "no checkpoint of step %u.%s: %s", s->spec.job, s->spec.step,
	    why);
	snprintf(text, sizeof(text), "no checkpoint: %.600s", why);
	comment(s, text, false);
	notify(s, why);
}

void wait_for_comment(struct supervisor *s)
{
	struct pollfd p = { .fd = s->commenter > 0 ?
					  (int)syscall(SYS_pidfd_open,
						       s->commenter, 0) :
					  -1,
			    .events = POLLIN };

	if (s->commenter <= 0)
		return;
	if (p.fd < 0 || poll(&p, 1, ms_left(s)) == 0)
		kill(s->commenter, SIGKILL);
	waitpid(s->commenter, NULL, 0);
	s->commenter = 0;
}

/* ---- mail ------------------------------------------------------------------------ */

/* With the word notify: in a process of its own, as mail may take its time. */
void notify(struct supervisor *s, const char *what)
{
	struct job_facts facts;
	char subject[320];
	struct err e;

	if (!s->spec.notify || s->mailer || !in_child(&s->mailer))
		return;
	job_ask(s->spec.job, &facts, NULL);
	snprintf(subject, sizeof(subject), "Slurm Job_id=%u sckpt: step %s: %.240s",
		 s->spec.job, s->spec.step, what);
	if (mail_send(facts.mail_user, subject, &e) < 0)
		say(SAYS "step %u.%s: no mail was sent: %s", s->spec.job,
		    s->spec.step, e.text);
	_exit(0);
}

void wait_for_mail(struct supervisor *s)
{
	if (s->mailer > 0)
		waitpid(s->mailer, NULL, 0);
	s->mailer = 0;
}
