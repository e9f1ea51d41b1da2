/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor's files: supervise.c, verdict.c, tell.c. */
#ifndef SCKPT_SUPERVISE_H
#define SCKPT_SUPERVISE_H

#include "periodic.h"
#include "sckpt/policy.h"
#include "sckpt/store.h"

#define SAYS "sckpt: "

/* ---- links.c: the tasks of a step that has several here --------------------- */

struct link {
	int fd; /* to its sckpt-task; -1 not there yet, or not any more */
	bool ended; /* its program has */
	int status; /* wait status then */
	bool term; /* it got SIGTERM, which is still to be answered */
	bool halted; /* it got SIGTSTP, and no SIGCONT since */
};

struct links {
	int count; /* 0: the supervisor is the step's only task itself */
	int door; /* where new ones come from; -1 there will be none */
	struct link *list;
};

int links_begin(struct links *l, const struct spec *spec, struct err *e);
struct pollfd;
/* The door first, then each task's; returns count + 1. */
int links_polls(const struct links *l, struct pollfd *p);
/* Something is at the door. */
void links_take(struct links *l);
/* Something came from that task. True: Slurm has sent it signal *sig. */
bool links_hear(struct links *l, int task, int *sig);
/* The program of one has ended, which its sckpt-task is told; only the last one's is
 * told by links_end(). */
void links_ended(struct links *l, int task, int status);
/* All of them end; those that run, with status. */
void links_end(struct links *l, int status);

struct supervisor {
	struct spec spec;
	struct links links;
	pid_t agent;
	struct generation newest; /* what there is to go on from; number 0 nothing */
	pid_t looker; /* looks at the store; 0 when the verdict is given */
	int signals, children;
	enum {
		NOTHING, /* no dump is under way */
		REQUESTED, /* one that somebody asked for by sckpt create */
		BY_CLOCK, /* one between stops */
		BEFORE_LIMIT, /* one before the time limit: then a requeue */
		IN_GRACE, /* one at the begin of the grace time */
		FOLLOWING, /* what the step's first node says */
		ENDING /* one that ends the step */
	} dumping;
	int following; /* for this signal */
	pid_t waker; /* wakes the step's other nodes, or 0 */
	int64_t woken; /* when, CLOCK_MONOTONIC in ns; 0 never */
	bool term; /* SIGTERM came meanwhile, and is still to be answered */
	bool halted; /* as that of a link, of the step that has none */
	bool pass_others; /* it is the program's, which other nodes hear after the dump */
	int64_t told; /* when it came, CLOCK_MONOTONIC in ns; 0: it has not */
	int64_t passed; /* when the program last got a signal, s since 1970 */
	int64_t stopped; /* when it last got SIGTERM of a stop */
	bool refused; /* one was refused: SIGTERM goes to the program */
	bool requeue; /* the job is to be requeued when this dump is done */
	bool requeue_ordered; /* it was, by this step or for it */
	bool afresh; /* what lay in the store is not gone on from */
	bool evicted; /* Slurm does not start it again */
	bool own_stderr; /* lines of events are wanted there */
	char refusal[640]; /* the last reason: a dump by the clock that is
			    * refused is told of once */
	struct periodic periodic;
	pid_t mailer; /* a process that sends mail, or 0 */
	pid_t commenter; /* a process that sets the job's Comment, or 0 */
	int64_t commented; /* when that was, CLOCK_MONOTONIC in ns; 0 never */
	enum {
		COMMENT_UNKNOWN, /* slurmctld was not asked */
		COMMENT_FREE,
		COMMENT_TAKEN /* the user has said something in it */
	} comment;
	char name[32]; /* what commands call the job; only if comment is known */
	bool ended; /* the program ended, with this status */
	bool saved; /* it did by being dumped, */
	int status;
	int generation; /* and this is that one's number */
};

/* ---- tell.c: the job's user is told ------------------------------------ */

/* On stderr, a line. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Where events are told; before standard output is left. */
void tell_begin(struct supervisor *s);
/* A checkpoint or a restore: on stderr, if that is a place for it, and in the
 * job's Comment, if it is time for that. */
void tell_event(struct supervisor *s, const char *text);
/* A checkpoint that could not be taken: on stderr wherever that is, in the
 * Comment, and by mail. */
void tell_refusal(struct supervisor *s, const char *why);
/* Waits for the Comment, as long as there is time before SIGKILL. */
void wait_for_comment(struct supervisor *s);
/* By mail, with the word notify. */
void notify(struct supervisor *s, const char *what);
/* What is left of the step is killed when its task ends. */
void wait_for_mail(struct supervisor *s);

/* ---- verdict.c, requeue.c ----------------------------------------------------------- */

/* Where there is no hurry: for ten minutes at most; e only when there was no answer. */
void ask_until_answered(uint32_t job, struct job_facts *facts, struct err *e);
/* Looks at the store and tells the plugin's child whether the step is protected,
 * whether there is something to go on from, or that it must not start. True:
 * protected. */
bool give_verdict(struct supervisor *s);
/* The step cannot be protected here. False: it must not start at all, for it has something
 * to go on from, here or elsewhere; with care that is told, and the job taken care of. */
bool may_start_afresh(struct supervisor *s, bool care);
/* The program has ended: tells the agent what is to be remembered of it. touched: as
 * in CONTROL_ENDED. */
void answer_end(struct supervisor *s, int64_t touched);
/* The step was dumped and the job is requeued: lets it start as soon as may be. */
void start_soon(const struct supervisor *s);
/* No generation could be restored: on-restore-failure= decides, if not the step's first
 * node does. */
void lost(struct supervisor *s, const struct control *msg);

/* ---- superseded.c ------------------------------------------------------------------- */

/* The job goes on elsewhere, as CONTROL_SUPERSEDED says: ends all that is left of it on this node,
 * and this process. */
void __attribute__((noreturn)) end_superseded(struct supervisor *s, const struct control *msg);

#endif
