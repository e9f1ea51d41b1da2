/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store: where a step's checkpoints live (doc/store-format.md).
 *
 *   <base>/<cluster>/<job>/<step>/<generation>-<run>.json …
 *
 * <base> belongs to the job's user, mode 0700, as everything below it. A
 * generation is there when its manifest, <generation>-<run>.json, is; before
 * that its files are only left-overs. <run> is the job's restart count when it
 * was made: who has claimed a later run fences off what earlier ones publish
 * from then on.
 */
#ifndef SCKPT_STORE_H
#define SCKPT_STORE_H

#include <limits.h>
#include <sys/stat.h>

#include "sckpt/base.h"
#include "sckpt/image.h"

struct store {
	int dir; /* the step's directory */
	char path[1400]; /* for messages */
};

/*
 * Opens the step's directory. With make, it and all above it down from
 * spec->fixed, which must exist, are made and proven writable. Without, a
 * step that has no directory is not an error: returns 1, and 0 when open.
 */
int store_open(const struct spec *spec, bool make, struct store *store,
	       struct err *e);
void store_close(struct store *store);
/* A step's directory by its path, for people's commands. */
int store_open_path(const char *path, struct store *store, struct err *e);

/*
 * Calls visit for every step's directory below the user's base, in no order,
 * those that were set aside too, until it returns other than 0, and returns
 * that. *step is *spec with cluster, job and step filled in.
 */
int store_each(const struct spec *spec,
	       int (*visit)(const struct spec *step, void *arg), void *arg,
	       struct err *e);

/* The same for the logs of steps that have no directory any more (events.c). */
int store_each_log(const struct spec *spec,
		   int (*visit)(const struct spec *step, void *arg), void *arg,
		   struct err *e);

/* Is there anything at all in it? 1, 0, or -1. */
int store_used(const struct store *store, struct err *e);

/* Sets everything of the step aside as <step>.old.<n>: a fresh job never
 * takes up what lies there, and nothing is lost by that. */
int store_set_aside(const struct spec *spec, struct err *e);

/* Removes the step's directory, and the job's if that is empty then. */
int store_forget(const struct spec *spec, struct err *e);

/* Removes those of the job's steps whose names are `prefix` and a number. */
int store_forget_steps(const struct spec *spec, const char *prefix,
		       struct err *e);

/* The numbers of these, in no order; malloc'ed, the caller's, also with -1. Returns how many. */
int store_steps(const struct spec *spec, const char *prefix, int **numbers, struct err *e);

/* Bytes on disk of everything below the user's base. */
int store_size(const struct spec *spec, uint64_t *bytes, struct err *e);
/*
 * Before a dump: refuses in words when the user's quota is used up, or when
 * the file system has less room than the dump will need at the least.
 * *limit: bytes it may add, 0 for no limit.
 */
int store_room(const struct spec *spec, const struct store *store,
	       uint64_t least, uint64_t *limit, struct err *e);

/* ---- who may go on from it (claim.c) ----------------------------------- */

/*
 * Run number `run` takes the step over: exactly one claimant has it, and from
 * then on nothing that an earlier run publishes counts. Returns 1, and e names
 * the claimant, when this run or a later one has been claimed already; -1 when
 * the store failed.
 */
int store_claim(const struct store *store, int run, const char *node,
		struct err *e);
/* 1: a run after `run` has been claimed; *node (may be NULL) is by whom. */
int store_superseded(const struct store *store, int run, char node[256],
		     struct err *e);
/* The same, and e says so. */
int store_fenced(const struct store *store, int run, char node[256], struct err *e);

/*
 * May run `run` still save? 0; 1, and e says so: not since a later one has been claimed; -1: it
 * cannot be told. Asked before anything of a dump is written: a run that was only thought dead
 * must leave alone what the later one has taken over.
 */
int store_may_save(const struct store *store, int run, struct err *e);

/* With everything in place for the program of run `run` to run: from now on it
 * may have written. */
int store_mark_ran(const struct store *store, int run, struct err *e);
/* Was that said of a run between these two? 1, 0, -1. */
int store_ran_between(const struct store *store, int after, int before,
		      struct err *e);

/* ---- generations (generation.c) ----------------------------------------- */

struct generation {
	int number, run;
};

/* ---- steps on several nodes (parts.c) -------------------------------------- */

/*
 * The first node has the step's directory, node k of them "node.<k>" in that, each with
 * its claims, logs and generations. Those of one number and run are a set, which is one
 * generation of the step, and counts when all of them are there. The first node's
 * supervisor and agent decide what all do, and say so in the step's directory; the
 * others answer in their own. Who can write there is the job's user.
 */

/* How many nodes the step's generations are of; 1 where nothing is noted; -1 and errno
 * when it cannot be told. */
int store_nodes(const struct store *store);
int store_note_nodes(const struct store *store, int nodes, struct err *e);
/* Opens the directory of node `part`; 0: the step's own. -1: errno is ENOENT when it is not
 * there. */
int part_open(const struct store *store, int part, bool make, struct store *at,
	      struct err *e);

enum set_word {
	SET_START = 1, /* this run begins the step; `resume`: from `generation`, or an
			* older one */
	SET_UNPROTECTED, /* it is not protected */
	SET_RESTORE, /* all restore `generation`, and wait before the program runs */
	SET_RUN, /* all have: it runs */
	SET_AFRESH, /* none could be restored: all start from the begin */
	SET_LOST, /* none could be, and the step does not start */
	/* Those from here on are of a step that runs. */
	SET_DUMP, /* all dump, as `generation` */
	SET_WHOLE, /* all have: it counts */
	SET_FAILED, /* not all have: it does not */
	SET_PASS, /* SIGTERM is the program's */
	SET_ASK, /* is the node there? */
	SET_OVER /* the programs have ended on all nodes, or will not be saved again;
		  * `generation`: the last that all have */
};

/* What the first node has said last. */
struct set_order {
	uint32_t launch; /* of the step, as in struct spec */
	int run, number; /* of the job; of the order in that run, from 1 */
	enum set_word word;
	struct generation generation;
	bool resume, end; /* DUMP: the step ends with it */
	char reason[80], request[40]; /* DUMP: as in struct order */
	char text[640]; /* why */
	int64_t age; /* not stored: how long ago, in ns, by the file server's clock */
};

/* What a node has said last. */
struct set_answer {
	int run, number; /* of the order */
	enum { SET_BEGUN = 1, SET_DONE, SET_REFUSED } state;
	bool elsewhere; /* REFUSED: another node may have what this one has not */
	bool over; /* its programs have ended */
	int status; /* then */
	int64_t resident, stored; /* DONE: of its part of a set */
	char node[256];
	char text[640]; /* REFUSED: why */
};

/* In the step's directory, and in the node's own. */
int set_order_write(const struct store *store, const struct set_order *o,
		    struct err *e);
int set_answer_write(const struct store *part, const struct set_answer *a,
		     struct err *e);
/* By names, as of this moment on a network file system too. 1, 0 there is none (of this
 * launch), -1. */
int set_order_read(const struct spec *spec, struct set_order *o, struct err *e);
int set_answer_read(const struct store *store, int part, struct set_answer *a,
		    struct err *e);
/* Has that node claimed the run? Else it is not protected, or not there yet. Yes, too,
 * when it cannot be told. */
bool part_claimed(const struct store *store, int part, int run);
/* Is node part's there? 1, 0, or -1. */
int set_has(const struct store *store, int part, struct generation g, struct err *e);

#define GENERATION_NAME_MAX 31
/* "<number>-<run>": how its files' names begin. */
void generation_name(struct generation g, char name[GENERATION_NAME_MAX + 1]);

/* All complete ones that count, newest first; malloc'ed, the caller's.
 * Returns how many. */
int store_generations(const struct store *store, struct generation **list,
		      struct err *e);
/* Has the step any? 1; 0; -1: that cannot be told. */
int step_is_saved(const struct spec *step, struct err *e);
/* The same of this directory alone: parts of sets that are not complete, too. */
int store_published(const struct store *store, struct generation **list,
		    struct err *e);
/* The number for the next one: no file has it yet. Also removes what dead
 * writers of this run and earlier ones left unfinished. */
int store_next(const struct store *store, int run, struct err *e);

#define MANIFEST_FORMAT 5
#define TASK_STREAMS 3 /* standard descriptors of each task */
#define MANIFEST_PROCESSES_MAX 4096
#define MANIFEST_FILES_MAX 4096
#define MANIFEST_NEEDS_MAX 4096
#define BUILD_ID_MAX (2 * 32 + 1)
#define CPU_FLAGS_MAX 2048
#define MANIFEST_MOUNTS_MAX 64
#define GROUPS_MAX 1024

/* A standard descriptor of a task, as it was at the dump. */
struct manifest_stream {
	char key[80]; /* criu's name for it: pipe:[N], file[mnt:ino]; "" none */
	int64_t position; /* bytes of input already read */
	int output; /* number of the output log that belongs to it; -1 none */
	int64_t length; /* bytes of that log that are the program's past */
};

/* One of the program's processes; for people. */
struct manifest_process {
	int pid, parent; /* in the step's namespace */
	int64_t resident; /* bytes */
	char name[16 + 1];
	char *command; /* its words, joined; malloc'ed or NULL */
	char *files; /* paths of open files, one a line; malloc'ed or NULL */
};

/*
 * A regular file that the program has open for writing, as it was at the dump;
 * or one that it has open at all, on a file system that only its node has; or,
 * there, a directory that one of those is in.
 */
struct manifest_file {
	char *path; /* malloc'ed */
	uint64_t inode;
	int64_t size, mtime_ns;
	int mode; /* permission bits; of what is a name alone its type, too */
	int name_of; /* one more name of the file of that number, from 1; 0: it is none */
	bool times_lie; /* it can be written to and keep its time, see files.c */
	bool local; /* only its node has it: it travels with the images */
	int stream; /* of `streams`, the output that it is; 0 none */
	bool appended; /* written at its end alone; else anywhere */
	bool append_mode; /* and by O_APPEND: not by where it stood only */
	bool shared; /* somebody else was seen to write to it, too */
	int64_t digested; /* bytes before `size` that sha256 is of; 0 unknown */
	uint8_t sha256[IMAGE_SHA256];
	/* The file of the store that holds its content; "" none */
	char copy[IMAGE_FILE_MAX + 1];
};

/* A directory, a named pipe, one more name of a file: nothing else is here of it. */
static inline bool manifest_is_name(const struct manifest_file *f)
{
	return (f->mode & S_IFMT) != 0;
}

/* Images that are not criu's: directories that were carried along whole (step/carry.h),
 * their list, and the content of their files. */
#define CARRY_LIST "sckpt-carry"
#define CARRY_PAGES "pages-sckpt-carry"

/* A file that the program has mapped and that every node has: a library, say. */
struct manifest_need {
	char *path; /* malloc'ed */
	char build_id[BUILD_ID_MAX]; /* hexadecimal (ELF, NT_GNU_BUILD_ID); "" none */
};

/* A file system that the program had something open on, or a directory of its own. */
struct manifest_mount {
	char *point; /* where it was mounted; malloc'ed */
	char *path; /* something of the program's that was on it; malloc'ed */
	char type[32], source[256]; /* proc_pid_mountinfo(5), printable */
};

/* What a task had said to Slurm's PMI, which a new slurmstepd does not know. */
#define MANIFEST_PMI_KEY 40
#define MANIFEST_REQUESTS_MAX 4096

struct manifest_request {
	char *text; /* malloc'ed */
	size_t size;
};

struct manifest_pmi {
	int task;
	char key[MANIFEST_PMI_KEY]; /* criu's name of its socket: socket:[N] */
	bool waits; /* for the answer to the last request */
	struct manifest_request *said; /* in this order */
	size_t count;
};

struct manifest {
	char cluster[128], step[32], node[256], kernel[80];
	uint32_t job;
	uid_t uid;
	int generation;
	int nodes, part; /* of a step on several nodes: how many, and which of them
			  * this is of; else 0 */
	int run; /* restart count of the job when it was dumped */
	int parent; /* generation whose packs it leans on; 0 none */
	int criu_version;
	int root; /* PID of the dumped root */
	int calls; /* of srun by the script so far */
	int place; /* as in struct spec */
	int64_t time; /* of the dump, seconds since 1970 */
	int64_t monotonic, boottime; /* the program's clocks, ns */
	int64_t resident; /* bytes resident at the dump */
	int64_t frozen_us; /* the program stood still, as long as it is known */
	int64_t dump_us; /* criu's start to all images durable */
	char reason[80]; /* why it was made */
	char command[256];
	struct manifest_stream *streams; /* of task 0, then of task 1, and so on */
	size_t stream_count; /* TASK_STREAMS for each task */
	struct manifest_pmi *pmi; /* of the tasks that have such a socket */
	size_t pmi_count;
	struct manifest_process *processes;
	size_t process_count;
	bool ended; /* the program was gone when this was complete; of a part of a set
		     * only a loaded one tells */
	uint32_t origin; /* job that it was adopted from; 0 its own */
	struct manifest_file *files;
	size_t file_count;
	struct manifest_need *needs;
	size_t need_count;
	char cpu[CPU_FLAGS_MAX]; /* instructions of its processor, with blanks between */
	/* Not in what older builds wrote: 0, "" and none mean that it is not known. */
	int64_t memory; /* bytes that the step had in use, without page cache */
	int threads, highest_pid; /* of all processes; highest PID or thread ID */
	char groups[GROUPS_MAX]; /* supplementary ones, as in /proc/PID/status */
	struct manifest_mount *mounts;
	size_t mount_count;
	struct image_set set;
};

void manifest_free(struct manifest *m);
/* Streams that are closed, for so many tasks. */
int manifest_add_streams(struct manifest *m, size_t tasks, struct err *e);

/* Its text as JSON (malloc'ed, the caller's), and back. */
char *manifest_text(const struct manifest *m, struct err *e);
int manifest_parse(const char *text, struct manifest *m, struct err *e);

/*
 * Seals m and gives the generation its name, durably. All files that it names
 * are durable already. Fails when a later run has been claimed.
 */
int generation_publish(const struct store *store, const struct manifest *m,
		       struct err *e);
/*
 * Reads a generation's manifest and checks the seal: it was made by `uid` and
 * nobody else, and has not been changed. The manifest must be of the step
 * that spec names (NULL: of any). The caller frees it with manifest_free().
 */
int generation_load(const struct store *store, struct generation g, uid_t uid,
		    const struct spec *spec, struct manifest *m,
		    struct err *e);
/*
 * Makes generation g of another step, the same user's and sealed by them, the
 * generation of the same number of `to`, the step that spec names, as made by
 * its run `run`. Its files are linked, or copied where that cannot be.
 */
int generation_adopt(const struct store *from, struct generation g,
		     const struct store *to, const struct spec *spec, int run,
		     struct err *e);
/*
 * Puts the content of a file that the program has open into the store, as file
 * number n of generation g: linked, when the parent has it already (`same`, or
 * NULL), or copied. *name is what it is called there.
 */
int generation_take_file(const struct store *store, struct generation g,
			 size_t n, int fd, int64_t size, const char *same,
			 char name[IMAGE_FILE_MAX + 1], struct err *e);
/* Is an open copy of f what it was? */
int file_check(int fd, const struct manifest_file *f, struct err *e);
/* Takes those files away again: m is not published. */
void generation_drop_files(const struct store *store, const struct manifest *m);
/* Of a part of a set, which was published before that was known: the program is gone,
 * and has written nothing after it. Failing to say so is safe. */
void generation_mark_ended(const struct store *store, struct generation g);
/* A published one is not there any more; its other files are the caller's. */
int generation_withdraw(const struct store *store, struct generation g,
			struct err *e);
/* Adds to m, of the first node, what the other nodes' parts of the set are. */
int set_sum(const struct store *store, struct generation g, struct manifest *m,
	    struct err *e);
/* Its manifest only, unchecked: for lists. */
int generation_peek(const struct store *store, struct generation g,
		    struct manifest *m, struct err *e);

/* ---- seals (seal.c) --------------------------------------------------------- */

/*
 * A seal is a MUNGE credential whose payload is the SHA-256 of a text: munged,
 * with the cluster's key, vouches for the user id that asked for it.
 */
/* malloc'ed, the caller's; NULL on error. */
char *seal_make(const char *text, size_t size, struct err *e);
/* Was the text sealed, as it is, by uid? */
int seal_check(const char *seal, const char *text, size_t size, uid_t uid,
	       struct err *e);
/* Is munged here, and does it vouch for what this user seals? */
int store_seal_works(struct err *e);

/* ---- how fast it is (speed.c) --------------------------------------------- */

/* Bytes of a program's memory a second, as the last large dump of this user's
 * was; 0 when it is not known. */
double store_speed(const struct store *store);
void store_speed_note(const struct store *store, double speed);

/* ---- keeping and removing (retain.c) ------------------------------------- */

/*
 * Keeps the newest `keep` generations made by run `run`, counting `restored`
 * (what that run went on from; NULL none), and removes older ones once there
 * are as many.
 */
int store_retain(const struct store *store, int keep, int run,
		 const struct generation *restored, struct err *e);
/* With no set under way: removes the first node's parts of sets that are not
 * complete. */
int store_retain_parts(const struct store *store, struct err *e);
/* Another node's directory: removes parts of sets that the first node has not (any
 * more). */
int part_retain(const struct store *store, const struct store *first,
		struct err *e);
/* Removes a generation, and the packs that only it used. A crash in between
 * leaves packs that nobody uses, which the next removal takes. */
int generation_remove(const struct store *store, struct generation g,
		      struct err *e);
/* Removes packs and meta files that no generation up to the newest uses. */
int store_sweep(const struct store *store, struct err *e);

/* When it was last of use: made, brought here, named as what a new job goes on from, or its
 * step's directory changed; seconds since 1970, 0 unknown. */
int64_t generation_used(const struct store *store, struct generation g);
/* From now on it was of use this moment. */
void generation_touch(const struct store *store, struct generation g);

/* ---- jobs that are to go on from a step (wanted.c) -------------------------- */

/* That new job will go on from it, and nothing of it may be removed before. */
int wanted_add(const struct store *store, uint32_t job, struct err *e);
/* Such a job that active() says may still begin; 0 none. */
uint32_t wanted_by(const struct store *store, bool (*active)(uint32_t job, void *arg), void *arg);
/* Forgets those that will not, an hour after they were added. */
void wanted_sweep(const struct store *store, bool (*active)(uint32_t job, void *arg), void *arg);

/* ---- requests and answers (status.c) --------------------------------------- */

/*
 * What a step is doing, for people's commands. Never trusted for anything:
 * written without fsync, readable by the user alone.
 */
enum status_kind {
	STATUS_RUNNING = 1,
	STATUS_FREEZING, /* criu copies the program's memory */
	STATUS_WRITING, /* it runs on, or is gone; the rest is being written */
	STATUS_SAVED,
	STATUS_REFUSED,
	/* Of the steps of a script's srun calls, whose directories their script's
	 * agent removes: */
	STATUS_STOPPED, /* the step is over, its program is not: it was dumped,
			 * or made to end with the job */
	STATUS_ENDED, /* the program has ended */

	STATUS_CHECKED /* a rehearsal is over, check_get() has what it found; `text`:
			* why there was none, or "" */
};

struct status {
	enum status_kind kind;
	char request[40]; /* id of the request it answers; "" none */
	struct generation generation; /* SAVED: which; RUNNING: restored from */
	uint64_t done, total; /* bytes, FREEZING and WRITING; a guess */
	int64_t restore_us; /* RUNNING after a restore; else 0 */
	int ended; /* ENDED: wait status */
	int64_t time;
	char text[640]; /* REFUSED: why; ENDED: that it was told to, or "" */
};

/* Failing to tell is no failure of what is told. */
void status_write(const struct store *store, const struct status *s);
/* 1, 0 when there is none, -1. */
int status_read(const struct store *store, struct status *s, struct err *e);

/* Nothing is known of what is to begin. */
void status_clear(const struct store *store);

/* What Slurm calls the step now, for those whose directory is named otherwise
 * (struct spec's id). Returns 0, or -1 when nothing is noted. */
#define STORE_SLURM_ID "slurm-id"
int slurm_id_write(const struct store *store, const char *id, struct err *e);
int slurm_id_read(const struct store *store, char id[32]);

/* Which of its script's srun calls the step is of (struct spec's call). "" when nothing is
 * noted. */
#define STORE_CALL "call"
int call_text_write(const struct store *store, const char *text, struct err *e);
void call_text_read(const struct store *store, char text[CALL_TEXT_MAX + 1]);

/* How the request for a rehearsal begins; it alone is the word check's own. */
#define CHECK_REQUEST "check:"
/* What the last one found: a line "node " and its name, then lines that begin with
 * "ok ", "blocks " or "note ". Of several nodes each has its own. */
#define CHECK_MAX 65536
int check_put(const struct store *store, const char *text, struct err *e);
/* *text is malloc'ed, the caller's. */
int check_get(const struct store *store, char **text, struct err *e);

/* A request for a checkpoint lies in the store until the step takes it. */
int request_put(const struct store *store, const char *id, struct err *e);
/* Takes it away; 1 and its id, 0 when there is none, -1 when there is one that
 * cannot be taken. */
int request_take(const struct store *store, char id[40], struct err *e);

/* ---- programs that have ended (ended.c) ------------------------------------ */

/*
 * How the program of a batch step ended, and all that it had written, for the case
 * that the job is started once more though nobody wants that. Beside the jobs'
 * directories: these are gone when a job has ended well.
 */
struct ended {
	int run; /* whose program it was */
	int status; /* wait status */
	bool requeued; /* the job had been put back by then */
	int batch_flag; /* Slurm's BatchFlag then; -1 unknown */
	int64_t time; /* seconds since 1970 */
	/* Bytes of what it wrote to stream i; -1: Slurm leaves that alone. */
	int64_t length[TASK_STREAMS];
};

/* Keeps output log i of a step beyond its directory. */
int ended_keep_output(const struct spec *spec, const struct store *from, int i,
		      struct err *e);
/* Durably; after the output. */
int ended_write(const struct spec *spec, const struct ended *ended,
		struct err *e);
/* 1, 0 when there is none, -1. */
int ended_read(const struct spec *spec, struct ended *ended, struct err *e);
/* A descriptor of what was kept of stream i. */
int ended_output(const struct spec *spec, int i, struct err *e);
int ended_drop(const struct spec *spec, struct err *e);
/* Jobs that are queued or run. */
struct ended_jobs {
	const uint32_t *list;
	size_t count;
};
/*
 * Removes those of the user's that were written longer ago than that, in seconds, and
 * whose jobs will not run again. Which may is asked once, when there are such; false:
 * it is not known, and nothing is removed.
 */
int ended_sweep(const struct spec *spec, int64_t older,
		bool (*ask)(struct ended_jobs *jobs, void *arg), void *arg,
		struct err *e);

/* ---- steps that are done (done.c) ------------------------------------------ */

/*
 * A step of a protected script that ended well, for when the script starts again
 * from its top (--checkpoint=steps=skip-done): which srun call it was, and what
 * went through its srun. Beside the jobs' directories, as above.
 */
struct done {
	int record; /* its number among the job's, from 1 */
	int call; /* of srun by the script; in the run that had it last */
	uint8_t command[IMAGE_SHA256]; /* of how srun was called */
	/* Bytes of input that it read, and that it wrote to output and errors. */
	int64_t length[TASK_STREAMS];
	bool had; /* not stored: the script has come to it in this run */
};

/* Durably; after the streams. */
int done_write(const struct spec *spec, const struct done *done, struct err *e);
/* All of the job's, by their numbers; malloc'ed, the caller's. Returns how many. */
int done_list(const struct spec *spec, struct done **list, struct err *e);
/* What went to stream 1 or 2 of a record: a descriptor of an empty file to write it
 * to (`make`), or to read it. */
int done_stream(const struct spec *spec, int record, int stream, bool make,
		struct err *e);
/* None is done any more. */
int done_drop(const struct spec *spec, struct err *e);

/* ---- what happened to a step (events.c) ------------------------------------ */

/*
 * For people, and trusted for nothing: who may write to the store may write
 * anything there.
 */
enum event_kind {
	EVENT_BEGIN = 1, /* a run of the job begins the step */
	EVENT_RESTORE, /* its program goes on from a generation */
	EVENT_CHECKPOINT, /* one is in the store */
	EVENT_REFUSED, /* one could not be taken */
	EVENT_REQUEUED, /* when Slurm put the job back into the queue before this
			 * run: the run before had ended by then */
	EVENT_END /* the program has ended */
};

struct event {
	enum event_kind kind;
	int64_t time_us; /* since 1970 */
	int run;
	char node[256];
	/* BEGIN: nothing is there to go on from, or nothing of it is used; the
	 * job's name, "" or JOB_TASK, and in text the command */
	bool fresh;
	char name[128], array[32];
	/* CHECKPOINT: which, when the program stood still, why (text), whether
	 * it was gone with it, criu's start to durable, how long it stood still
	 * (-1 unknown), its memory and what was added to the store; of how many
	 * us, frozen_us and stored are sums.
	 * RESTORE: from which, when that was taken, and how long it took */
	struct generation generation;
	int64_t at_us, us, frozen_us, resident, stored;
	bool end;
	int count;
	uint32_t origin; /* RESTORE: the generation is of that job; 0 this one */
	int status; /* END: wait status */
	char text[640]; /* REFUSED: why */
};

/* A line, with its newline (malloc'ed, the caller's; NULL without memory), and
 * back: -1 when it is none. */
char *event_text(const struct event *ev);
int event_parse(const char *line, struct event *ev);
/* The same as an object of json-c. */
struct json_object *event_json(const struct event *ev);

/* Adds one to the step's log, in one write. Failing to tell is no failure. A
 * durable one waits for the disk, and keeps the log within its size. */
void event_add(const struct store *store, const struct event *ev, bool durable);
/* All of a step, oldest first; malloc'ed, the caller's. Returns how many: 0
 * also when there is no log. */
int events_load(const struct spec *spec, struct event **list, struct err *e);

/* The step's directory will be removed, and its log is kept, if it tells of any
 * checkpoint; of so kept ones the oldest go when there are too many. */
void events_retire(const struct spec *spec);
/* Removes one that was kept. */
void events_forget(const struct spec *spec);

/* ---- how a batch job was submitted (origin.c) ------------------------------ */

/*
 * For sckpt restart: the script, as file `script`, and what of the environment
 * tells the job's resources, as submit.json. Kept once; not part of any
 * generation.
 */
#define ORIGIN_SCRIPT "script"
#define ORIGIN_START "SLURM_JOB_START_TIME"
#define ORIGIN_END "SLURM_JOB_END_TIME"
bool origin_kept(const struct store *store);
/* start, end: s since 1970, for what envp does not tell; 0 unknown. */
void origin_keep(const struct store *store, const char *script,
		 char *const envp[], int64_t start, int64_t end);
/* The value of one of the variables, malloc'ed; NULL when it is not there. */
char *origin_variable(const struct store *store, const char *name);

/* ---- output that Slurm will truncate (output.c) ----------------------- */

/*
 * Requeue truncates a job's output files. So what the program wrote is kept
 * in the store, each stream in an append-only log `output.<n>`; a generation
 * only notes how long the log was.
 */
int output_open(const struct store *store, int number, bool make,
		struct err *e);
/* An empty one. One that was there is left to whom has it open. */
int output_open_new(const struct store *store, int number, struct err *e);
/*
 * Appends bytes [from, end) of file fd to the log, less the lines that
 * slurmstepd put between them ("*** JOB 7 ON n1 CANCELLED AT … ***"): an
 * uninterrupted run would not have them. Returns the bytes taken from fd.
 */
int64_t output_copy(int log, int fd, int64_t from, uint32_t job,
		    struct err *e);
/* Takes slurmstepd's lines out of buf; returns what is left of size. */
size_t output_strip(char *buf, size_t size, uint32_t job);
/* Are the first length bytes of the log there? -1: they are not. */
int output_whole(int log, int64_t length, struct err *e);
/* Cuts off what is behind the first length bytes of the log, which must be there. */
int output_cut(int log, int64_t length, struct err *e);
/*
 * The first length bytes, which must be there, become the log of run `run`, which goes on from
 * generation `from`, in a file of its own: a run that was only thought dead writes and cuts
 * what nobody reads any more. *log becomes that one's descriptor; where there is no room for a
 * second one it is only cut.
 */
int output_take_over(const struct store *store, int number, int from, int run,
		     int64_t length, int *log, struct err *e);
/* Writes the first length bytes of the log to fd. */
int output_replay(int log, int64_t length, int fd, struct err *e);

#endif
