/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * criu: how criu is run. By the agent, as the user with CAP_CHECKPOINT_RESTORE; and by
 * the broker, as the user with more than that, where the admin allows it. What it is asked
 * to do is the same.
 */
#ifndef SCKPT_CRIU_H
#define SCKPT_CRIU_H

#include <linux/capability.h>

#include "sckpt/base.h"

/*
 * The tree's root. Below are the agent and, at a restore, criu; a program
 * that got one of their PIDs could not be restored ("File exists").
 */
#define ROOT_PID 1000
#define PROGRAM_PID (ROOT_PID + 1)

/*
 * Criu of the broker's and, while they are being restored, its processes are not to be traced by their user,
 * who could have sealed what they like, or write to memory that is criu's, too. So they have
 * something that no process of the user's has; of all that the broker has this is of the least use
 * to them, without privileges that an execve could give.
 */
#define CRIU_MARK CAP_SYS_CHROOT

/* In SCKPT_RUN_DIR. */
#define DUMP_LOG "dump.log"
#define RESTORE_LOG "restore.log"
#define HOOK_SOCKET SCKPT_RUN_DIR "/hook.sock" /* the agent's; the broker's is elsewhere */
/* What it prints, and not into its log. */
#define CRIU_SAID SCKPT_RUN_DIR "/criu.out"

/* ---- what it is asked to do (command.c) ------------------------------------- */

/* An open file that is not criu's to dump or to make. */
struct criu_file {
	char *key; /* criu's name of it: "file[5:1f]", "pipe:[77]", "unix[12]", or a path
		    * without its first slash */
	int fd; /* restore: what it becomes; -1 */
};

struct criu_run {
	bool restore;
	bool end; /* dump: the tree is gone afterwards */
	struct criu_file *files;
	int count;
	bool failed; /* no memory */
};

void criu_leave_out(struct criu_run *r, const char *key);
/* fd stays the caller's. */
void criu_inherit(struct criu_run *r, const char *key, int fd);
void criu_run_free(struct criu_run *r);

#define CRIU_FD_FIRST 20 /* inherited descriptors are put here and above, in turn */

/*
 * argv, malloc'ed with its words; NULL without memory. criu: its path. images: the directory
 * with the stream's socket. tcp: established connections, too.
 */
char **criu_args(const struct criu_run *r, const char *criu, const char *images,
		 bool tcp);
void criu_args_free(char **argv);
/* Its environment, for a restore or a dump. hook: "SCKPT_HOOK=", and the socket's name. cache: XDG_RUNTIME_DIR, a directory
 * where it may keep what it found out about the kernel. put: who started it may write to its memory (sckpt/put.h). */
#define CRIU_ENV_MAX 8
void criu_env(char *envp[CRIU_ENV_MAX], bool restore, char *hook, char *cache, bool put);

/* Whether what criu is to run and to load is there, and, at a dump, what the tree's root has as
 * its executable: sckpt may have been removed from the node while the step runs. */
int criu_parts(bool restore, struct err *e);

/* ---- its action script (ask.c) ------------------------------------------------ */

/* A listening socket with this name, which criu_env() gets, too. */
int hook_listen(const char *path, struct err *e);
/*
 * Takes one connection: the hook's, with what it asks about ("post-dump", …) in `action`, or
 * -1 when it was somebody else's. The answer is one byte, 0 for yes.
 */
int hook_accept(int listener, pid_t criu, char *action, size_t size);

/* ---- repair mode of connections at a dump of the broker's (in_sockopt.c, broker/repair.c) --------- */

/*
 * A datagram socket with this name, beside the broker's hook. A request is a byte, 1 for on and 0
 * for off, and two descriptors: the connection, and a socket that the answer, a byte, comes by.
 */
#define REPAIR_NAME "repair.sock"
enum { REPAIR_DONE, REPAIR_REFUSED, REPAIR_NOT_OURS /* it is none of the tree's */ };

/* ---- one that runs (watch.c) ----------------------------------------------------- */

struct criu_watch {
	pid_t pid; /* the caller's to set when it has started it */
	int signals; /* readable when there is something to look at; a signalfd, which takes the
		      * SIGCHLD of other children, too */
	uint64_t keep; /* as that: what the restored root, and all below, keep of criu's
			* capabilities (1 << CAP_…) until they have their own; 0: all */
	bool adopting; /* a restore: it is traced until it has made the root */
	bool adopted; /* which it has */
	bool ended;
	int status; /* then: its wait status */
};

/* Before it is started. SIGCHLD is blocked from then on. */
int criu_watch_begin(struct criu_watch *w, struct err *e);
/* At its pre-restore point. */
int criu_watch_adopt(struct criu_watch *w, struct err *e);
/* What has happened to it. */
int criu_watch_look(struct criu_watch *w, struct err *e);
/* Waits for its end, letting it go where it is traced still. Whoever gives it up has closed the
 * stream and the hook before: then it undoes what it did and ends by itself, which a signal
 * would not let it do. */
void criu_watch_end(struct criu_watch *w);

/* ---- the root at a restore (adopt.c) -------------------------------------------- */

/* At criu's pre-restore point: from here on its stops are told by SIGCHLD and
 * waitpid(criu, …, __WALL), and are to be handed to adopt_event(). */
int adopt_begin(pid_t criu, struct err *e);
/* Returns 1 when the root is a subreaper and criu is traced no more, 0 when it
 * is still to come, -1 on error. */
int adopt_event(pid_t criu, int status, uint64_t keep, struct err *e);
/* When criu is to undo what it did, while it is still traced: it is brought to
 * a stop, and at the next one that waitpid tells, let go. */
void adopt_stop(pid_t criu);
void adopt_let_go(pid_t criu, int status);

/* ---- breakpoint.c ---------------------------------------------------------------- */

/* Right before criu is started: so that it need not wait for the kernel later. Returns a process
 * that ends by itself, and is to be handed to breakpoint_end() when criu has ended; -1 where
 * nothing is gained. */
pid_t breakpoint_begin(void);
void breakpoint_end(pid_t pid);

/* ---- timers.c ------------------------------------------------------------------- */

/* With everything restored and nothing running: starts the timers of these processes that
 * criu leaves off and that were on. */
int timers_start(const pid_t *pids, int count, struct err *e);

#endif
