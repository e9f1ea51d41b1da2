/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-supervise PID key=value…: Slurm's task. Every signal of Slurm's
 * arrives here and not at the program. Without capabilities; in the host's
 * namespaces, where slurmctld can be asked. It says whether the step can be
 * protected, finds out why it is stopped, and ends as the program ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "end.h"
#include "set.h"
#include "step.h"
#include "supervise.h"

/* Slurm has delivered by then what was sent through it. */
#define WOKEN_NS (INT64_C(10) * 1000000000)

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* In a process of its own: a store that hangs must not keep the step from
 * ending. */
static void look_for_verdict(struct supervisor *s)
{
	bool protected;

	s->looker = fork();
	if (s->looker > 0)
		return;
	protected = give_verdict(s);
	if (s->looker == 0) {
		wait_for_mail(s);
		_exit(!protected);
	}
	s->looker = 0;
	if (protected && !s->spec.part)
		periodic_begin(&s->periodic, &s->spec, now_ns());
}

/* ---- signals ----------------------------------------------------------- */

#define ALL_TASKS (-1)

static void note_halt(struct supervisor *s, int task, int sig)
{
	if (sig != SIGTSTP && sig != SIGCONT)
		return;
	if (task == ALL_TASKS)
		s->halted = sig == SIGTSTP;
	for (int i = 0; i < s->links.count; i++)
		if (task == ALL_TASKS || task == i)
			s->links.list[i].halted = sig == SIGTSTP;
}

/* What is saved then stands still when it is restored, and nobody wakes it. */
static bool is_halted(const struct supervisor *s)
{
	bool halted = s->halted;

	for (int i = 0; i < s->links.count; i++)
		halted |= s->links.list[i].halted && !s->links.list[i].ended;
	return halted;
}

static void pass_signal(struct supervisor *s, int task, int sig)
{
	const struct control msg = { .kind = CONTROL_SIGNAL,
				     .value = sig,
				     .task = task,
				     .done = sig == SIGTERM && s->refused };

	note_halt(s, task, sig);
	/* Slurm sends SIGCONT before each SIGTERM. */
	if (sig != SIGCONT && sig != SIGURG)
		s->passed = time(NULL);
	control_send(s->spec.control, &msg, NULL);
}

/* SIGTERM, to the tasks that got one. */
static void pass_term(struct supervisor *s, bool stop)
{
	if (stop)
		s->stopped = time(NULL);
	if (!s->links.count)
		pass_signal(s, ALL_TASKS, SIGTERM);
	for (int i = 0; i < s->links.count; i++) {
		if (s->links.list[i].term)
			pass_signal(s, i, SIGTERM);
		s->links.list[i].term = false;
	}
}

/* It was answered by a checkpoint. */
static void forget_term(struct supervisor *s)
{
	for (int i = 0; i < s->links.count; i++)
		s->links.list[i].term = false;
}

static void dump_is_over(struct supervisor *s);

/* A dump by the clock is the first node's affair: Slurm carries the word to the others,
 * which is one RPC for the step, however many nodes it has. */
static void wake_others(struct supervisor *s)
{
	char target[64], *argv[] = { SCANCEL_PATH, "--signal=URG", target, NULL };

	if (s->spec.nodes < 2 || s->waker)
		return;
	snprintf(target, sizeof(target), "%u.%s", s->spec.job, s->spec.id);
	if (run_spawn(argv, environ, NULL, NULL, &s->waker, NULL) < 0)
		s->waker = 0;
	s->woken = now_ns();
}

static void order_dump(struct supervisor *s, int dumping, const char *reason,
		       const char *request)
{
	struct control msg = { .kind = CONTROL_STOP, .value = dumping == ENDING };

	snprintf(msg.text, sizeof(msg.text), "%s", reason);
	snprintf(msg.request, sizeof(msg.request), "%s", request);
	if (dumping == ENDING) {
		msg.us = budget_deadline_us(s->spec.kill_wait) -
			 (now_ns() - s->told) / 1000;
		if (msg.us < 1)
			msg.us = 1;
	}
	s->dumping = dumping;
	control_send(s->spec.control, &msg, NULL);
	/* Nobody else has told them. */
	if (dumping == BY_CLOCK || dumping == BEFORE_LIMIT ||
	    !strcmp(request, CHECK_REQUEST))
		wake_others(s);
}

/* ---- the other nodes of the step ------------------------------------------------- */

/* All have the signal. The first node's supervisor knows what is to be done: it alone
 * asks slurmctld. */
static void follow_first(struct supervisor *s, int sig)
{
	struct control msg = { .kind = CONTROL_FOLLOW, .value = sig };

	if (sig == SIGTERM) {
		msg.us = budget_deadline_us(s->spec.kill_wait) -
			 (now_ns() - s->told) / 1000;
		if (msg.us < 1)
			msg.us = 1;
	}
	s->following = sig;
	s->dumping = FOLLOWING;
	control_send(s->spec.control, &msg, NULL);
}

/* What the first node has refused, it has told of. */
static void on_not_followed(struct supervisor *s, const struct control *msg)
{
	if (msg->value)
		tell_refusal(s, msg->text);
	if (s->following == SIGTERM) {
		s->refused = true;
		pass_term(s, true);
	}
	dump_is_over(s);
}

static void on_pass(struct supervisor *s, bool to_program)
{
	if (to_program && s->following == SIGTERM)
		pass_term(s, true);
	else if (to_program)
		pass_signal(s, ALL_TASKS, s->following);
	dump_is_over(s);
}

/* The others hear that SIGTERM is the program's. */
static void pass_on_others(struct supervisor *s)
{
	if (s->pass_others)
		control_send(s->spec.control,
			     &(struct control){ .kind = CONTROL_PASS }, NULL);
	s->pass_others = false;
}

static void on_term(struct supervisor *s)
{
	struct job_facts facts;
	enum action action;
	enum cause cause;

	if (s->dumping == ENDING || s->ended)
		return; /* steps are told twice */
	if (s->refused) {
		pass_term(s, true);
		return;
	}
	if (s->spec.part) {
		if (s->dumping == NOTHING)
			follow_first(s, SIGTERM);
		else
			s->term = true;
		return;
	}
	job_ask(s->spec.job, &facts, NULL);
	if (facts.answered) {
		memcpy(s->name, facts.name, sizeof(s->name));
		s->comment = comment_is_free(facts.comment) ? COMMENT_FREE :
							      COMMENT_TAKEN;
	}
	cause = stop_cause(&facts);
	s->evicted = cause == CAUSE_EVICTED;
	action = stop_action(cause, &s->spec);
	if (action != ACTION_PASS && s->dumping != NOTHING) {
		s->term = true;
		return;
	}
	switch (action) {
	case ACTION_PASS:
		/* While all nodes dump, the word for that is the last one. */
		s->pass_others = s->spec.nodes > 1;
		if (s->dumping == NOTHING)
			pass_on_others(s);
		pass_term(s, cause != CAUSE_SIGNAL);
		break;
	case ACTION_SAVE:
		order_dump(s, IN_GRACE, cause_name(cause), "");
		break;
	case ACTION_SAVE_AND_REQUEUE:
		s->requeue = true;
		/* fallthrough */
	case ACTION_SAVE_AND_END:
		order_dump(s, ENDING, cause_name(cause), "");
		break;
	}
}

static int64_t late_at(const struct supervisor *s)
{
	return s->told + budget_deadline_us(s->spec.kill_wait) * 1000;
}

/* The checkpoint that was being written when SIGTERM came is not done, and SIGKILL follows. */
static void on_late(struct supervisor *s)
{
	if (!s->term || now_ns() < late_at(s))
		return;
	s->term = false;
	if (!s->spec.part)
		tell_refusal(s, "another one was being written when the step was told to end, and is not done yet: with a longer KillWait or a faster store it would be");
	s->refused = true;
	pass_term(s, true);
}

/* For poll(2). */
static int wait_ms(const struct supervisor *s)
{
	int ms = periodic_wait(&s->periodic, now_ns());
	int64_t left = (late_at(s) - now_ns()) / 1000000 + 1;

	if (!s->term || (ms >= 0 && ms < left))
		return ms;
	return left < 0 ? 0 : (int)left;
}

/*
 * SIGURG is how `sckpt create` wakes a step: a process that does not expect it
 * ignores it, so that it does no harm to a step without sckpt. What is wanted
 * lies in the store, where only the job's user can put it.
 */
static void on_urg(struct supervisor *s, int task)
{
	struct status busy = { .kind = STATUS_REFUSED };
	const char *what = "sckpt create";
	struct err e = { "" };
	struct store store;
	int mine = 0;

	if (s->spec.part) {
		if (s->dumping == NOTHING)
			follow_first(s, SIGURG);
		return;
	}
	if (store_open(&s->spec, false, &store, NULL) == 0) {
		mine = request_take(&store, busy.request, &e);
		if (!strncmp(busy.request, CHECK_REQUEST, strlen(CHECK_REQUEST))) {
			busy.kind = STATUS_CHECKED;
			what = "sckpt check";
		}
		if (mine > 0 && s->dumping != NOTHING) {
			snprintf(busy.text, sizeof(busy.text),
				 "another checkpoint is being taken: ask again when it is done");
			status_write(&store, &busy);
		}
		store_close(&store);
	}
	if (mine < 0)
		say(SAYS "no checkpoint of step %u.%s: %s", s->spec.job,
		    s->spec.step, e.text);
	else if (!mine && s->woken && now_ns() - s->woken < WOKEN_NS)
		; /* its own */
	else if (!mine)
		pass_signal(s, task, SIGURG);
	else if (s->dumping == NOTHING)
		order_dump(s, REQUESTED, what, busy.request);
}

/* ---- by the clock ------------------------------------------------------- */

/* Never one while another is under way. */
static bool may_dump(const struct supervisor *s)
{
	return s->dumping == NOTHING && !is_halted(s);
}

static void plan_limit(struct supervisor *s, const struct job_facts *facts)
{
	struct limit_plan plan = limit_plan(facts, time(NULL),
					    s->periodic.need_us);

	periodic_ask_in(&s->periodic, plan.seconds, now_ns());
	if (plan.what == LIMIT_NEVER)
		say(SAYS "step %u.%s: %s", s->spec.job, s->spec.step,
		    plan.text);
	else if (plan.what == LIMIT_ACT && !may_dump(s))
		periodic_ask_in(&s->periodic, 1, now_ns());
	else if (plan.what == LIMIT_ACT)
		order_dump(s, BEFORE_LIMIT, cause_name(CAUSE_TIMEOUT), "");
}

static void ask_slurmctld(struct supervisor *s, struct job_facts *facts)
{
	job_ask(s->spec.job, facts, NULL);
	s->periodic.asked = now_ns();
}

static void on_clock(struct supervisor *s)
{
	struct job_facts facts;
	char reason[64] = "every=auto";

	if (periodic_limit(&s->periodic, now_ns())) {
		ask_slurmctld(s, &facts);
		plan_limit(s, &facts);
	}
	if (periodic_rehearsal(&s->periodic, now_ns())) {
		s->periodic.check_due = may_dump(s) ? 0 : now_ns() + 1000000000;
		if (may_dump(s))
			order_dump(s, REQUESTED, "--checkpoint=check", CHECK_REQUEST);
	}
	if (periodic_checkpoint(&s->periodic, now_ns()) && may_dump(s)) {
		if (s->spec.every > 0)
			snprintf(reason, sizeof(reason), "every %d s",
				 s->spec.every);
		order_dump(s, BY_CLOCK, reason, "");
	}
}

/* The program has the signal already, untouched. */
static void on_warning(struct supervisor *s)
{
	struct job_facts facts;

	ask_slurmctld(s, &facts);
	if (s->periodic.limit_due)
		plan_limit(s, &facts);
	if (may_dump(s) &&
	    warning_saves(&facts, &s->spec, time(NULL)))
		order_dump(s, BY_CLOCK, "a warning signal", "");
}

/* By this step, or by another one of the job. */
static bool requeued(struct supervisor *s, struct err *e)
{
	struct job_facts facts;

	s->requeue_ordered = job_requeue(s->spec.job, e) == 0;
	if (!s->requeue_ordered) {
		job_ask(s->spec.job, &facts, NULL);
		s->requeue_ordered = facts.answered && facts.pending;
	}
	return s->requeue_ordered;
}

/* It is saved: now Slurm is to stop it, and start it again. SIGTERM follows,
 * and what changed meanwhile is saved then. */
static void end_slice(struct supervisor *s)
{
	struct err e = { "" };

	if (requeued(s, &e))
		return;
	say(SAYS "step %u.%s: its checkpoint before the time limit was taken, and the job could not be requeued: %s",
	    s->spec.job, s->spec.step, e.text);
	periodic_ask_in(&s->periodic, 10, now_ns());
}

/* Slurm has ended the job for its time limit. It may be requeued all the same
 * (slurmctld, _job_requeue_op), while it is completing and later. */
static void requeue_ended(struct supervisor *s)
{
	struct err e = { "" };

	if (!requeued(s, &e))
		say(SAYS "step %u.%s: it was saved at its time limit, and the job could not be requeued: %s; try: scontrol requeue %s, or sckpt restart %u",
		    s->spec.job, s->spec.step, e.text, s->name,
		    s->spec.job);
}

/* To Slurm the task ends by the signal it sent. */
static void saved_and_ended(struct supervisor *s, int generation)
{
	s->ended = s->saved = true;
	s->status = SIGTERM;
	s->generation = generation;
}

static void tell_way_on(const struct supervisor *s)
{
	char way[160];

	/* The script's own way is that of its steps, too. */
	if (is_call_step(s->spec.step))
		return;
	if (!strcmp(s->spec.step, "batch"))
		snprintf(way, sizeof(way), "sckpt restart %u goes on from there in a new job", s->spec.job);
	else
		snprintf(way, sizeof(way), "srun --checkpoint=restart=%u.%s:%d with the same program, nodes and tasks goes on from there",
			 s->spec.job, s->spec.step, s->generation);
	say(SAYS "step %u.%s: the job was preempted, and Slurm does not start it again: it was saved, and %s",
	    s->spec.job, s->spec.step, way);
}

/* The step's first node hears of it. */
static void part_is_over(const struct supervisor *s, int status)
{
	struct set_answer a = { .run = s->spec.restart > 0 ? s->spec.restart : 0,
				.over = true, .status = status };
	struct store store;

	if (!s->spec.part || store_open(&s->spec, false, &store, NULL))
		return;
	snprintf(a.node, sizeof(a.node), "%s", s->spec.node);
	set_answer_write(&store, &a, NULL);
	store_close(&store);
}

static void __attribute__((noreturn)) finish(struct supervisor *s, int status)
{
	if (s->requeue && s->saved)
		requeue_ended(s);
	if (s->evicted && s->saved)
		tell_way_on(s);
	else if (s->saved && !s->spec.part)
		start_soon(s);
	wait_for_comment(s);
	wait_for_mail(s);
	if (!s->ended && WIFSIGNALED(status)) {
		say(SAYS "the step's agent was killed, and the program with it");
		part_is_over(s, status);
	}
	/* It ends well when it has told how the program ended. */
	if (!s->ended && status == 0) {
		say(SAYS "the step's agent did not tell how the program ended");
		status = SIGKILL;
	}
	links_end(&s->links, s->ended ? s->status : status);
	end_as(s->ended ? s->status : status);
}

static void term_came(struct supervisor *s)
{
	if (!s->term)
		s->told = now_ns();
	on_term(s);
}

/* Any but SIGTERM. */
static void on_signal(struct supervisor *s, int task, int sig)
{
	if (sig == SIGURG) {
		on_urg(s, task);
		return;
	}
	pass_signal(s, task, sig);
	if (!s->spec.part &&
	    periodic_is_warning(&s->periodic, &s->spec, sig, now_ns()))
		on_warning(s);
}

static void on_signals(struct supervisor *s)
{
	struct signalfd_siginfo si;

	while (read(s->signals, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo != SIGTERM) {
			on_signal(s, ALL_TASKS, (int)si.ssi_signo);
			continue;
		}
		for (int i = 0; i < s->links.count; i++)
			s->links.list[i].term = true;
		term_came(s);
	}
}

/* Slurm tells the tasks one after the other: slurmctld is asked once for all that have
 * been told. */
static void on_links(struct supervisor *s, const struct pollfd *p)
{
	bool term = false;

	for (int i = 0; i < s->links.count; i++) {
		struct pollfd more = p[i];
		int sig;

		while (more.fd >= 0 && more.revents) {
			if (!links_hear(&s->links, i, &sig)) {
				/* not worth a word */
			} else if (sig == SIGTERM) {
				/* Each gets one for a stop; the checkpoint at the
				 * begin of the grace time answers all of them. */
				term |= (s->dumping != IN_GRACE &&
					 s->dumping != FOLLOWING) ||
					s->links.list[i].term;
				s->links.list[i].term = true;
			} else {
				on_signal(s, i, sig);
			}
			more.fd = s->links.list[i].fd;
			poll(&more, 1, 0);
		}
	}
	if (term)
		term_came(s);
}

static bool was_end(const struct supervisor *s, const struct control *saved)
{
	return s->dumping == ENDING ||
	       (s->dumping == FOLLOWING && !strcmp(saved->text, "end"));
}

static void on_children(struct supervisor *s)
{
	struct signalfd_siginfo si;
	int status;

	while (read(s->children, &si, sizeof(si)) == sizeof(si))
		;
	if (s->mailer > 0 && waitpid(s->mailer, NULL, WNOHANG) == s->mailer)
		s->mailer = 0;
	if (s->waker > 0 && waitpid(s->waker, NULL, WNOHANG) == s->waker)
		s->waker = 0;
	if (s->commenter > 0 &&
	    waitpid(s->commenter, NULL, WNOHANG) == s->commenter)
		s->commenter = 0;
	if (s->looker > 0 && waitpid(s->looker, &status, WNOHANG) == s->looker) {
		s->looker = 0;
		if (WIFEXITED(status) && !WEXITSTATUS(status) && !s->spec.part)
			periodic_begin(&s->periodic, &s->spec, now_ns());
	}
	if (waitpid(s->agent, &status, WNOHANG) == s->agent) {
		/* What it said last is still in the socket. */
		struct control msg;

		while (control_receive(s->spec.control, &msg, 0, NULL) > 0)
			if (msg.kind == CONTROL_ENDED) {
				s->ended = true;
				s->status = msg.value;
			} else if (msg.kind == CONTROL_TASK_ENDED) {
				links_ended(&s->links, msg.task, msg.value);
			} else if (msg.kind == CONTROL_SAVED && was_end(s, &msg)) {
				saved_and_ended(s, msg.value);
			} else if (msg.kind == CONTROL_SUPERSEDED) {
				end_superseded(s, &msg);
			} else if (msg.kind == CONTROL_LOST) {
				lost(s, &msg);
			} else if (msg.kind == CONTROL_EVENT) {
				tell_event(s, msg.text);
			}
		finish(s, status);
	}
}

/* ---- the agent's answers ----------------------------------------------- */

static void dump_is_over(struct supervisor *s)
{
	s->dumping = NOTHING;
	pass_on_others(s);
	if (s->term) {
		s->term = false;
		on_term(s);
	}
}

static void on_refused(struct supervisor *s, const char *why)
{
	bool stopping = s->dumping == ENDING || s->dumping == IN_GRACE;
	bool by_clock = s->dumping == BY_CLOCK || s->dumping == BEFORE_LIMIT;

	if (s->dumping == NOTHING) {
		say(SAYS "this step is not protected: %s", why);
		notify(s, why);
		return;
	}
	if (!by_clock || strcmp(why, s->refusal))
		tell_refusal(s, why);
	snprintf(s->refusal, sizeof(s->refusal), "%s", why);
	s->requeue = false;
	if (s->dumping == BEFORE_LIMIT)
		periodic_ask_in(&s->periodic, 10, now_ns());
	if (stopping) {
		s->refused = true;
		pass_term(s, true);
	}
	dump_is_over(s);
}

static void on_saved(struct supervisor *s, const struct control *msg)
{
	bool limit = s->dumping == BEFORE_LIMIT;
	bool stop = s->dumping == IN_GRACE ||
		    (s->dumping == FOLLOWING && s->following == SIGTERM);
	char cost[16], interval[16];

	if (rhythm_took(&s->periodic.rhythm, msg->us, now_ns())) {
		span_print(msg->us, cost);
		span_print((int64_t)(s->periodic.rhythm.seconds * 1e6), interval);
		say(SAYS "step %u.%s: a checkpoint takes %s; so that no more than %d %% of the time is spent on them, the next are taken every %s",
		    s->spec.job, s->spec.step, cost, s->spec.limits.overhead,
		    interval);
	}
	s->refusal[0] = '\0';
	if (stop && !s->term)
		forget_term(s);
	dump_is_over(s);
	if (limit && s->dumping == NOTHING)
		end_slice(s);
}

static void on_size(struct supervisor *s, const struct control *msg)
{
	struct job_facts facts;

	s->periodic.need_us = msg->us;
	if (!*msg->text)
		return;
	job_ask(s->spec.job, &facts, NULL);
	if (!budget_fits_grace(msg->us, &s->spec,
			       partition_grace(facts.partition)))
		say(SAYS "step %u.%s: %s", s->spec.job, s->spec.step, msg->text);
}

static void on_answer(struct supervisor *s)
{
	struct control msg;

	if (control_receive(s->spec.control, &msg, 0, NULL) <= 0) {
		/* It is ending; SIGCHLD follows. */
		close(s->spec.control);
		s->spec.control = -1;
		return;
	}
	switch (msg.kind) {
	case CONTROL_ENDED:
		s->ended = true;
		s->status = msg.value;
		if (msg.done)
			answer_end(s, msg.touched);
		break;
	case CONTROL_TASK_ENDED:
		links_ended(&s->links, msg.task, msg.value);
		break;
	case CONTROL_SAVED:
		if (was_end(s, &msg)) {
			saved_and_ended(s, msg.value);
			break;
		}
		on_saved(s, &msg);
		break;
	case CONTROL_SIZE:
		on_size(s, &msg);
		break;
	case CONTROL_REFUSED:
		if (s->dumping == FOLLOWING)
			on_not_followed(s, &msg);
		else
			on_refused(s, msg.text);
		break;
	case CONTROL_SUPERSEDED:
		end_superseded(s, &msg);
	case CONTROL_PASS:
		on_pass(s, !msg.value);
		break;
	case CONTROL_WAKE:
		wake_others(s);
		break;
	case CONTROL_LOST:
		lost(s, &msg);
		break;
	case CONTROL_EVENT:
		tell_event(s, msg.text);
		break;
	case CONTROL_NOTE:
		say(SAYS "step %u.%s: %s", s->spec.job, s->spec.step, msg.text);
		break;
	default:
		break;
	}
}

static void on_events(struct supervisor *s, const struct pollfd *p, bool first)
{
	if (p[1].revents)
		on_answer(s);
	if (p[0].revents)
		on_children(s);
	if (p[2].revents)
		on_signals(s);
	if (p[3].revents)
		links_take(&s->links);
	if (!first)
		on_links(s, p + 4);
}

/* The program's own streams must end when the program closes them; only for
 * messages is one kept. */
static void leave_stdio(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, 0);
	dup2(null, 1);
	if (null > 2)
		close(null);
}

int main(int argc, char *argv[])
{
	struct supervisor s = { .agent = -1 };
	struct err e = { "" };
	sigset_t all, chld;

	if (argc < 2 || spec_parse(argc - 2, argv + 2, &s.spec, &e) < 0) {
		fprintf(stderr, "sckpt-supervise: started by Slurm through spank-sckpt, not by hand\n");
		return 2;
	}
	s.agent = atoi(argv[1]);
	tell_begin(&s);
	if (s.agent <= 0)
		return !may_start_afresh(&s, s.agent == SUPERVISE_LOOK);
	if (links_begin(&s.links, &s.spec, &e) < 0) {
		say(SAYS "step %u.%s: %s", s.spec.job, s.spec.step, e.text);
		return 1;
	}
	leave_stdio();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigdelset(&all, SIGCHLD);
	if ((s.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 ||
	    (s.children = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return 1;
	if (*s.spec.note)
		say(SAYS "step %u.%s: %s", s.spec.job, s.spec.step, s.spec.note);
	look_for_verdict(&s);
	for (;;) {
		/* The first that the agent may hear is the verdict; one of a
		 * job that was never stopped does not wait longer (launch.c). */
		bool first = s.looker > 0;
		struct pollfd p[4 + s.links.count];
		int n;

		p[0] = (struct pollfd){ s.children, POLLIN, 0 };
		p[1] = (struct pollfd){ s.spec.control, POLLIN, 0 };
		p[2] = (struct pollfd){ first ? -1 : s.signals, POLLIN, 0 };
		n = links_polls(&s.links, p + 3);
		n = poll(p, (nfds_t)(3 + (first ? 1 : n)), !first ? wait_ms(&s) :
				   s.spec.restart <= 0 ? verdict_timeout_ms(&s.spec) + 1000 :
							 -1);

		if (n == 0 && first)
			s.looker = 0;
		if (n > 0)
			on_events(&s, p, first);
		/* After the signals: what was suspended wakes with those of its end. */
		if (!s.looker)
			on_clock(&s);
		on_late(&s);
	}
}
