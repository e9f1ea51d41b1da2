/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-agent: PID 1 of the step's PID namespace, in place of the program
 * that slurmstepd meant to run. It launches the program or restores it, does
 * what the supervisor orders, and when it ends, everything in the namespace
 * ends. While nothing happens it sleeps in poll.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/policy.h"
#include "carry.h"
#include "check.h"
#include "set.h"

/* How often people are told how far a dump is. */
#define TELL_MS 250

struct agent {
	struct step step;
	struct stdio io;
	struct tasks tasks;
	struct pmi pmi;
	int signals;
	struct saving *saving; /* a dump that is still being written */
	struct estimate estimate;
	struct calls *calls; /* of a batch step; NULL */
	struct check check;
	struct order stop; /* to be dumped for when its steps have been */
	bool stopping;
	int64_t stop_end; /* when that has to be over, ns */
	int64_t leave; /* when its steps are waited for no longer, ns; 0 never */
	/* Of a step on several nodes: */
	struct {
		int sig; /* Slurm has sent it, and the first node is to say what is
			  * to be done; 0 none */
		int64_t begun, until; /* so long that is waited for, ns */
		int64_t end; /* when a dump has to be over, ns */
	} follow;
	bool lingers; /* the programs here have ended, and others have not */
	bool over_said; /* which the first node knows */
	int linger_part, linger_status; /* see set_over() */
	struct presence presence; /* of the one that the first node waits for */
	bool refused; /* no dump, and the program was told to end */
	bool told; /* the program got a signal that may have ended it */
	int64_t asked; /* when it got one that asks for its end, ns; 0 never */
	char refusal[640]; /* the last in the step's log */
};

static void tell(struct agent *a, enum control_kind kind, int value,
		 const char *text)
{
	struct control msg = { .kind = kind, .value = value };

	snprintf(msg.text, sizeof(msg.text), "%s", text);
	/* The supervisor's death is seen in the poll loop. */
	control_send(a->step.spec.control, &msg, NULL);
}

/* ---- the step's log, and the supervisor's line of it ------------------------- */

/* None of these is worth waiting for the disk: most steps are never stopped, and
 * at a stop there is no time. */
static void note(struct agent *a, struct event *ev)
{
	if (a->step.store.dir < 0 || a->step.spec.part)
		return;
	ev->time_us = clock_ns(CLOCK_REALTIME) / 1000;
	ev->run = a->step.spec.restart;
	memcpy(ev->node, a->step.spec.node, sizeof(ev->node));
	event_add(&a->step.store, ev, false);
}

static void note_begin(struct agent *a, bool fresh)
{
	const char *name = getenv("SLURM_JOB_NAME");
	const char *array = getenv("SLURM_ARRAY_JOB_ID");
	const char *task = getenv("SLURM_ARRAY_TASK_ID");
	struct event ev = { .kind = EVENT_BEGIN, .fresh = fresh };

	snprintf(ev.name, sizeof(ev.name), "%s", name ? name : "");
	if (array && task)
		snprintf(ev.array, sizeof(ev.array), "%.15s_%.15s", array, task);
	snprintf(ev.text, sizeof(ev.text), "%s", a->step.command);
	note(a, &ev);
}

/* The same reason again, by the clock, is no news. */
static void note_refusal(struct agent *a, const char *why)
{
	struct event ev = { .kind = EVENT_REFUSED };

	if (!strcmp(why, a->refusal))
		return;
	snprintf(a->refusal, sizeof(a->refusal), "%s", why);
	snprintf(ev.text, sizeof(ev.text), "%s", why);
	note(a, &ev);
}

/* "on n1", for people. */
static void print_place(const struct agent *a, char *text, size_t size)
{
	int others = a->step.spec.nodes - 1;

	if (others > 0)
		snprintf(text, size, "on %.200s and %d other node%s",
			 a->step.spec.node, others, others > 1 ? "s" : "");
	else
		snprintf(text, size, "on %.200s", a->step.spec.node);
}

static void tell_checkpoint(struct agent *a)
{
	const struct cost *last = &a->step.last;
	char took[16], stopped[16], size[16], place[256], text[400];

	span_print(last->us, took);
	span_print(last->frozen_us, stopped);
	size_print((uint64_t)last->resident, size);
	print_place(a, place, sizeof(place));
	snprintf(text, sizeof(text),
		 "checkpoint %d taken in %s (stopped %s), %s, %s",
		 last->generation, took, stopped, size, place);
	tell(a, CONTROL_EVENT, last->generation, text);
}

static void tell_restore(struct agent *a)
{
	/* Whole seconds: the manifest has no others. */
	int64_t after = time(NULL) - a->step.restored_time;
	char span[24], place[256], text[400];

	if (after < 0 || after >= 100)
		span_print(after * 1000000, span);
	else
		snprintf(span, sizeof(span), "%d s", (int)after);
	print_place(a, place, sizeof(place));
	snprintf(text, sizeof(text), "restored from checkpoint %d %s after %s",
		 a->step.restored.number, place, span);
	tell(a, CONTROL_EVENT, a->step.restored.number, text);
}

static void __attribute__((noreturn)) lost(struct agent *a, const char *text)
{
	struct control msg = { .kind = CONTROL_LOST,
			       .value = a->step.told_lost ? -1 : a->step.elsewhere };
	struct set_order o = { .word = SET_LOST };

	if (a->step.spec.resume)
		count_refusal(a->step.elsewhere ? REFUSED_NODE : REFUSED_LOST);
	snprintf(msg.text, sizeof(msg.text), "%s", text);
	memcpy(msg.node, a->step.unfit_node, sizeof(msg.node));
	if (a->step.spec.nodes > 1 && !a->step.spec.part && a->step.store.dir >= 0) {
		snprintf(o.text, sizeof(o.text), "%s", text);
		set_say(&a->step, &o, NULL);
	}
	control_send(a->step.spec.control, &msg, NULL);
	_exit(1);
}

/* For messages and to know the step again: the words, cut where too long. */
static void join_command(char *argv[], char *to, size_t size)
{
	size_t n = 0;

	to[0] = '\0';
	for (; *argv && n < size; argv++)
		n += (size_t)snprintf(to + n, size - n, "%s%s", n ? " " : "",
				      *argv);
	/* JSON and logs want printable text. */
	for (; *to; to++)
		if ((unsigned char)*to < ' ' || (unsigned char)*to > '~')
			*to = '?';
}

/* Nothing of the agent is on 0 to 2: a stray message goes nowhere, and the
 * program alone decides when its streams end. */
static void leave_stdio(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; null >= 0 && i < 3; i++)
		if (null != i)
			dup2(null, i);
	if (null > 2)
		close(null);
}

/* Low soft limits are the program's (it gets them back), not ours or criu's. */
static void raise_limits(struct rlimit was[AS_STARTED_LIMITS])
{
	for (int i = 0; i < AS_STARTED_LIMITS; i++) {
		struct rlimit most;

		getrlimit(as_started_limits[i], &was[i]);
		most = was[i];
		most.rlim_cur = most.rlim_max;
		setrlimit(as_started_limits[i], &most);
	}
}

/* on-restore-failure=fresh: what is there is set aside, and the program starts
 * from its begin. False when that is not wanted, or cannot be. */
static bool begin_afresh(struct agent *a, struct err *e)
{
	struct spec *spec = &a->step.spec;
	struct set_order o = { .word = SET_AFRESH };
	struct err why = { "" };
	char because[400];

	/* Of several nodes the first decides; and once all run, nobody. */
	if (spec->part ? !a->step.told_afresh :
			 spec->limits.on_failure != ON_FAILURE_FRESH ||
				 a->step.elsewhere || a->step.unfit || a->step.all_run)
		return false;
	snprintf(because, sizeof(because), "%.390s", e->text);
	for (int i = 0; i < a->io.count; i++)
		close_fd(&a->io.logs.list[i].fd);
	store_close(&a->step.store);
	if ((!spec->part && store_set_aside(spec, &why) < 0) ||
	    store_open(spec, true, &a->step.store, &why) < 0 ||
	    store_claim(&a->step.store, spec->restart, spec->node, &why) != 0 ||
	    stdio_keep(&a->io, &a->step.store, true, &why) < 0 ||
	    (!spec->part && spec->nodes > 1 &&
	     (store_note_nodes(&a->step.store, spec->nodes, &why) < 0 ||
	      set_say(&a->step, &o, &why) < 0))) {
		err_set(e, "%s; and it cannot start afresh: %.200s", because,
			why.text);
		return false;
	}
	spec->resume = false;
	count_refusal(REFUSED_AFRESH);
	note_begin(a, true);
	if (spec->part) {
		e->text[0] = '\0'; /* the first node tells */
		return true;
	}
	err_set(e, "%s; it starts afresh, and its checkpoints were set aside in %.120s.old.*",
		because, a->step.store.path);
	return true;
}

/* Tells the supervisor how the program ended, and hears what of it is to be
 * remembered. */
static int tell_end(const struct agent *a, int status, struct control *keep)
{
	const struct control msg = { .kind = CONTROL_ENDED,
				     .value = status,
				     .done = 1,
				     .touched = calls_touched(a->calls) };

	control_send(a->step.spec.control, &msg, NULL);
	do
		if (control_receive(a->step.spec.control, keep, -1, NULL) <= 0)
			_exit(1); /* no supervisor, no step */
	while (keep->kind != CONTROL_KEEP);
	return keep->value;
}

static bool end_is_kept(const struct control *keep)
{
	return keep->value != ENDING_FORGET && keep->value != ENDING_TOLD;
}

/* What Slurm has given the tasks. */
static int take_stdio(struct agent *a, struct err *e)
{
	int fds[TASKS_MAX * TASK_STREAMS];

	for (int i = 0; i < a->tasks.count * TASK_STREAMS; i++)
		fds[i] = tasks_descriptor(&a->tasks, i / TASK_STREAMS,
					  i % TASK_STREAMS);
	if (stdio_take(&a->io, &a->step.spec, fds, a->tasks.count, e) < 0)
		return -1;
	return pmi_take(&a->pmi, &a->tasks, a->io.above, e);
}

/* It had ended in an earlier run: so it does in this one. */
static void __attribute__((noreturn)) end_as_before(struct agent *a)
{
	struct err e = { "" };
	struct control keep;
	struct ended ended;

	if (take_stdio(a, &e) < 0 || end_again(&a->step, &ended, &e) < 0)
		lost(a, e.text);
	leave_stdio();
	stdio_flush(&a->io, 60000, true);
	tell_end(a, ended.status, &keep);
	if (!end_is_kept(&keep)) {
		ended_drop(&a->step.spec, NULL);
	} else {
		/* The same could happen to this run. */
		end_note(&ended, a->step.spec.restart, ended.status, &keep);
		ended_write(&a->step.spec, &ended, NULL);
	}
	_exit(0);
}

static void start(struct agent *a, char *argv[], const sigset_t *mask)
{
	bool protected = !*a->step.spec.off;
	struct as_started as = { .mask = *mask };
	struct err e = { "" };

	a->step.store.dir = -1;
	if (tasks_collect(&a->tasks, &a->step.spec, &e) < 0)
		lost(a, e.text);
	if (a->step.spec.done)
		end_as_before(a);
	raise_limits(as.limits);
	if (take_stdio(a, &e) < 0)
		lost(a, e.text);
	leave_stdio();
	if (protected && (store_open(&a->step.spec, true, &a->step.store, &e) < 0 ||
			  stdio_keep(&a->io, &a->step.store, !a->step.spec.resume,
				     &e) < 0)) {
		if (a->step.spec.resume)
			lost(a, e.text);
		snprintf(a->step.spec.off, sizeof(a->step.spec.off), "%.300s", e.text);
		tell(a, CONTROL_REFUSED, 0, a->step.spec.off);
	}
	a->step.root = -1;
	if (!*a->step.spec.off && !strcmp(a->step.spec.step, "batch") &&
	    !(a->calls = calls_open(&a->step, &e)))
		tell(a, CONTROL_NOTE, 0, e.text);
	e.text[0] = '\0';
	if (!*a->step.spec.off)
		note_begin(a, !a->step.spec.resume);
	if (a->step.spec.resume) {
		a->step.root = step_restore(&a->step, &e);
		if (a->step.root < 0 && !begin_afresh(a, &e))
			lost(a, e.text);
		if (*e.text)
			tell(a, CONTROL_NOTE, 0, e.text);
	}
	if (a->step.root < 0 && !*a->step.spec.off)
		carry_look(&a->step);
	if (a->step.root < 0)
		a->step.root = program_launch(&a->step.spec, &a->io, argv, &as,
					      &a->tasks, &e);
	if (a->step.root < 0)
		lost(a, e.text);
	stdio_given(&a->io);
	pmi_given(&a->pmi);
	tasks_started(&a->tasks);
	if (a->step.restored.number) {
		calls_restored(a->calls);
		tell_restore(a);
	}
	if (is_call_step(a->step.spec.step) && !*a->step.spec.off) {
		const struct status runs = { .kind = STATUS_RUNNING,
					     .generation = a->step.restored };

		slurm_id_write(&a->step.store, a->step.spec.id, NULL);
		if (!a->step.restored.number) {
			status_write(&a->step.store, &runs);
			if (*a->step.spec.call)
				call_text_write(&a->step.store, a->step.spec.call, NULL);
		}
	}
}

/* Who does not end within that for a signal that asks for it has gone on with its work. */
#define TIDY_NS (INT64_C(600) * 1000000000)

static bool was_asked(const struct agent *a)
{
	return a->asked && clock_ns(CLOCK_MONOTONIC) - a->asked < TIDY_NS;
}

/* The program did what it was there for. One that is told to end, and does with 0, has
 * tidied up: whether there is more to be done is not known. */
static bool is_done(const struct agent *a, int status)
{
	return status == 0 && !was_asked(a) && !memory_ran_out();
}

/* A program that is done needs no checkpoint any more. One that failed may
 * be requeued, and goes on from the last one. */
static void clear_store(struct agent *a, int status, bool done)
{
	const struct limits *limits = &a->step.spec.limits;
	cleanup_free struct generation *list = NULL;
	int count;

	if (a->step.store.dir < 0 || a->step.spec.part)
		return;
	if (is_call_step(a->step.spec.step)) {
		/* One that was told to end with its job goes on in the next. */
		const struct status s = {
			.kind = a->refused && (status || was_asked(a)) ? STATUS_STOPPED :
								     STATUS_ENDED,
			.ended = status,
			.text = { a->told ? 't' : '\0' }
		};

		status_write(&a->step.store, &s);
		return;
	}
	count = store_generations(&a->step.store, &list, NULL);
	if (count == 0 || (done && !limits->keep_after)) {
		/* A script without a checkpoint starts at its top, and its
		 * steps go on from what they left. */
		if (a->calls && done)
			store_forget_steps(&a->step.spec, CALL_STEP, NULL);
		else if (a->calls && !a->refused)
			calls_leave_saved(a->calls);
		events_retire(&a->step.spec);
		store_forget(&a->step.spec, NULL);
	}
	else if (done)
		store_retain(&a->step.store, limits->keep_after,
			     a->step.spec.restart, &a->step.restored, NULL);
}

/* What keep-after= leaves is nothing to go on from when the job is requeued. */
static bool has_left(const struct agent *a)
{
	cleanup_free struct generation *list = NULL;

	return a->step.spec.limits.keep_after &&
	       store_generations(&a->step.store, &list, NULL) > 0;
}

static bool is_set(const struct agent *a)
{
	return a->step.spec.nodes > 1 && a->step.store.dir >= 0 &&
	       !*a->step.spec.off;
}

/* The programs here have ended: the others hear of it. */
static void say_over(struct agent *a, int status)
{
	struct set_order o = { .word = SET_OVER,
			       .generation = { a->step.last.generation,
					       a->step.spec.restart } };

	if (!is_set(a))
		return;
	if (a->step.spec.part)
		a->over_said = set_answer_over(&a->step, status, NULL) == 0;
	else
		set_say(&a->step, &o, NULL);
}

/* As store_fenced(). */
static int tell_superseded(struct agent *a)
{
	struct control msg = { .kind = CONTROL_SUPERSEDED };
	struct err e = { "" };
	int rc = store_fenced(&a->step.store, a->step.spec.restart, msg.node, &e);

	if (rc > 0) {
		snprintf(msg.text, sizeof(msg.text), "%s", e.text);
		control_send(a->step.spec.control, &msg, NULL);
	}
	return rc;
}

static void __attribute__((noreturn)) ended(struct agent *a, int status)
{
	int whole = status ? status : a->linger_status, other;
	bool done = is_done(a, whole);
	struct control keep;
	struct err e = { "" };

	if (a->step.spec.part && !a->lingers)
		say_over(a, status);
	/* Slurm ends what a program leaves behind when its task ends; here that
	 * must not go on writing into what is to be handed on to the end. */
	kill(-1, SIGKILL);
	if (a->saving) {
		/* A program that failed may need it yet. */
		if (done && !calls_touched(a->calls))
			saving_cancel(a->saving);
		saving_end(a->saving, &e);
	}
	/* Until then the last order is the one of that set, which the others answer. */
	if (!a->step.spec.part)
		say_over(a, status);
	stdio_flush(&a->io, 60000, true);
	note(a, &(struct event){ .kind = EVENT_END, .status = status });
	if (a->step.store.dir < 0 || strcmp(a->step.spec.step, "batch")) {
		other = a->step.store.dir < 0 ? 0 : tell_superseded(a);
		/* Its script must not go on with the next line. */
		if (other > 0)
			_exit(0);
		if (!other)
			clear_store(a, whole, done);
		tell(a, CONTROL_ENDED, status, "");
		_exit(0);
	}
	/* Of the run that goes on since, for this one was thought dead. */
	other = store_superseded(&a->step.store, a->step.spec.restart, NULL, NULL);
	if (tell_end(a, status, &keep) == ENDING_TOLD)
		done = false;
	if ((end_is_kept(&keep) || (done && has_left(a))) &&
	    end_keep(&a->step, status, &keep, &e) < 0) {
		tell(a, CONTROL_NOTE, 0, e.text);
		done = false;
	}
	if (!other)
		clear_store(a, status, done);
	if (done && !other && !a->told)
		done_drop(&a->step.spec, NULL);
	_exit(0);
}

static void tell_task(struct agent *a, int task)
{
	const struct control msg = { .kind = CONTROL_TASK_ENDED,
				     .value = a->tasks.list[task].status,
				     .task = task };

	if (!a->tasks.list[task].told && a->tasks.count > 1)
		control_send(a->step.spec.control, &msg, NULL);
	a->tasks.list[task].told = true;
}

/* ---- a step on several nodes ---------------------------------------------------- */

/* Slurm would end them with their task. */
static void kill_left(const struct agent *a)
{
	cleanup_free pid_t *pids = NULL;
	int count = program_tree(a->step.root, &pids, NULL);

	for (int i = 1; i < count; i++)
		kill(pids[i], SIGKILL);
}

static bool has_answered(const struct agent *a)
{
	struct set_answer answer;

	return set_answer_read(&a->step.store, a->linger_part, &answer, NULL) > 0 &&
	       answer.run == a->step.spec.restart && answer.number == a->step.order;
}

/* The step must not wait for ever for a node that is not. */
static bool is_there(struct agent *a)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	struct set_order o = { .word = SET_ASK };
	bool answered;

	if (a->saving)
		return true;
	answered = a->presence.order && has_answered(a);
	switch (presence_look(&a->presence, a->step.order, answered, now)) {
	case PRESENCE_WAIT:
		break;
	case PRESENCE_ASK:
		presence_asked(&a->presence,
			       set_say(&a->step, &o, NULL) ? 0 : a->step.order, now);
		/* fallthrough */
	case PRESENCE_WAKE:
		tell(a, CONTROL_WAKE, 0, "");
		break;
	case PRESENCE_GONE:
		tell(a, CONTROL_NOTE, 0, "a node of the step does not say any more that it runs: the step ends");
		a->linger_status = SIGKILL;
		return false;
	}
	return true;
}

/*
 * The programs here have ended, and well. Their part of the step is still to be dumped
 * and restored with the others', so that it is known that they have: the tree's root
 * stays. False: all nodes' have.
 */
static bool linger(struct agent *a)
{
	struct set_order o;
	int rc;

	if (!a->lingers) {
		a->lingers = true;
		a->linger_part = 1;
		a->presence.since = clock_ns(CLOCK_MONOTONIC);
		kill_left(a);
	}
	if (!a->step.spec.part)
		return !set_over(&a->step, &a->linger_part, &a->linger_status) &&
		       is_there(a);
	if (!a->over_said)
		say_over(a, 0);
	/* The first one removes the step's directory when all have ended. */
	rc = set_order_read(&a->step.spec, &o, NULL);
	return rc < 0 || (rc > 0 && !(o.run == a->step.spec.restart &&
				      o.word == SET_OVER));
}

/* Slurm hears of each task when it ends. */
static void look_at_tasks(struct agent *a)
{
	if (a->step.root > 0)
		tasks_look(&a->tasks, a->step.root);
	for (int i = 0; i < a->tasks.count; i++)
		if (a->tasks.list[i].ended)
			tell_task(a, i);
	if (!tasks_over(&a->tasks))
		return;
	if (tasks_status(&a->tasks) || !is_set(a) || a->step.root <= 0 || !linger(a))
		ended(a, tasks_status(&a->tasks));
}

static void look_at_calls(struct agent *a);

static void reap(struct agent *a)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(a->signals, &si, sizeof(si)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == a->step.root) /* somebody has killed it */
			tasks_killed(&a->tasks, status);
		else if (!check_reap(&a->check, &a->step, pid, status))
			calls_reap(a->calls, pid, status);
	look_at_tasks(a);
	look_at_calls(a);
}

/* The program stood still during a session, which also takes the SIGCHLD of
 * others. */
static void answer(struct agent *a, int rc, const struct err *e)
{
	struct control msg = { .kind = CONTROL_SAVED, .us = a->step.last.us };

	reap(a);
	if (rc < 0) {
		note_refusal(a, e->text);
		if (tell_superseded(a) <= 0)
			tell(a, CONTROL_REFUSED, 0, e->text);
		return;
	}
	a->refusal[0] = '\0';
	tell_checkpoint(a);
	control_send(a->step.spec.control, &msg, NULL);
	estimate_learn(&a->estimate, &a->step.last);
}

static void dump(struct agent *a, const struct order *order)
{
	struct err e = { "" };
	int rc = step_dump(&a->step, order, &a->saving, &e);

	if (rc < 0) {
		a->refused |= order->end;
		calls_not_stopped(a->calls);
		check_refused(&a->check, &a->step, &e);
		answer(a, rc, &e);
	} else if (!a->saving) {
		/* What the program wrote before it was frozen. */
		stdio_flush(&a->io, 1000, false);
		tell_checkpoint(a);
		tell(a, CONTROL_SAVED, a->step.last.generation, "end");
		_exit(0); /* and what criu may have left of the tree, too */
	} else {
		calls_saving(a->calls, true);
		reap(a);
	}
}

/* What is left of a time; a little less than none is not for ever. */
static int64_t us_until(int64_t end)
{
	int64_t us = (end - clock_ns(CLOCK_MONOTONIC)) / 1000;

	return us > 0 ? us : 1;
}

/* A step that cannot be dumped may take longer to end than the script has: that is still
 * to be saved, and starts it afresh. */
static void look_at_calls(struct agent *a)
{
	if (!a->stopping)
		return;
	if (calls_stop(a->calls)) {
		a->stopping = false;
		a->stop.us = us_until(a->stop_end);
		dump(a, &a->stop);
	} else if (a->leave && clock_ns(CLOCK_MONOTONIC) >= a->leave) {
		a->leave = 0;
		calls_leave(a->calls);
	}
}

/* Milliseconds until its steps are left; -1 never. */
static int leave_wait(const struct agent *a)
{
	return a->stopping && a->leave ? (int)(us_until(a->leave) / 1000) + 1 : -1;
}

static void stop(struct agent *a, const struct control *msg)
{
	struct order order = { .end = msg->value, .us = msg->us };

	if (*a->step.spec.off) {
		a->refused |= order.end;
		tell(a, CONTROL_REFUSED, 0, a->step.spec.off);
		return;
	}
	snprintf(order.reason, sizeof(order.reason), "%.79s", msg->text);
	snprintf(order.request, sizeof(order.request), "%s", msg->request);
	if (a->saving) { /* the supervisor orders one after the other */
		tell(a, CONTROL_REFUSED, 0, "another checkpoint is being taken");
		return;
	}
	check_begin(&a->check, &a->step, &order);
	if (!order.end || calls_stop(a->calls))
		dump(a, &order);
	else {
		/* The script's steps first: its own dump is the record of
		 * which of them were still to be waited for. */
		a->stop = order;
		a->stopping = true;
		a->stop_end = clock_ns(CLOCK_MONOTONIC) + order.us * 1000;
		/* A third of the time is the script's own. */
		a->leave = a->stop_end - order.us / 3 * 1000;
	}
}

/* ---- what the step's first node says --------------------------------------------- */

/* So long is waited for that at least: it may have to ask slurmctld. */
#define FOLLOW_NS (INT64_C(5) * 1000000000)
/* Slurm tells all nodes of a step within that. */
#define FRESH_NS (INT64_C(3) * 1000000000)
/* How often is looked, at first and at most: with many nodes the file server has other
 * things to do. */
#define LOOK_FIRST_MS 50
#define LOOK_MOST_MS 500

static void not_followed(struct agent *a, const char *why, bool told_here)
{
	a->refused |= a->follow.sig == SIGTERM;
	tell(a, CONTROL_REFUSED, told_here, why);
}

static void follow_dump(struct agent *a, const struct set_order *o)
{
	struct order order = { .end = o->end, .set = o->generation };

	a->step.ordered = o->generation;
	if (o->end)
		order.us = us_until(a->follow.end);
	memcpy(order.reason, o->reason, sizeof(order.reason));
	memcpy(order.request, o->request, sizeof(order.request));
	check_begin(&a->check, &a->step, &order);
	dump(a, &order);
}

/* The dump that it was to follow came to nothing before it could. A rehearsal says, all the
 * same, what is in the way here. */
static void missed_dump(struct agent *a, const struct set_order *o)
{
	struct order order = { .end = false };
	struct err e = { "" };

	memcpy(order.request, o->request, sizeof(order.request));
	a->step.others_fault = true;
	if (check_begin(&a->check, &a->step, &order))
		check_refused(&a->check, &a->step, &e);
	not_followed(a, *o->text ? o->text : "this node came too late for it", false);
}

/* The first node says PASS for each of its tasks that got SIGTERM, and this node may have
 * followed one of these already, or have come to an old one. */
static bool is_news(const struct agent *a, const struct set_order *o, int64_t now)
{
	bool term = a->follow.sig == SIGTERM;

	if (o->word == SET_PASS)
		return term && o->number >= a->step.order &&
		       o->age - (now - a->follow.begun) < FRESH_NS;
	return o->number > a->step.order && !(term && o->word == SET_ASK);
}

static void look_for_order(struct agent *a)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	bool term = a->follow.sig == SIGTERM, news;
	struct err e = { "" };
	struct set_order o;

	news = set_order_read(&a->step.spec, &o, &e) > 0 &&
	       o.run == a->step.spec.restart && is_news(a, &o, now);
	if (!news && now < a->follow.until)
		return;
	if (!news && term)
		not_followed(a, *e.text ? e.text : "the step's first node does not say what is to be done", true);
	else if (!news || o.word == SET_PASS || o.word == SET_OVER || o.word == SET_ASK)
		tell(a, CONTROL_PASS, news && o.word == SET_ASK, "");
	if (news)
		a->step.order = o.number;
	if (news && o.word == SET_DUMP)
		follow_dump(a, &o);
	else if (news && o.word != SET_PASS && o.word != SET_OVER && o.word != SET_ASK)
		missed_dump(a, &o);
	a->follow.sig = 0;
	if (news && o.word == SET_ASK)
		set_answer(&a->step, SET_DONE, NULL, NULL);
}

static void follow(struct agent *a, const struct control *msg)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC), wait = msg->us * 750;

	a->follow.sig = msg->value;
	a->follow.begun = now;
	/* At a stop three quarters of the time: for half of it the first node waits for a criu of
	 * the program's own. That SIGTERM is the program's it says at once. */
	a->follow.until = now + (wait > FOLLOW_NS ? wait : FOLLOW_NS);
	a->follow.end = now + msg->us * 1000;
	if (!is_set(a)) {
		not_followed(a, a->step.spec.off, false);
		a->follow.sig = 0;
	} else if (a->saving) {
		not_followed(a, "another checkpoint is being taken", false);
		a->follow.sig = 0;
	}
}

/* Milliseconds until something of the other nodes is to be looked at; -1 never. */
static int set_wait(const struct agent *a)
{
	int64_t tenth = (clock_ns(CLOCK_MONOTONIC) - a->follow.begun) / 10000000;

	if (!a->follow.sig)
		return a->lingers ? LOOK_MOST_MS : -1;
	return tenth < LOOK_FIRST_MS ? LOOK_FIRST_MS :
	       tenth > LOOK_MOST_MS  ? LOOK_MOST_MS :
				       (int)tenth;
}

static void look_at_set(struct agent *a)
{
	if (a->follow.sig)
		look_for_order(a);
	if (a->lingers)
		look_at_tasks(a);
}

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void saved(struct agent *a)
{
	bool late = saving_late(a->saving);
	struct err e = { "" };
	int rc = saving_end(a->saving, &e);

	a->saving = NULL;
	calls_saving(a->calls, false);
	if (rc == 0) {
		calls_published(a->calls);
		check_restore(&a->check, &a->step);
	} else {
		check_refused(&a->check, &a->step, &e);
	}
	/* That one was answered. */
	if (!late)
		answer(a, rc, &e);
	else if (rc == 0)
		tell(a, CONTROL_NOTE, 0, "the checkpoint that came too late is whole now, and is what the job goes on from");
}

static void obey(struct agent *a)
{
	struct control msg;

	if (control_receive(a->step.spec.control, &msg, 0, NULL) <= 0)
		_exit(1); /* no supervisor, no step */
	switch (msg.kind) {
	case CONTROL_STOP:
		stop(a, &msg);
		break;
	case CONTROL_FOLLOW:
		follow(a, &msg);
		break;
	case CONTROL_PASS:
		if (is_set(a))
			set_say(&a->step, &(struct set_order){ .word = SET_PASS },
				NULL);
		break;
	case CONTROL_SIGNAL:
		a->told |= msg.value != SIGCONT && msg.value != SIGURG;
		if (msg.value == SIGTERM || msg.value == SIGINT ||
		    msg.value == SIGHUP || msg.value == SIGQUIT)
			a->asked = clock_ns(CLOCK_MONOTONIC);
		a->refused |= msg.done;
		tasks_signal(&a->tasks, msg.task, msg.value);
		break;
	default:
		break;
	}
}

static void look_at_size(struct agent *a)
{
	struct control msg = { .kind = CONTROL_SIZE };
	char warning[640];

	if (!estimate_look(&a->estimate, &a->step, &msg.us, warning,
			   sizeof(warning)))
		return;
	snprintf(msg.text, sizeof(msg.text), "%s", warning);
	control_send(a->step.spec.control, &msg, NULL);
}

static void __attribute__((noreturn)) serve(struct agent *a)
{
	for (;;) {
		struct pollfd p[4 + a->io.count + 2 * a->pmi.count];
		int polls = 4 + stdio_polls(&a->io, p + 4);
		int n;

		polls += pmi_polls(&a->pmi, p + polls);
		p[0] = (struct pollfd){ a->signals, POLLIN, 0 };
		p[1] = (struct pollfd){ a->step.spec.control, POLLIN, 0 };
		p[2] = (struct pollfd){ a->saving ? saving_fd(a->saving) : -1,
					POLLIN, 0 };
		p[3] = (struct pollfd){ calls_fd(a->calls), POLLIN, 0 };
		n = poll(p, (nfds_t)polls,
			 sooner(a->saving ? TELL_MS : estimate_wait(&a->estimate),
				sooner(set_wait(a), leave_wait(a))));

		if (n < 0)
			continue;
		if (n == 0 && a->saving)
			saving_tell(a->saving);
		else if (!a->saving)
			look_at_size(a);
		stdio_pump(&a->io);
		pmi_pump(&a->pmi);
		if (p[0].revents)
			reap(a);
		if (p[3].revents)
			calls_take(a->calls);
		if (p[2].revents)
			saved(a);
		if (p[1].revents)
			obey(a);
		look_at_set(a);
		look_at_calls(a);
	}
}

int main(int argc, char *argv[])
{
	struct agent a = { .step = { .root = -1 } };

	struct err e = { "" };
	sigset_t all, mask, chld;
	int n = spec_parse(argc - 1, argv + 1, &a.step.spec, &e);

	if (n >= 0 && getpid() != 1)
		n = err_set(&e, "it is the first process of a step's PID namespace, and started by Slurm");
	if (n < 0 || n + 2 >= argc) {
		fprintf(stderr, "sckpt-agent: %s\n",
			n < 0 ? e.text : "there is no program to run");
		return 2;
	}
	argv += n + 2;
	a.step.io = &a.io;
	a.step.tasks = &a.tasks;
	a.step.pmi = &a.pmi;
	a.step.seen.begun = clock_ns(CLOCK_REALTIME);
	join_command(argv, a.step.command, sizeof(a.step.command));
	a.step.program = argv[0];
	a.step.order = 1; /* the supervisor's */
	fcntl(a.step.spec.control, F_SETFD, FD_CLOEXEC);
	counters_open(&a.step.spec.counters);
	if (a.step.spec.broker >= 0)
		fcntl(a.step.spec.broker, F_SETFD, FD_CLOEXEC);
	if (a.step.spec.joins >= 0)
		fcntl(a.step.spec.joins, F_SETFD, FD_CLOEXEC);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigaddset(&chld, SIGUSR1); /* of sckpt-root's */
	/* Out of the task's process group: what is sent to that is for the
	 * supervisor to pass on. */
	setsid();
	a.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a.signals < 0)
		lost(&a, "cannot watch the program");
	start(&a, argv, &mask);
	if (!*a.step.spec.off)
		estimate_begin(&a.estimate, &a.step);
	reap(&a);
	serve(&a);
}
