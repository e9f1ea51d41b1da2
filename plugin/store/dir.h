/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_DIR_H
#define SCKPT_DIR_H

#include "sckpt/store.h"

/* Opens <cluster>/<name>, beside the jobs' directories. As store_open(). */
int dir_beside(const struct spec *spec, const char *name, bool make,
	       struct store *at, struct err *e);

/* Calls visit for every name in a step's directory until it returns other
 * than 0, and returns that; -1 on error. */
int dir_each(const struct store *store,
	     int (*visit)(const char *name, void *arg), void *arg,
	     struct err *e);

/* Takes "<number>-<run>" and what follows ("" for a whole name) apart; false
 * for any other name. */
bool dir_split(const char *name, struct generation *g, const char **rest);

/* How the names of files end that are not whole yet. */
#define DIR_PART ".part"

/* Writes a file durably under another name and then gives it its name: new contents
 * or old, never half. With `only`, a file that is there already is an error
 * (errno EEXIST). The directory is not fsynced. */
int dir_write(const struct store *store, const char *name, const char *text,
	      bool only, struct err *e);

/* How jobs' programs ended, and which steps are done; beside the jobs'. */
#define ENDED "ended"
/* The log of what happened to a step (events.c), in its directory. */
#define EVENTS "events"
/* The logs of steps that have no directory any more, beside the jobs'. */
#define LOGS "logs"

#endif
