/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a new job's steps go on from (--checkpoint=restart=ID). */
#ifndef SCKPT_FROM_H
#define SCKPT_FROM_H

#include "sckpt/store.h"

/* A step of another job of the same user's, and the generation that is meant. */
struct from {
	struct store store;
	struct generation g;
};

/*
 * What the step of this spec is to go on from: what the ID names, if that is of a step of
 * the same name (or was set aside of one), or was named by the step's own srun; and when it names a batch script that was not set
 * aside, the newest that there is of the same srun call, if the script had called it by then. 1: it is open, and the caller closes
 * from->store; 0: nothing; -1: what is named is not there.
 */
int from_find(const struct spec *spec, struct from *from, struct err *e);
/* Makes it the step's own, as made by its run `run`; of several nodes, all of their
 * parts. */
int from_adopt(const struct spec *spec, const struct from *from, int run,
	       struct err *e);

#endif
