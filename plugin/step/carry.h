/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole directories that travel with a checkpoint (--checkpoint=carry=DIR): what is
 * below them on the node of the dump, open or not. Their list is a metadata image
 * (CARRY_LIST), the content of their files a bulk image (CARRY_PAGES): so it is
 * cut into pages, deduplicated, packed, digested and sealed as criu's are.
 *
 * Only what is the user's own is looked at and changed, by descriptors of its
 * directories and never through a symbolic link.
 */
#ifndef SCKPT_CARRY_H
#define SCKPT_CARRY_H

#include "step.h"

/* At the top of such a directory: the job whose it is. */
#define CARRY_MARK ".sckpt-carry"
/* In the names of what was moved out of the way. */
#define CARRY_ASIDE ".sckpt-cut."
#define CARRY_MOST 65536 /* entries */

/* ---- carry_list.c: the list, pure ------------------------------------------- */

enum carry_kind {
	CARRY_ABOVE = 'a', /* a directory of the user's that the next root is in; its
			    * path is absolute */
	CARRY_ROOT = 'D', /* one of the directories; its path is absolute, that of the
			   * others relative to the last one */
	CARRY_DIR = 'd',
	CARRY_FILE = 'f',
	CARRY_OPEN = 'o', /* a file that the manifest has among its files: it is
			   * left to rewind.c, or it is Slurm's output; or what does not
			   * travel: it stays as it is, with all in it */
	CARRY_NAME = 'h', /* one more name of the file `to` */
	CARRY_LINK = 'l', /* a symbolic link to `to` */
	CARRY_FIFO = 'p'
};

struct carry_extent {
	int64_t at, size; /* bytes of a file that are no hole; `at` is whole pages */
};

struct carry_entry {
	enum carry_kind kind;
	mode_t mode; /* permission bits */
	gid_t gid;
	int64_t mtime_ns, size;
	char *path, *to; /* malloc'ed; to: NULL none */
	struct carry_extent *extents; /* malloc'ed */
	size_t extent_count;
};

struct carry_list {
	struct carry_entry *list;
	size_t count;
};

/* Writes one; -1 without memory. */
int carry_put(FILE *to, const struct carry_entry *entry);
/* Reads them all. A name that could lead out of its directory makes it fail. The
 * caller frees it with carry_free(), also then. text is changed. */
int carry_take(char *text, struct carry_list *list, struct err *e);
void carry_free(struct carry_list *list);

/* ---- carry.c: which directories --------------------------------------------- */

struct carry_root {
	char path[1024];
	int fd;
	dev_t dev;
};

/* Calls visit for each directory that is asked for; -1 when it returns that. */
int carry_each(const struct step *step,
	       int (*visit)(const struct step *step, const char *path, void *arg,
			    struct err *e),
	       void *arg, struct err *e);
/* At the start: tells what may not be carried, so that no checkpoint will be made. */
void carry_look(const struct step *step);
/* Opens one, if it may be carried: 1, 0 when it is not there, -1. */
int carry_open(const struct step *step, const char *path, struct carry_root *root,
	       struct err *e);
/* Whose is it? 1: the step's job's (or that of `also`, 0 none); 0: nobody's; -1:
 * another job's, or it cannot be told. */
int carry_whose(const struct step *step, const struct carry_root *root,
		uint32_t also, struct err *e);
/* From now on it is this job's. */
int carry_mark(const struct step *step, const struct carry_root *root, struct err *e);
/* The directory that the last part of a path below root is in, and that part; a
 * descriptor of the caller's. */
int carry_parent(int root, const char *path, const char **name, struct err *e);

/* ---- carry_dump.c ---------------------------------------------------------------- */

/*
 * Before a dump: refuses in words what may not be carried, or is more than
 * files-max= allows, makes the directories this job's, and sets step->carried.
 */
int carry_check(struct step *step, struct err *e);
/* With the tree frozen and m->files known: puts them into the images. */
int carry_record(struct step *step, const struct manifest *m,
		 struct image_writer *w, struct err *e);

/* ---- carry_acts.c: what is done before a restore --------------------------------- */

/* The directory in which it is done. */
struct carry_in {
	int root; /* a descriptor, open as long as the acts are there */
	const char *path; /* likewise */
	bool ours; /* what is in it was left here by the job */
};

struct carry_acts {
	struct carry_act *list;
	size_t count;
	uint32_t job;
	int run;
	bool dropped; /* what was moved aside of the job's own is gone */
};

/* Each notes one act: what is at that path was made, or had another mode. */
int carry_made(struct carry_acts *acts, struct carry_in in, const char *path,
	       struct err *e);
int carry_had_mode(struct carry_acts *acts, struct carry_in in, const char *path,
		   mode_t was, struct err *e);
/* What has the name, the last part of path, gets another one in the same directory, dir. */
int carry_move_aside(struct carry_acts *acts, struct carry_in in, int dir,
		     const char *path, const char *name, struct err *e);
/* The mode of the user's own, of anything but a link. */
int carry_set_mode(int dir, const char *name, mode_t mode);
/* What is in a directory can be changed by its owner from now on. */
void carry_open_up(int dir, const char *name);
/* Takes away what was made and gives names and modes back, the last first. */
void carry_acts_undo(struct carry_acts *acts);
/* Removes for good what was moved aside where the job had left it. */
void carry_acts_drop(struct carry_acts *acts);
/* How many names lie elsewhere now, and one of them. */
unsigned carry_acts_kept(const struct carry_acts *acts, char *example, size_t size);
void carry_acts_free(struct carry_acts *acts);

/* ---- carry_bring.c ------------------------------------------------------------------- */

struct carried;

/*
 * Before the files of the manifest are brought back: makes the directories what they
 * were, as far as those files are not needed for it. NULL: nothing is changed.
 */
struct carried *carry_bring(const struct step *step, const struct manifest *m,
			    struct image_reader *reader, struct err *e);
/* With them in place: what is left. */
int carry_finish(struct carried *c, struct err *e);
/* The restore failed: all is as it was before. */
void carry_undo(struct carried *c);
/* Nothing can fail any more, and nothing runs yet: what the job itself had left is
 * removed, so that the program does not see it. */
void carry_drop(struct carried *c);
/* The program goes on: tells what was moved, and the step what it carries from now
 * on. */
void carry_done(const struct carried *c, struct step *step);
/* c may be NULL. */
void carry_close(struct carried *c);

#endif
