/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * step: the processes beside the program. sckpt-supervise (supervise.c) is
 * Slurm's task; sckpt-agent (agent.c) is PID 1 of the step's PID namespace;
 * sckpt-root (root.c) is the root of the tree that criu dumps; sckpt-task and
 * sckpt-join see tasks.h. sckpt-hook and sckpt-in-criu.so, loaded into criu
 * (LD_PRELOAD), are plugin/criu's.
 */
#ifndef SCKPT_STEP_H
#define SCKPT_STEP_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "sckpt/base.h"
#include "sckpt/criu.h"
#include "sckpt/metrics.h"
#include "sckpt/store.h"

#include "outlog.h"

/* ---- stdio.c: the program's standard descriptors ---------------------- */

enum stream_kind {
	STREAM_CLOSED,
	STREAM_FILE, /* a file or device that slurmstepd opened */
	STREAM_PIPE /* a pipe or socket of slurmstepd's: the agent stands
		     * between, so that no byte is lost or read twice */
};

struct std_stream {
	enum stream_kind kind;
	int outer; /* slurmstepd's end; -1 when its other side is gone */
	int inner; /* the agent's end of the program's pipe, or -1 */
	int program; /* what the program gets as descriptor N, or -1 */
	int rest; /* input after its end: where the unread can be counted, or -1 */
	bool regular; /* STREAM_FILE: a regular file that is written to */
	char key[80]; /* criu's name of what the program has */
	/* bytes on their way between outer and inner */
	char *buf;
	size_t filled, sent;
	bool framed; /* output, in frames (frame.h); then: */
	char *raw; /* what came from the program, before */
	int64_t said; /* bytes from its first start */
	int64_t moved; /* input: bytes handed to the program so far, from the
			* first start of the job */
	int64_t skip; /* input: bytes of it that are still to be skipped */
	int output; /* number of its output log, -1 none */
};

/* Of output, what came from the program at a dump, and is not on its way yet. */
struct later;

struct stdio {
	int count; /* of streams: TASK_STREAMS for each task */
	struct std_stream *s;
	struct later *later; /* of all, in the order in which it is to be said */
	struct outlogs logs; /* one for each stream, open or not */
	int above; /* the program's ends are such descriptors */
	uint32_t job, token;
	int part; /* of the step: this node's */
};

/* Looks at the descriptors of so many tasks, three for each, -1 for what is closed,
 * and puts pipes between where needed. They stay the caller's. */
int stdio_take(struct stdio *io, const struct spec *spec, const int *fds,
	       int tasks, struct err *e);
/* Opens the output logs, empty ones for a fresh start; from here on what
 * passes is kept. */
int stdio_keep(struct stdio *io, const struct store *store, bool fresh,
	       struct err *e);
/* After fork, in the task's program: its descriptors become 0 to 2. */
void stdio_give(const struct stdio *io, int task);
/* The program has its ends (launched or restored): the agent lets go. */
void stdio_given(struct stdio *io);
/* Fills in what to wait for, at most one for each stream; returns how many. */
int stdio_polls(const struct stdio *io, struct pollfd *p);
/* Moves what can be moved without waiting. */
void stdio_pump(struct stdio *io);
/* With the program frozen or gone: takes all it has written, and notes for
 * the manifest where each stream is. What slurmstepd does not take now is said by
 * stdio_pump() and stdio_flush(): it is not waited for. */
int stdio_settle(struct stdio *io, struct manifest *m, struct err *e);
/* Makes what was taken durable. Any thread; the program may run again. */
int stdio_sync(struct stdio *io, struct err *e);
/* With every writer killed: hands on what is left, to the end of the pipes,
 * waiting for slurmstepd at most timeout_ms; patient: so long whenever it has taken something. */
void stdio_flush(struct stdio *io, int timeout_ms, bool patient);
/* What the program wrote to stream i in an earlier run stands there again. */
int stdio_say_again(struct stdio *io, int i, int log, int64_t length,
		    struct err *e);
struct rewind;
/* Are the logs what a restore needs? */
int stdio_whole(const struct stdio *io, const struct manifest *m, struct err *e);
/* With the program restored and not yet running: output files hold again
 * what they held, input is where it was. */
int stdio_recall(struct stdio *io, const struct manifest *m, struct rewind *r,
		 struct err *e);
/* The last thing before the program runs: of the logs run `run` has what m tells of, in files of
 * its own. What an abandoned run has put into them since, or will, is none of its. Until then a
 * newer generation could still be gone on from. */
int stdio_goes_on(struct stdio *io, const struct store *store, int run,
		  const struct manifest *m, struct err *e);

/* ---- tasks.c: the step's tasks on this node --------------------------------- */

/* What came from a task that is not the first, until it is started. */
struct joined;

struct task {
	struct joined *joined;
	bool ended;
	int status; /* wait status */
	bool told; /* Slurm's task of it knows */
};

/* Task i is process PROGRAM_PID + i. */
struct tasks {
	int count;
	struct task *list;
};

/* Waits until all have come, or are known not to. */
int tasks_collect(struct tasks *t, const struct spec *spec, struct err *e);
/* What that task is to have as descriptor `number`; -1 closed. */
int tasks_descriptor(const struct tasks *t, int task, int number);
/* In the task's process: becomes its program; the first one's is argv. */
void task_become(const struct tasks *t, int task, char *const argv[])
	__attribute__((noreturn));
/* Restored processes run where the agent does: each task's are put on the CPUs that
 * Slurm has given it now. */
int tasks_bind(const struct tasks *t, struct err *e);
/* All run: what came from them is not needed any more. */
void tasks_started(struct tasks *t);
/* Asks the root which have ended. Returns how many that was not known of. */
int tasks_look(struct tasks *t, pid_t root);
bool tasks_over(const struct tasks *t);
/* Those that had not ended have now, so. */
void tasks_killed(struct tasks *t, int status);
/* With all ended: the first status that is not 0. */
int tasks_status(const struct tasks *t);
/* To one of them, or (-1) to all that run. */
void tasks_signal(struct tasks *t, int task, int sig);

/* What that task is started with; NULL nothing is known. */
char *const *tasks_environment(const struct tasks *t, int task);

/* ---- pmi.c: the ranks' sockets to Slurm's mpi/pmi2 ---------------------------- */

struct pmi_link;

struct pmi {
	int count; /* of the tasks that have one */
	struct pmi_link *list;
	int first; /* the first task's, under Slurm's number in the agent; 0 none */
};

/* Stands between; above: as in struct stdio. */
int pmi_take(struct pmi *p, const struct tasks *t, int above, struct err *e);
/* All tasks have theirs. */
void pmi_given(struct pmi *p);
/* At most two for each. */
int pmi_polls(const struct pmi *p, struct pollfd *fds);
void pmi_pump(struct pmi *p);
/* criu's names of what the tasks have now. */
const char *pmi_key(const struct pmi *p, int i);
/* What that task is to have when it is restored; -1 none. */
int pmi_program(const struct pmi *p, int task);
/* With all frozen: notes what has been said. */
int pmi_settle(struct pmi *p, struct manifest *m, struct err *e);
/* It is said again from here on, while the program runs. */
int pmi_recall(struct pmi *p, const struct manifest *m, struct err *e);

/* ---- program.c -------------------------------------------------------- */

/* Limits that agent and criu would fail at where the program need not: open
 * files, the size of an image, the memory that is mapped. */
#define AS_STARTED_LIMITS 4
extern const int as_started_limits[AS_STARTED_LIMITS];

/* What the agent changed for itself and the program gets as Slurm set it. */
struct as_started {
	sigset_t mask;
	struct rlimit limits[AS_STARTED_LIMITS];
};

/* Starts sckpt-root and below it the tasks, the first of which runs argv, whose
 * first word becomes the path of its file. Returns the root's PID. */
pid_t program_launch(const struct spec *spec, const struct stdio *io,
		     char *argv[], const struct as_started *as,
		     const struct tasks *tasks, struct err *e);
/*
 * A restored tree has its PIDs by choice, and the kernel goes on counting from
 * the helpers' low ones. What the program starts from now on is above its own: a
 * process with a low PID could not be restored the next time, beside criu.
 */
int program_leave_low_pids(pid_t root, struct err *e);
/* All processes below root, the root first; malloc'ed, the caller's. */
int program_tree(pid_t root, pid_t **pids, struct err *e);
/* Bytes resident of all of them. */
int64_t program_resident(const pid_t *pids, int count);
/* Of these, the bytes that are no file's, which a dump takes. */
int64_t program_own(const pid_t *pids, int count);

/* ---- capability.c ------------------------------------------------------ */

/* This process has no capability any more. */
int drop_capability(void);

/* ---- criu.c: running criu --------------------------------------------- */

#define EXCHANGES_MAX 3 /* batch script, output, errors */
/* Pure: what dump and restore are asked to do. */
void criu_dump_run(struct criu_run *r, const struct stdio *io, const struct pmi *pmi,
		   bool end);
void criu_restore_run(struct criu_run *r, const struct stdio *io,
		      const struct pmi *pmi, const struct manifest *m);
/* Starts it with a clean environment. criu: its path. Returns its PID. */
pid_t criu_start(const struct criu_run *r, const char *criu, struct err *e);
/*
 * Why it failed, in words: what the table of explain.c says of its log (true), or
 * its first error as it stands, or the words it died with. The log is kept in the
 * step's directory, and named when the table does not know it.
 */
bool criu_explain(const struct store *store, const char *log, int status,
		  char *text, size_t size);
/* Microseconds that the last dump kept the program frozen; -1 unknown. */
int64_t criu_frozen_us(void);

/* ---- blockers.c ------------------------------------------------------- */

/* One thing of one process that criu cannot dump without more privilege. */
struct blocker {
	pid_t pid;
	char name[32];
	char what[200]; /* "holds an io_uring (descriptor 5)" */
	const char *way_out;
	int more; /* of the same kind */
};

#define BLOCKERS_MAX 32
struct blockers {
	struct blocker list[BLOCKERS_MAX];
	int count;
	int more; /* that did not fit */
	int needs; /* what a broker can have done was needed (enum elevate) */
};

/* All that is found of these in the tree, but for what the step's broker can have done
 * (enum elevate). */
void blockers_find(const pid_t *pids, int count, int elevate,
		   struct blockers *found);
/* The same of what criu would dump and restore wrongly without saying so. */
void blockers_silent(const pid_t *pids, int count, struct blockers *found);
/* In one sentence, with the way out. */
void blocker_print(const struct blocker *b, char *text, size_t size);
/* Pure: finds a socket in /proc/net/tcp or tcp6; not one that listens. */
bool blocker_connection(const char *table, unsigned long inode, char *text,
			size_t size);

/* ---- elevate.c ----------------------------------------------------------- */

struct step;
/* The socket to the broker, if it is to run criu for a dump now; -1. */
int elevate_broker(const struct step *step);
/* Did it run criu for that one? */
bool elevate_made(const struct manifest *m);

/* ---- describe.c, memory.c ----------------------------------------------- */

/* Fills in m->processes. */
int program_describe(const pid_t *pids, int count, struct manifest *m,
		     struct err *e);
/* The least that the images' buffer has. */
#define BUFFER_LEAST (UINT64_C(4) << 20)
/* Bytes the images' buffer may have: as set, or half of what is left to the
 * step when the program has got `needed` bytes. */
uint64_t memory_for_buffer(uint64_t setting, uint64_t needed);
/* Bytes that the step may still take. */
uint64_t memory_left(void);
/* Whether a process of the step was killed since there was no more: Slurm calls the step
 * OUT_OF_MEMORY then, however its program ends (slurmstepd/mgr.c). */
bool memory_ran_out(void);
/* The lowest limit of the cgroups that the step is in; UINT64_MAX none. */
uint64_t memory_limit(void);
/* Bytes of memory and swap that there are; UINT64_MAX not known. */
uint64_t memory_of_node(void);
/* Bytes in use in the step's cgroup that are not page cache; 0 not known. */
uint64_t memory_of_step(void);

/* ---- files.h ---------------------------------------------------------------- */

/* What was noticed of files since the agent began. */
struct file_seen {
	dev_t dev;
	ino_t inode;
	int64_t mtime_ns;
	bool told; /* that its content is not kept */
	bool shared; /* somebody else wrote to it */
	bool met; /* at the last dump */
};

struct files_seen {
	struct file_seen *list;
	size_t count;
	int64_t begun; /* ns since 1970: what is older the program did not write */
};

/* ---- dump.c, restore.c ------------------------------------------------- */

/* What the last dump cost. */
struct cost {
	int64_t us; /* criu's start to all images durable */
	int64_t resident, carried; /* bytes: memory, and files of whole directories */
	bool whole; /* it did not lean on another */
	int generation;
	int64_t frozen_us;
};

/* What agent, dump and restore have in common of the step. */
struct step {
	struct spec spec;
	struct store store;
	struct stdio *io;
	struct tasks *tasks;
	struct pmi *pmi;
	pid_t root;
	struct generation restored; /* what it went on from; number 0: none */
	bool elsewhere; /* not restored, since a node has not what it needs */
	char unfit_node[256]; /* that node */
	bool unfit; /* not restored, since the job has not, on any node */
	int64_t restored_time; /* when that was taken, s since 1970 */
	char command[256];
	const char *program; /* the first word of it */
	struct files_seen seen;
	int64_t carried; /* bytes of whole directories at the last dump */
	bool told_carry, told_left_out; /* what does not travel, once (carry_dump.c) */
	struct cost last;
	int calls; /* of srun by the script, since its first start */
	/* Of a step on several nodes: */
	int order; /* number of the last order, set.h */
	struct generation ordered; /* not the first node: as what it was to dump last */
	struct set_answer answer; /* not the first node: what it said last */
	bool all_run; /* restored on all nodes: there is no way back */
	bool others_fault; /* the last dump came to nothing by another node, which says
			    * so itself */
	bool told_lost; /* the first node has told that it cannot be */
	bool told_afresh; /* and that all start from the begin */
};

struct shape;

/* What a dump is for. */
struct order {
	bool end; /* the tree is gone afterwards */
	int64_t us; /* it is given up when it takes longer; 0: never */
	char reason[80];
	char request[40]; /* whose request it answers; "" nobody's */
	struct generation set; /* as what the first node has ordered it; number 0:
				* it is the first, or the only one */
	struct shape *shape; /* what the tree looks like is noted there; NULL */
};

/* ---- counters.c: for the node's metrics ---------------------------------- */

/* From here on what happens is counted there; the descriptor is taken. -1: it is not. */
void counters_open(int *fd);
/* taken: bytes that criu handed over. */
void count_checkpoint(const struct manifest *m, uint64_t taken);
/* Why it was to be made. */
void count_failure(const char *reason);
void count_restore(int64_t us);
void count_refusal(enum counted_refusal how);

/* A dump whose images are still being written while the program runs. */
struct saving;

/*
 * Dumps the tree. 0: with order->end it is published and the tree is gone;
 * without, the tree runs and *saving is what is still to be ended. -1: nothing
 * changed, the program goes on; *saving is then NULL, or a dump that was too
 * late and is being written all the same (saving_late).
 */
int step_dump(struct step *step, const struct order *order,
	      struct saving **saving, struct err *e);
/* Readable when saving_end() would not wait. */
int saving_fd(const struct saving *s);
/* Tells people how far it is. */
void saving_tell(const struct saving *s);
bool saving_late(const struct saving *s);
/* It is not needed any more. */
void saving_cancel(struct saving *s);
/* Waits for its end, and frees it. 0: published; -1: it was not. */
int saving_end(struct saving *s, struct err *e);

/* ---- own_criu.c ----------------------------------------------------------- */

/*
 * Waits while a criu that the program started itself is at work in the tree: for us µs at
 * the most; 0: for 3 s. -1: it is at work still.
 */
int own_criu_wait(pid_t root, int64_t us, struct err *e);
/* With the tree frozen: there is none. */
int own_criu_absent(pid_t root, struct err *e);
/*
 * Did the dump that has just failed meet a process that somebody else traced (by its log), who
 * is gone or is such a criu? blocked: something is found in the tree that is in the way.
 */
bool own_criu_met(pid_t root, bool blocked);

/* ---- deadline.c ---------------------------------------------------------- */

/* When it comes, the writer is cancelled. */
struct deadline {
	pthread_t thread;
	int over; /* eventfd, -1 when there is no deadline */
	int64_t at; /* ns */
	struct image_writer *writer;
	bool passed; /* atomic */
};

/* In us microseconds; 0 for none. The writer lives until deadline_end(). */
int deadline_begin(struct deadline *d, int64_t us, struct image_writer *writer,
		   struct err *e);
int64_t deadline_left(const struct deadline *d); /* ns, also after its end */
bool deadline_passed(const struct deadline *d);
void deadline_end(struct deadline *d);

/* ---- estimate.c ------------------------------------------------------------ */

/* Of a program's memory: of smaller dumps no speed is learned. */
#define ESTIMATE_LEAST (64 << 20)

struct estimate {
	int64_t due, interval; /* ns; due 0: never */
	double speed; /* bytes a second; 0 not known */
	bool told;
};

void estimate_begin(struct estimate *est, const struct step *step);
/* Milliseconds until the next look, for poll(2). */
int estimate_wait(const struct estimate *est);
/* After a dump. */
void estimate_learn(struct estimate *est, const struct cost *cost);
/* False: it was not time, or the program is not there. warning is what the user
 * is to be told, once, or "". */
bool estimate_look(struct estimate *est, const struct step *step,
		   int64_t *need_us, char *warning, size_t size);

/* ---- again.c: a job whose program has ended, and that is run again --------- */

/* Fills in what is remembered of the end in run `run`, but for the output. */
void end_note(struct ended *ended, int run, int status, const struct control *keep);
/* The program of a batch step has ended: remembers that, and all it has written.
 * keep: what the supervisor said. */
int end_keep(const struct step *step, int status, const struct control *keep,
	     struct err *e);
/* It had ended in an earlier run: what it wrote stands there again. *ended is what
 * is known of it. */
int end_again(const struct step *step, struct ended *ended, struct err *e);

/* Restores the newest generation that can be. Returns the root's PID; e says
 * then, too, what was wrong with newer ones ("" nothing). */
pid_t step_restore(struct step *step, struct err *e);

/* ---- note.c -------------------------------------------------------------- */

/* A line for people, by way of the supervisor: CONTROL_NOTE or CONTROL_EVENT. */
void step_tell(const struct step *step, enum control_kind kind, const char *fmt,
	       ...) __attribute__((format(printf, 3, 4)));

/* ---- calls.c ------------------------------------------------------------ */

/* The srun calls of a batch step's script. Where there is none, NULL is passed
 * to all of these. */
struct calls;
/* Before the script is started or restored. The step must outlive it. */
struct calls *calls_open(struct step *step, struct err *e);
/* Readable when srun is called; -1 none. */
int calls_fd(const struct calls *c);
void calls_take(struct calls *c);
/* A child has ended; true when it was one of these. */
bool calls_reap(struct calls *c, pid_t pid, int status);
/* The script is over, and is not done: of its steps that have no checkpoint nothing stays. */
void calls_leave_saved(const struct calls *c);
/* With the script ended: when the last of its steps ended that may have been told to,
 * seconds since 1970; 0 none. */
int64_t calls_touched(struct calls *c);
/* The script is to be dumped and to end: no srun is started any more, and once
 * every step is over or dumped, which calls_reap() leads to, this returns true. */
bool calls_stop(struct calls *c);
/* There is no more time to wait for them: those that are left soon count as dumped. */
void calls_leave(const struct calls *c);
/* It was not dumped. */
void calls_not_stopped(struct calls *c);
/* It was restored, and runs: so are its steps. */
void calls_restored(struct calls *c);
/* One of the script is being written while it runs. */
void calls_saving(struct calls *c, bool saving);
/* A checkpoint of the script was taken and older ones may be gone. */
void calls_published(struct calls *c);

/* call.c: is it a sckpt-srun? */
bool call_is_srun(pid_t pid);
/* What stands for its arguments and its directory: equal for equal calls. */
int call_command(pid_t pid, uint8_t command[IMAGE_SHA256], struct err *e);

/* ---- exchange.c --------------------------------------------------------- */

/* Open files of another job, which are to become this job's. */
struct exchange {
	char was[256]; /* path there */
	int fd; /* here */
};

struct exchanges {
	struct exchange list[EXCHANGES_MAX];
	int count;
};

/* Are both commands the batch script of a job, with the same arguments? */
bool exchange_same(const char *command, const char *other);
/* What must be exchanged to restore m in this step: nothing, when it is of the
 * same job. *x is to be closed in any case. */
int exchange_find(struct exchanges *x, struct image_reader *reader,
		  const struct manifest *m, const struct step *step,
		  struct err *e);
void exchange_close(struct exchanges *x);

#endif
