/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base: errors, files, text, settings and the words the other rooms share.
 *
 * Used inside slurmstepd and srun as well as in sckpt's own programs: nothing
 * here exits the process, installs a signal handler or keeps global state.
 *
 * Convention of every room: a function that can fail returns 0 (or a count)
 * on success and -1 on failure, with the reason in its last argument, a
 * struct err that the caller owns. The first cause stays; callers on the way
 * up only put context in front of it.
 */
#ifndef SCKPT_BASE_H
#define SCKPT_BASE_H

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* ---- errors (error.c) ------------------------------------------------- */

/* Fixed size, so that failing needs no memory. One sentence, text_plain(): it ends up
 * in slurmd's log and on root's terminal, and may quote what a user has chosen. */
struct err {
	char text[640];
};

/* Each replaces or extends e->text and returns -1; e may be NULL. */
int err_set(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* As err_set, followed by ": " and the text of errno. */
int err_sys(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Puts "fmt: " in front of what e already says. */
int err_context(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- time (clock.c) ----------------------------------------------------- */

/* A clock (clock_gettime(2)) in nanoseconds. */
int64_t clock_ns(clockid_t id);

/* ---- ownership (cleanup attributes keep errno) ------------------------ */

void cleanup_free_(void *p);
void cleanup_fd_(int *fd);
#define cleanup_free __attribute__((cleanup(cleanup_free_)))
#define cleanup_fd __attribute__((cleanup(cleanup_fd_)))

/* Closes it, if it is one; then it is -1. */
void close_fd(int *fd);

/* Hands the descriptor over: *fd becomes -1, so that its cleanup is void. */
static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* ---- files (file.c) --------------------------------------------------- */

/* Writes all of it or fails; restarts after signals and short writes. */
int file_write(int fd, const void *data, size_t size, struct err *e);

/*
 * Copies bytes [at, at + size) of file `from` to where file `to` stands, which
 * must not be in append mode: by sharing the blocks (FICLONE), within the file
 * system (copy_file_range), or through memory, whichever can be. Holes stay
 * holes, where both file systems have them.
 */
int file_copy(int from, int64_t at, int to, int64_t size, struct err *e);

/*
 * Reads a whole small file. *data is NUL-terminated, malloc'ed, the caller's.
 * A file larger than max bytes is an error. Returns its size in bytes. Below a
 * directory descriptor the name itself must be no symbolic link.
 */
ssize_t file_read(int dirfd, const char *name, size_t max, char **data,
		  struct err *e);

/*
 * Opens the directory `name` below dirfd, making it (mode 0700) if it is not
 * there. It must belong to the caller, be no symbolic link and be closed to
 * group and others: another user may have put one there first.
 * Returns a descriptor (O_DIRECTORY, close-on-exec). -1: errno is ENOENT when it is not
 * there, and only then.
 */
int dir_private(int dirfd, const char *name, bool make, struct err *e);

/* Removes name and all below it; never follows a symbolic link. A name that
 * is not there is no error. */
int tree_remove(int dirfd, const char *name, struct err *e);

/* ---- programs (run.c) ------------------------------------------------- */

/* posix_spawn of argv[0] (a path) with no signal ignored, and none blocked but
 * those of `blocked` (NULL: none): our callers block them to read them from a
 * signalfd. */
int run_spawn(char *const argv[], char *const envp[],
	      const posix_spawn_file_actions_t *files,
	      const sigset_t *blocked, pid_t *pid,
	      struct err *e);

/*
 * run_spawn of one that has nothing of our terminal, which is root's where `sckpt
 * --user` runs it as the user: no controlling terminal, stdin from /dev/null, stdout and
 * stderr (-1: dropped) as given.
 */
int run_apart(char *const argv[], char *const envp[], int out, int errors,
	      pid_t *pid, struct err *e);

/*
 * Runs argv[0] (a path) apart, with stdin from /dev/null, stdout collected into
 * *out (malloc'ed, NUL-terminated, at most max bytes, the caller's) and
 * stderr dropped. Fails when it cannot be started, writes more, takes
 * longer than timeout_ms, or does not exit 0. The environment is envp.
 */
int run_collect(char *const argv[], char *const envp[], int timeout_ms,
		size_t max, char **out, struct err *e);

/* ---- descriptors (pass.c) ------------------------------------------------ */

#define FDS_MAX 128 /* in one message; SCM_MAX_FD is 253 (net/scm.h) */

/* One packet with data of `size` bytes, and count descriptors, which stay the
 * caller's. */
int fds_send(int to, const void *data, size_t size, const int *fds, int count,
	     struct err *e);
/*
 * Takes one: 1, with *count (at most what it was) descriptors that are the
 * caller's, close-on-exec; 0 when all senders are gone; -1 also when timeout_ms
 * (-1: none) passed or it has another size.
 */
int fds_receive(int from, void *data, size_t size, int *fds, int *count,
		int timeout_ms, struct err *e);

/* ---- protobuf (protobuf.c) --------------------------------------------- */

/* A message, or what is left of it. */
struct pb {
	const uint8_t *at, *end;
};

enum pb_wire { PB_VARINT = 0, PB_EIGHT = 1, PB_BYTES = 2, PB_FOUR = 5 };

struct pb_field {
	uint32_t number;
	enum pb_wire wire;
	uint64_t value; /* of a varint; of anything else its size in bytes */
	const uint8_t *data; /* the bytes, in the message; NULL of a varint */
};

struct pb pb_of(const void *data, size_t size);
/* 1: the next field, 0: there is no more, -1: it is no message. */
int pb_next(struct pb *m, struct pb_field *f);
/* The next of several varints in a row, as a packed field has them. 1, 0 and -1 as pb_next. */
int pb_number(struct pb *numbers, uint64_t *v);
/* The field of that number; of several the last, as protobuf has it. */
bool pb_find(struct pb m, uint32_t number, struct pb_field *f);
/* The next of several messages with their size before each, as in criu's images
 * behind the magic words. 1, 0 and -1 as pb_next. */
int pb_message(struct pb *messages, struct pb *m);

/* ---- text (text.c) ---------------------------------------------------- */

/* The decimal number behind `key` ("\nThreads:", a line of /proc/PID/status), 0 without it. */
long long text_number(const char *text, const char *key);

/* The entry of a NULL-terminated list nearest to word by edit distance. */
const char *text_nearest(const char *word, const char *const list[]);

/* Replaces control characters, those of UTF-8 (C1) too, by "?"; returns text. */
char *text_plain(char *text);

/*
 * Expands %u user name, %U user id, %h home directory, %j job id, %c cluster
 * and %% in a directory template. Fails on any other letter, and on control
 * characters.
 */
struct text_vars {
	const char *user, *home, *cluster;
	uid_t uid;
	uint32_t job;
};
int text_expand(const char *template, const struct text_vars *vars, char *out,
		size_t size, struct err *e);

/* A path as it stands in a URL, for a file is opened by it and every byte counts: blanks,
 * what is not printable ASCII, and %, as %xx. malloc'ed, the caller's; NULL without
 * memory. */
char *text_escape(const char *path);
/* And back; NULL also when it is none. */
char *text_unescape(const char *text);

/* "4.1.1" -> 40101; missing parts are 0; -1 when it is no version. */
int version_parse(const char *text);
void version_print(int version, char out[16]);

/* "64M" -> bytes: a whole number and K, M, G or T (of 1024) or nothing. */
int size_parse(const char *text, uint64_t *bytes);
/* "1.5 GiB", for people. */
void size_print(uint64_t bytes, char out[16]);

/* "7d", "12h", "30m", "45s", "2w", or seconds. */
int span_parse(const char *text, long *seconds);
/* Microseconds as "12.0 ms", "1.20 s", "30 min 5 s", for people; "?" below 0. */
void span_print(int64_t us, char out[16]);

/* The oldest criu that dumps unprivileged on every machine (criu #2835). */
#define CRIU_VERSION_LEAST 31900

/* ---- slurmstepd's own lines (stepd.c) --------------------------------- */

/* The first line of slurmstepd's ("slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT …
 * ***") that begins in the text, maybe behind half a line of the program's; *words: behind the
 * stars. NULL: there is none. */
char *stepd_line(char *text, size_t size, char **words);

/* ---- --checkpoint=WORDS (request.c) ----------------------------------- */

enum grant {
	GRANT_UNSET,
	GRANT_STEP, /* the program has CAP_CHECKPOINT_RESTORE too */
	GRANT_AGENT, /* only sckpt's own agent has it */
	GRANT_NEVER /* nobody; in sckpt.conf alone */
};

/* What the broker may have criu do with more than CAP_CHECKPOINT_RESTORE (broker.h). */
enum elevate {
	ELEVATE_SECCOMP = 1, /* CAP_SYS_ADMIN: processes under seccomp */
	ELEVATE_TCP = 2, /* CAP_NET_ADMIN: TCP connections within the step */
	ELEVATE_PTRACE = 4 /* CAP_SYS_PTRACE: where Yama keeps processes from tracing */
};

#define EVERY_AUTO (-1)
#define KEEP_MAX 1000

/* What is zero or "" was not said. */
struct request {
	bool on; /* a checkpoint was asked for */
	bool required; /* fail the step rather than run it unprotected */
	bool timelimit; /* go on after the time limit */
	bool cancel; /* checkpoint on scancel, too */
	bool notify; /* mail when a checkpoint fails */
	bool skip_done; /* a script from its top: not steps that are done */
	bool check; /* rehearse a checkpoint and a restore soon after the start */
	int every; /* seconds between checkpoints, or EVERY_AUTO */
	int keep; /* generations */
	enum grant grant;
	char from[64]; /* restart=JOB.STEP:GENERATION, of another job */
	char from_dir[1024]; /* template of the store where that one lies */
	char dir[1024]; /* template of this step's store */
	char carry[1024]; /* directories that travel whole, templates, ":" between */
};

/*
 * Parses the comma-separated words of --checkpoint. NULL, "" and "(null)" are
 * what Slurm passes for an option without words (seen, 24.11). The result
 * replaces *req: the last --checkpoint counts. On error *req is unchanged.
 */
int request_parse(const char *words, struct request *req, struct err *e);
/*
 * Adds what the SCKPT_* variables say and the option does not; without the
 * option (!given) SCKPT_CHECKPOINT stands for it. lookup puts a variable's value
 * into `value`, or returns false. On error *req is unchanged.
 */
int request_environment(struct request *req, bool given,
			bool (*lookup)(const char *name, char *value,
				       size_t size, void *arg),
			void *arg, struct err *e);

/* ---- sckpt.conf and the words in plugstack.conf (conf.c) -------------- */

/* When no generation can be restored. */
enum on_failure {
	ON_FAILURE_HOLD, /* the job is held for its owner */
	ON_FAILURE_FRESH, /* the step starts afresh */
	ON_FAILURE_FAIL /* the step fails */
};

/* The files that the program writes, when it goes back to a checkpoint. */
enum files {
	FILES_CUT, /* what was appended since is cut off, and kept beside */
	FILES_COPY, /* and what is written in place travels with the images */
	FILES_LEAVE /* they are left as they are */
};

/* What a step's helpers are told (sckpt.conf(5)). */
struct limits {
	int keep; /* generations of a running step, at least 1 */
	int keep_after; /* of one that ended well */
	uint64_t quota; /* bytes of a user's store; 0: none */
	uint64_t buffer; /* bytes of memory for images under way */
	int compress; /* level of zstd; 0: none */
	int overhead; /* percent of its time a step may spend on checkpoints */
	int mtbf; /* mean time between failures of a node, s: for every=auto */
	int requeue_wait; /* of a job that was dumped and requeued, s; 0: Slurm's */
	enum on_failure on_failure;
	enum files files;
	uint64_t files_max; /* bytes of files that travel with one generation */
	char local[512]; /* directories that every node has for itself, ":" between */
};

/* May a user choose a directory? */
enum user_dir {
	USER_DIR_AUTO, /* where no quota is set */
	USER_DIR_YES,
	USER_DIR_NO
};

struct conf {
	char dir[1024]; /* template of the store, see text_expand */
	char criu[256]; /* path of criu */
	enum grant grant;
	bool no_new_privs; /* always, not only where the node needs it */
	int keep_max; /* generations that a user may ask for */
	enum user_dir user_dir;
	/* Names and numbers, "," between; "" everybody, everywhere. */
	char allow_users[1024], allow_groups[1024], allow_partitions[1024];
	int elevate; /* enum elevate */
	/* To whom, of those who may have the capability; "" all. */
	char elevate_groups[1024], elevate_accounts[1024], elevate_partitions[1024];
	char metrics_dir[1024]; /* of the node, for node_exporter; "" none */
	struct limits limits;
};

void conf_defaults(struct conf *conf);
/* One key=value. The result is cut into *conf only when it is valid. */
int conf_set(struct conf *conf, const char *assignment, struct err *e);
/* A whole file: a line each, # begins a comment. Errors name the line. A
 * file that is not there is no error and changes nothing. */
int conf_read(struct conf *conf, const char *path, struct err *e);
/* sckpt.conf, then the words behind sckpt.so in plugstack.conf, which win; of
 * those conf=FILE names another sckpt.conf. */
int conf_load(struct conf *conf, int count, char *const words[], struct err *e);
/*
 * The store of the user whom vars names: `base`, and `fixed`, what of it must
 * exist before. A template without user gets one: a directory for all would
 * be its first user's.
 */
int conf_store(const struct conf *conf, const struct text_vars *vars,
	       char *base, size_t base_size, char *fixed, size_t fixed_size,
	       struct err *e);
/* The store that a user asked for by dir=: the directory itself, whose parent
 * must exist. */
int conf_user_store(const char *template, const struct text_vars *vars,
		    char *base, size_t base_size, char *fixed,
		    size_t fixed_size, struct err *e);
/* The directory that must already exist for a template: what stands before
 * its first expansion, or the whole of it. */
void conf_dir_fixed(const char *template, char *out, size_t size);

/* ---- /proc/PID/mountinfo (mountinfo.c) ----------------------------------- */

#define MOUNTS_MOST 4096
/* Its strings are in the text, which is changed. */
struct mount_line {
	char *point, *type, *source;
	const char *options; /* of the file system, not of this mount of it */
};
/* Of the first `most` lines; returns how many. */
size_t mountinfo_parse(char *text, struct mount_line *lines, size_t most);
/* The mount that path is on; NULL: none. */
const struct mount_line *mount_of(const struct mount_line *lines, size_t count,
				  const char *path);

/* ---- what a node must have (node.c) ------------------------------------ */

/* Where slurmd and sackd keep what slurmctld gave them ("configless" Slurm). */
#define CONFIGLESS "/run/slurm/conf"

enum health { HEALTH_OK, HEALTH_WARN, HEALTH_FAIL };
/* what: a word, the text a sentence with what to do; false: no more is wanted. */
typedef bool node_tell(enum health how, const char *what, const char *text, void *arg);

/* All but criu, in turn. bounding: slurmd's capability bounding set, a bit each; elevate: of
 * sckpt.conf. false:
 * say did not want more. */
bool node_look(uint64_t bounding, int elevate, node_tell *say, void *arg);
/* Is it root's alone? If not that is said, and it must not be run. */
bool node_look_at_criu_file(const char *criu, struct stat *st, node_tell *say,
			    void *arg);
/* Runs it; its version, as version_parse(). */
int node_ask_criu(const char *criu, struct err *e);
bool node_look_at_criu(const char *criu, int version, node_tell *say, void *arg);

/* ---- what a step's helpers are told (spec.c) -------------------------- */

/* What a script's srun call is (step/earlier.h): digits, dots and hexadecimal. */
#define CALL_TEXT_MAX 63

/*
 * Everything that the plugin decided about one step, handed to supervisor
 * and agent as "key=value" arguments. They run as the job's user, who could
 * forge it: nothing in it gives a right.
 */
/* In the place of the agent's PID: there is none, for the step cannot be protected here
 * (spec.off). The supervisor only looks whether it would lose what was saved by
 * starting, cares for the job then, and exits with other than 0. */
#define SUPERVISE_LOOK 0
/* The same for the other tasks of such a step: without a word. */
#define SUPERVISE_PEEK (-1)

struct spec {
	char cluster[128];
	char node[256];
	char step[32]; /* its name in the store: "batch", the step's number, or
			* CALL_STEP with the number of the script's call */
	char id[32]; /* what Slurm calls it: "batch" or the step's number */
	uint32_t job;
	int restart; /* restart count of the job; -1 unknown */
	char base[1024]; /* store directory of this user, expanded */
	char fixed[1024]; /* what of it must exist before */
	char criu[256];
	int criu_version; /* as version_parse */
	enum grant grant;
	bool no_new_privs;
	bool append; /* Slurm appends to the output files */
	bool own_stderr; /* of an srun step: its srun's is another file than its
			  * standard output, or a terminal */
	char from[64]; /* another job's checkpoint to go on from; "" none */
	bool from_own; /* its own srun named it: meant is this step, whatever its number */
	char from_base[1024]; /* the store where that one lies; "": this one */
	char from_fixed[1024];
	struct limits limits;
	int every; /* seconds between checkpoints; EVERY_AUTO; 0: none */
	bool timelimit, cancel, notify, skip_done, check; /* see struct request */
	int kill_wait; /* Slurm's KillWait, s */
	char carry[1024]; /* directories that travel whole, ":" between; may begin with
			   * $TMPDIR, which the job knows */
	char note[400]; /* what the user is to be told of their wishes; "" */
	bool resume; /* the store holds something to restore */
	bool done; /* the program has ended in an earlier run: it is not run again */
	int tasks; /* of the step on this node */
	int nodes; /* of the step */
	int part; /* this node's place among them, from 0 */
	uint32_t launch; /* the same on all of them, and another when the step is
			  * launched again */
	uint32_t token; /* of a script's srun call: of the frames of what it says; 0 none */
	char call[CALL_TEXT_MAX + 1]; /* of a script's new srun call: what it is; "" not told */
	int place; /* of another step: stands for srun's directory and input; 0 not known */
	bool script_out, script_err; /* then: its output, its errors go through sckpt-srun, */
	bool labels; /* and its lines get labels (srun --label) */
	int control; /* descriptor of the control socket */
	int links; /* where the tasks of a step with several send their links to
		    * its supervisor, see tasks.h; else -1 */
	int joins; /* and where they join its agent */
	int elevate; /* what its broker may have criu do; 0: it has none */
	int broker; /* descriptor of the socket to it; -1 */
	int counters; /* descriptor of what the agent counts into (metrics.h); -1 */
	char off[320]; /* why the step is not protected; "" when it is */
};

#define TASKS_MAX 1024 /* of a step on one node */
#define NODES_MAX 65536 /* of a step */

#define SPEC_ARGS_MAX 64
/* Argument strings for spec in argv[0..n), NULL after the last; memory is
 * malloc'ed, spec_args_free() frees it. Returns n. */
int spec_args(const struct spec *spec, char *argv[SPEC_ARGS_MAX + 1],
	      struct err *e);
void spec_args_free(char *argv[]);
/* Reads arguments up to "--" or the end; returns how many it took. */
int spec_parse(int argc, char *const argv[], struct spec *spec, struct err *e);

/* ---- srun in a protected script (call.c) ------------------------------- */

/*
 * Where the agent of a batch step hears of every srun that its script calls:
 * a FIFO in the directory that only the step sees. In srun's place sckpt-srun
 * stands in the script's tree, and says here who it is.
 */
#define CALLS_FIFO SCKPT_RUN_DIR "/srun"

/* The steps of such calls are named by the call's number in the script, since
 * Slurm counts from 0 again in every run of the job. */
#define CALL_STEP "srun-"

/* --checkpoint-step=NAME[,token=HEX][,call=TEXT][,afresh], which sckpt-client gives to srun. */
struct call_step {
	char name[32]; /* CALL_STEP and a number; "" not given */
	bool afresh; /* what lies there may be of another command: then it is
		      * set aside, and the step starts afresh */
	uint32_t token; /* see struct spec */
	char call[CALL_TEXT_MAX + 1];
};
int call_step_parse(const char *text, struct call_step *step, struct err *e);
/* Is that the name of a step of a script's srun call? */
bool is_call_step(const char *step);
/* Is the directory's name `dir` that of the step `name`, or of what was set aside of it
 * (NAME.old.N)? */
bool step_is_of(const char *dir, const char *name);

/* What stands behind that one of srun's short options in arg, maybe with others before it (-lN2);
 * NULL: it is not in there. */
const char *srun_letter(const char *arg, char letter);

/* The next argument or variable of a block of /proc/PID/{cmdline,environ}. */
const char *block_next(const char *at, const char *end);
/* NULL-terminated pointers into such a block; malloc'ed, the caller's, NULL
 * without memory. The first `front` are left for the caller. */
char **block_list(char *block, size_t size, size_t front);

/* The number of the descriptor that sckpt-prepend takes a helper's arguments from: such a
 * block. */
#define PREPEND_VARIABLE "SPANK_SCKPT_PREPEND"

/* ---- packets between helpers --------------------------------------------- */

/*
 * Whether recv(2) of a SOCK_SEQPACKET socket, which gave n, is to be called again. Not only
 * for a signal: when the peer has closed it with packets unread the kernel says ECONNRESET
 * first, once (unix_release_sock(), net/unix/af_unix.c; __skb_try_recv_datagram(),
 * net/core/datagram.c), and what the peer had sent lies there still.
 */
static inline bool packet_again(ssize_t n)
{
	return n < 0 && (errno == EINTR || errno == ECONNRESET);
}

/* ---- supervisor and agent talk (control.c) ---------------------------- */

/*
 * One SOCK_SEQPACKET socket pair per step, made by the plugin. First the
 * supervisor tells the plugin's child (which becomes the agent) its verdict;
 * later it sends orders to the agent and the agent answers.
 */
enum control_kind {
	CONTROL_VERDICT = 1, /* supervisor: may the step be protected, see below */
	CONTROL_STOP, /* supervisor: dump, and with `value` end; `text`: why */
	CONTROL_SIGNAL, /* supervisor: pass signal `value` to task `task`; a task of
			 * several to its supervisor: Slurm has sent it that */
	CONTROL_ENDED, /* agent: the program ended, `value` is its wait status; of
			* several tasks: they all have; supervisor to a task: it has */
	CONTROL_TASK_ENDED, /* agent: of several tasks `task` has ended so */
	CONTROL_SAVED, /* agent: dumped, and durable; `text` "end": it is gone, and `value` is
			* the generation */
	CONTROL_REFUSED, /* agent: no dump, `text` says why; it goes on */
	CONTROL_SUPERSEDED, /* agent: the job goes on on `node`, and this run is over, as `text` says */
	CONTROL_LOST, /* agent: nothing could be restored, `text` says why; `value`
		       * is 1 when it may be possible on another node than `node`,
		       * -1: the step's first node cares for all */
	CONTROL_NOTE, /* agent: it goes on, and `text` is worth telling */
	CONTROL_KEEP, /* supervisor, to ENDED: `value`, an enum ending of policy.h,
		       * is what is to be remembered of it */
	CONTROL_FOLLOW, /* supervisor, not of the step's first node: to do what that
			 * one says, for Slurm has sent signal `value` */
	CONTROL_PASS, /* agent, to FOLLOW: the signal is the program's, if `value` is 0; the
		       * first node's supervisor: SIGTERM is on all nodes */
	CONTROL_WAKE, /* agent of the first node: the others are to look at what it says */
	CONTROL_EVENT, /* agent: a checkpoint or a restore, in words; `value` is
			* the generation */
	CONTROL_SIZE /* agent: how long a dump would take now; `text`: that it
		      * does not fit into KillWait, or "" */
};

struct control {
	enum control_kind kind;
	int32_t value; /* VERDICT: 1 protected, 0 not, -1 it must not start */
	int32_t task; /* its number on this node; SIGNAL: -1 all */
	/* VERDICT: 1 when there is something to restore; then the clocks that
	 * the program last saw, in ns */
	int32_t resume;
	int32_t run; /* VERDICT: the job's restart count */
	/* VERDICT: 1 when the program has ended before; ENDED: 1 when KEEP is waited
	 * for; SIGNAL: 1 when it is a stop's, and there is no checkpoint of that */
	int32_t done;
	int32_t batch_flag; /* KEEP: Slurm's of the job; -1 unknown */
	/* ENDED: when the script's last step ended that may have been told to, in
	 * seconds since 1970; 0 none */
	int64_t touched;
	int64_t monotonic, boottime;
	/* Microseconds. STOP, FOLLOW: the dump is given up after so long, 0 never; SAVED:
	 * it took so long; SIZE: it would. */
	int64_t us;
	char request[40]; /* STOP: id of the request it answers, or "" */
	char node[256]; /* LOST, SUPERSEDED */
	char text[640];
};

/* What a task of several sends the step's supervisor with its link. */
struct link_message {
	int32_t task;
};

/* A store that hangs must not keep a job from starting that was never stopped. */
#define VERDICT_TIMEOUT_MS 10000
/* Of a step on several nodes the others wait for the first one, whose TaskProlog and
 * mounts may take their time. */
static inline int verdict_timeout_ms(const struct spec *spec)
{
	return spec->part ? 6 * VERDICT_TIMEOUT_MS : VERDICT_TIMEOUT_MS;
}

int control_send(int fd, const struct control *msg, struct err *e);
/* Returns 1 on a message, 0 when the peer is gone or timeout_ms (-1: none)
 * passed (then msg->kind is 0), -1 on error. */
int control_receive(int fd, struct control *msg, int timeout_ms,
		    struct err *e);

#endif
