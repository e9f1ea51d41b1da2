/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The regular files that the program writes. Their content stays outside the
 * images, so that a program which goes back to a checkpoint would find them
 * newer than its memory. files.c notes at each dump how they are, rewind.c
 * brings them back to that before a restore.
 */
#ifndef SCKPT_FILES_H
#define SCKPT_FILES_H

#include <sys/stat.h>

#include "step.h"

/* Bytes before a file's end that it is known again by. */
#define FILES_TAIL 16384

/* ---- files.c: at a dump ------------------------------------------------- */

/* Descriptors of the files of a manifest, kept until files_settle(). */
struct files_held {
	int *fds; /* as many as m->files; -1: it cannot be opened */
	uint64_t copied; /* bytes that were put into the store */
};

/*
 * With the tree frozen: fills in m->files, and with files=copy takes what is
 * written in place into the store. before: the manifest that m leans on, whose
 * copies may be taken again; its file_count may be 0.
 */
int files_record(struct step *step, struct manifest *m,
		 const struct manifest *before, struct files_held *held,
		 struct err *e);
/* Makes durable what the generation stands on, and digests it. Any thread; the
 * program may run again. */
int files_settle(const struct step *step, struct manifest *m,
		 const struct files_held *held, struct err *e);
void files_release(struct files_held *held, const struct manifest *m);
/* Somebody else writes to this file, too: that is noted in every dump to come. */
void files_shared(struct step *step, const struct manifest_file *f);
/* Modification time in ns since 1970; times before that are 0. */
int64_t files_mtime(const struct stat *st);

/* ---- local.c ------------------------------------------------------------ */

/* Is it on a file system that only this node has? */
bool local_is(const struct step *step, const char *path);
/* Calls add for every directory of the user's that the path leads through,
 * below the one that every node has for itself, from the outermost on. -1 when add
 * returns that, or no memory. */
int local_parents(const struct step *step, const char *path,
		  int (*add)(const char *dir, const struct stat *st, void *arg),
		  void *arg);
/* May what has this name on this node be replaced by what travelled? */
int local_check(const struct manifest_file *f, struct err *e);
/* Makes it, or gives the one that is there its mode; *was: the mode it had, 0
 * when it was made. */
int local_make_name(const struct manifest_file *f, mode_t *was, struct err *e);
/* With all in it that is to be: gives a directory its mode, until then its owner may
 * write to it. */
int local_settle_name(const struct manifest_file *f, struct err *e);
/* Removes a name and all below it, also where the owner may not write to the directory;
 * its mode and time stay. */
void local_remove(int dir, const char *name);
/* Sets left[i] where files[i] (st_ino 0: none) is what file i of m was when the step was saved on
 * this node before: it is the step's own, and nothing newer. */
void local_find_left(const struct step *step, const struct manifest *m,
		     const struct stat files[], bool left[]);

/* ---- bound.c ----------------------------------------------------------------- */

/* The path that a unix socket of a process is bound to. false: it is no such, or has
 * no name in the file system. */
bool bound_name(pid_t pid, const char *fd, char *path, size_t size);

/* ---- others.c ---------------------------------------------------------------- */

/* May that job run, or run again? One that slurmctld does not know is over, if slurmctld
 * answers at all. */
bool others_active(const struct step *step, uint32_t job);
/* Sets others[i] where somebody else writes to file i of m, too. */
void others_find(const struct step *step, const struct manifest *m, bool others[]);

/* ---- silly.c ------------------------------------------------------------------ */

/*
 * Pure. Is this what an NFS client calls a file that was removed while it is open
 * (fs/nfs/unlink.c)? It goes with the last descriptor, and criu takes its content
 * along as that of any removed file.
 */
bool file_silly_renamed(const char *path);

/* ---- rewind_decide.c, rewind.c: before a restore ------------------------------------------- */

enum rewind_action {
	REWIND_KEEP, /* it is as it was */
	REWIND_CUT, /* what the program appended since is cut off */
	REWIND_LEAVE, /* it is not as it was, and may be left so */
	REWIND_BRING, /* its content comes from the store */
	REWIND_REPLACE, /* and it becomes a new file: what has the name here is
			 * another one, if there is any */
	REWIND_REFUSE /* the program cannot go on with it */
};

/* A file as it is now, beside what the manifest says of it. */
struct file_now {
	bool there; /* a regular file is */
	bool same_inode;
	bool known; /* the digested bytes could be read */
	bool same; /* and are what they were; only if it is long enough */
	int64_t size, mtime_ns;
	bool ours; /* the program may have run after the checkpoint */
	bool others; /* somebody else writes to it, too */
};

/* Pure. *why: what is the matter, in words behind the file's name; NULL when
 * nothing is to be said. */
enum rewind_action rewind_decide(const struct manifest_file *f,
				 const struct file_now *now, const char **why);

struct rewind;

/*
 * Looks at all files of m but the streams, and only if the program can go on
 * with all of them changes what must be. NULL on error: nothing is changed.
 */
struct rewind *rewind_begin(const struct step *step, const struct manifest *m,
			    struct err *e);
/*
 * Stream number i is a file, open as fd. 1: it holds the program's past, and
 * nothing of it that comes again; 0: it is another one or was emptied; -1.
 */
int rewind_stream(struct rewind *r, int i, int fd, struct err *e);
/* Others write to this stream's file, too. */
bool rewind_shared(const struct rewind *r, int i);
/* The restore failed: all is as it was before. */
void rewind_undo(struct rewind *r);
/* Nothing can fail any more, and nothing runs yet: what the job itself had left here
 * is removed, so that the program does not see it. */
void rewind_drop(const struct rewind *r);
/* The program goes on: tells people what was changed, and the step what was seen. */
void rewind_done(const struct rewind *r, struct step *step);
void rewind_free(struct rewind *r);

#endif
