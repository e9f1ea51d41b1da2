/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy: why a step is being stopped, and what to do about it. The decision
 * is a pure function of facts; where the facts come from is job.c's part.
 */
#ifndef SCKPT_POLICY_H
#define SCKPT_POLICY_H

#include "sckpt/base.h"

/* What slurmctld says of the job (scontrol show job --json). */
struct job_facts {
	bool answered; /* slurmctld was reached and knows the job */
	bool running, pending, completing;
	bool cancelled, timeout;
	bool evicted; /* ended for another job, and not queued again */
	bool preempted; /* preempt_time is set */
	bool held; /* its priority is 0: only somebody's order starts it */
	bool expedited; /* sbatch --requeue=expedite, 25.11 and later */
	bool batch; /* a batch job: others cannot be requeued */
	bool requeue; /* it may be requeued */
	int restarts; /* times the job was requeued so far */
	/* Seconds since 1970; 0 unknown, or not. */
	int64_t start, end; /* of this run */
	int64_t begin; /* it may start no sooner */
	int64_t preempt_time;
	char name[32]; /* what commands call it: ARRAY_TASK, or its number */
	char mail_user[128]; /* who gets the job's mail; "" not told */
	char partition[128];
	int64_t submitted; /* s since 1970: or put back into the queue */
	char comment[1032];
	char excluded[1024]; /* nodes that it is not to run on, with commas */
	char required[64]; /* the begin of those that it is to run on; "" any */
};

enum cause {
	CAUSE_SIGNAL, /* somebody sent the signal; the job runs on */
	CAUSE_GRACE, /* preempted, and in its GraceTime */
	CAUSE_PREEMPTED,
	CAUSE_REQUEUED,
	CAUSE_TIMEOUT,
	CAUSE_CANCELLED,
	CAUSE_EVICTED, /* preempted: a job that may not be requeued, or PreemptMode=CANCEL */
	CAUSE_ENDED, /* ended in a way after which it does not come back */
	CAUSE_UNKNOWN /* no answer */
};

enum action {
	ACTION_PASS, /* hand the signal to the program */
	ACTION_SAVE, /* checkpoint; the program goes on */
	ACTION_SAVE_AND_END,
	ACTION_SAVE_AND_REQUEUE /* so, and then have Slurm requeue the job */
};

/* On SIGTERM. DESIGN: the table in doc/internals.md. */
enum cause stop_cause(const struct job_facts *facts);
/* What the words of the step that spec describes make of it. */
enum action stop_action(enum cause cause, const struct spec *spec);
const char *cause_name(enum cause cause);

/* What prints Slurm's records as JSON, for argv: its own commands, from 23.02 on. */
#if HAVE_SCONTROL_JSON
#define SHOW_JOB(id) { SCONTROL_PATH, "show", "job", id, "--json", NULL }
/* --all: also hidden partitions, and those of other groups, and jobs there. */
#define SHOW_PARTITION(name) { SCONTROL_PATH, "--all", "show", "partition", name, "--json", NULL }
#define SHOW_JOBS_OF(uid) { SQUEUE_PATH, "--json", "--all", "--states=all", "--user", uid, NULL }
#else
#define SHOW_JOB(id) { RECORD_PATH, "job", id, NULL }
#define SHOW_PARTITION(name) { RECORD_PATH, "partition", name, NULL }
#define SHOW_JOBS_OF(uid) { RECORD_PATH, "user", uid, NULL }
#endif

/* One question to slurmctld. No answer is no error: facts->answered tells. */
void job_ask(uint32_t job, struct job_facts *facts, struct err *why_not);
/* From the text of scontrol show job --json, which shows a whole array where one
 * task has the array's number; -1 when it is not understood. */
int job_parse(const char *json, uint32_t job, struct job_facts *facts,
	      struct err *e);
/* Takes from such a text, before it is read, what is most of it of a large job: which cores of which
 * nodes it has (job_resources), some 200 bytes for each core. */
void job_trim(char *json);
/* BatchFlag, which is 1, and counts the times that slurmctld put the job back by
 * itself; -1 when there is no answer. */
int job_batch_flag(uint32_t job, struct err *e);
/* From the text of scontrol show job --oneliner. */
int batch_flag_parse(char *text, uint32_t job);
/* The GraceTime of a partition in seconds; 0 also when it is not told. */
int partition_grace(const char *name);
/* Stops the job and puts it back into the queue. */
int job_requeue(uint32_t job, struct err *e);
/* Stops the job and keeps it queued until its owner releases it. */
int job_requeue_hold(uint32_t job, struct err *e);
/* The job, which is queued and held, is let go, but not to `node`. At most
 * EXCLUDED_MOST nodes are excluded so: then something else is wrong. */
#define EXCLUDED_MOST 16
int job_release_elsewhere(const struct job_facts *facts, const char *node,
			  struct err *e);
/* It may start in so many seconds. */
int job_start_in(const struct job_facts *facts, int seconds, struct err *e);
/* The numbers of a user's jobs that are queued or run; malloc'ed, the caller's.
 * Returns how many. */
int jobs_queued(uint32_t **jobs, struct err *e);

/* ---- run again, though it has ended (rerun.c) ---------------------------- */

enum ending {
	ENDING_FORGET, /* nothing is to be remembered of it */
	ENDING_TOLD, /* neither, and it is none: the job runs again, for the program or a
		      * step of its script had been told to end */
	ENDING_MAYBE, /* slurmctld may put the job back by itself */
	ENDING_REQUEUED, /* the job was put back before the program ended */
	ENDING_AFRESH /* it is put back because that is wanted, and starts at its top */
};

/* How the program of run `run` has ended. Seconds since 1970, 0 never. */
struct own_end {
	int run;
	int64_t signalled; /* the last signal that reached the program */
	/* The last SIGTERM of a stop did, or a step of its script ended that may have
	 * been told to end. */
	int64_t stopped;
	int64_t told; /* when this step was told to stop, or now */
	bool ours; /* this step has had the job requeued */
	bool requeue_exit; /* its exit code is one of RequeueExit */
};

enum ending ending_of(const struct job_facts *facts, const struct own_end *end);

enum rerun {
	RERUN_END, /* nobody asked for it: it ends as it had ended */
	RERUN_AFRESH, /* somebody did, and it had ended well */
	RERUN_GO_ON /* as after any other stop: from the last checkpoint, if any */
};

/* What is remembered of the end. */
struct past {
	int run; /* whose program it was */
	bool failed;
	bool requeued; /* the job had been put back by then */
	int batch_flag; /* then; -1 unknown */
};

/* What run `run` of a job is whose program had ended before; DESIGN: the table in
 * doc/internals.md. batch_flag: as it is now; 0 not asked, -1 no answer. */
enum rerun rerun_of(const struct past *was, int run, int batch_flag);
/* Is BatchFlag needed for it? */
bool rerun_asks(const struct past *was, int run);

/* The job was put back and is completing: in how many seconds it may be let start,
 * 0 for when Slurm says. wait: what the administrator allows, slurms: how long Slurm
 * lets it wait. */
int requeue_wait(const struct job_facts *facts, int wait, int slurms,
		 int64_t now);

/* ---- Slurm's configuration (config.c) ------------------------------------ */

/* The text of scontrol show config, malloc'ed, the caller's; or NULL. */
char *config_ask(struct err *e);
/* The value of a name in it. False: there is none. */
bool config_find(const char *text, const char *name, char *value, size_t size);
/* Is a job that ends with that exit code put back (RequeueExit)? */
bool config_requeue_exit(const char *text, int code);
/* How long a requeued job waits before it may start, s. */
int config_requeue_delay(const char *text);

/* ---- checkpoints between stops (interval.c) ------------------------------ */

/* Seconds between checkpoints of that cost (s) with that mtbf (s). */
double interval_auto(double cost, double mtbf);
/* Where in its first interval a step takes its first checkpoint, (0, 1]: jobs
 * that start together do not write together. */
double interval_spread(uint32_t job, const char *step, int run);

struct rhythm {
	int every, mtbf, overhead; /* as in struct spec */
	bool measured;
	bool held; /* the overhead was too large once */
	double cost, seconds; /* of a checkpoint, s; between them */
	int64_t due; /* when the next one is, ns; 0 never */
};

/* now: a clock's time in ns, the same clock each time. */
void rhythm_begin(struct rhythm *r, const struct spec *spec, int64_t now);
/* Due, and not possible now: one is left out. */
void rhythm_next(struct rhythm *r, int64_t now);
/* A checkpoint was taken, from criu's start until durable in cost_us. True, once,
 * when the interval is longer than wanted, for the overhead. */
bool rhythm_took(struct rhythm *r, int64_t cost_us, int64_t now);

/* ---- what fits into the time there is (budget.c) ------------------------- */

/* Bytes a second of a dump's memory, where none has been measured. */
#define SPEED_ASSUMED 5e8

int64_t budget_need_us(int64_t resident, double speed);
/* An srun step is told at the begin of the grace time, so that a dump that takes
 * so long fits; a batch script only at its end. */
bool budget_fits_grace(int64_t need_us, const struct spec *spec, int grace);
/* From SIGTERM to when a dump that is not done must be given up. */
int64_t budget_deadline_us(int kill_wait);
/* It will not fit: true, and what the user is to be told. */
bool budget_warning(int64_t resident, double speed, bool measured,
		    int kill_wait, char *text, size_t size);

/* ---- the time limit (limit.c) --------------------------------------------- */

struct limit_plan {
	enum { LIMIT_ASK, /* slurmctld, again, in so many seconds */
	       LIMIT_ACT, /* checkpoint and requeue, now */
	       LIMIT_NEVER /* it cannot be, and text says why */
	} what;
	int seconds;
	const char *text;
};

/* now: seconds since 1970. need_us: how long a checkpoint takes. */
struct limit_plan limit_plan(const struct job_facts *f, int64_t now,
			     int64_t need_us);
/* A signal came that may be the warning of sbatch --signal: is it one that a
 * checkpoint should be taken for? */
bool warning_saves(const struct job_facts *f, const struct spec *spec,
		   int64_t now);

/* ---- a node of the step that is waited for (presence.c) ----------------------- */

/* One that was killed with all that runs on it says nothing of its end. */
struct presence {
	int order; /* number of the one that asks whether it is there; 0 none */
	/* CLOCK_MONOTONIC, ns: */
	int64_t since; /* when that was said, or it was last known to be there */
	int64_t woken; /* when Slurm was last to wake it */
};

enum presence_act {
	PRESENCE_WAIT,
	PRESENCE_ASK, /* by an order, and wake it; then presence_asked() */
	PRESENCE_WAKE, /* once more: slurmctld, or slurmd there, may have been away */
	PRESENCE_GONE
};

/* order: the step's last; answered: the node has answered that one. */
enum presence_act presence_look(struct presence *p, int order, bool answered,
				int64_t now);
/* order: 0, it could not be said. */
void presence_asked(struct presence *p, int order, int64_t now);

/* ---- the job's Comment (comment.c) ------------------------------------------ */

/* Ours begins like this. */
#define COMMENT_BEGIN "sckpt: "
/* Between stops it is set anew after so many seconds at the earliest: that is a
 * question and an update for each running step, so for a thousand of them about
 * one RPC a second. */
#define COMMENT_EVERY 1800

/* Nobody else has said anything in it. */
bool comment_is_free(const char *comment);
/* By a clock's time in ns; last_ns 0: never set before. */
bool comment_due(int64_t last_ns, int64_t now_ns);
int comment_set(const char *job, const char *step, const char *text, int timeout_ms,
		struct err *e);

/* ---- mail (mail.c) --------------------------------------------------------- */

/* By Slurm's MailProg, as the job's user. */
int mail_send(const char *to, const char *subject, struct err *e);

#endif
