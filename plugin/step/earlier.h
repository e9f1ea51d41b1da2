/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of a script's srun calls is which, in a run of it that may come to them in another order, or
 * not to all of them: it started from its top, with some of its work done, or goes on from a
 * checkpoint that is older than its steps.
 *
 * Of every step a script's run begins there is noted, in the step's directory, what its call
 * was: arguments, directory, files, and the variables that the script has set; the how manieth
 * such call of the run; and how many calls the script had made when the run began. A call of a later run
 * is the same one if both are the first such in runs of which the later one did not begin before the
 * other. Of the second of equal calls nobody can tell: the script may have left the first one out.
 */
#ifndef SCKPT_EARLIER_H
#define SCKPT_EARLIER_H

#include <sys/types.h>

#include "sckpt/base.h"

/* Hexadecimal digits that stand for a call. */
#define EARLIER_HASH 32

/* Of an earlier run. */
struct earlier_step {
	int number;
	char call[CALL_TEXT_MAX + 1]; /* "" not noted, by an older sckpt */
	bool taken; /* by a call of this run */
};

struct earlier {
	struct earlier_step *steps;
	int step_count;
	char (*calls)[EARLIER_HASH + 1]; /* of this run */
	size_t call_count;
	int since; /* calls that the script had made when this run began; -1 none is new yet */
};

/* What is there of earlier runs. */
int earlier_open(struct earlier *k, const struct spec *script, struct err *e);
/* A new call of this run, by sckpt-srun of that PID, in words. count: of calls so far. "" if it cannot
 * be told. */
void earlier_describe(struct earlier *k, pid_t pid, int count, char call[CALL_TEXT_MAX + 1]);
/* Whose work it goes on with; NULL nobody's. */
struct earlier_step *earlier_find(struct earlier *k, const char *call);
/* Is that number another call's? */
bool earlier_is_other(const struct earlier *k, int number);

#endif
