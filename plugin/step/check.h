/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_CHECK_H
#define SCKPT_CHECK_H

#include "shape.h"
#include "step.h"

/* A rehearsal (sckpt check), from its request to its answer. */
struct check {
	char request[40]; /* that it answers; "" none is under way */
	struct shape shape; /* of the tree when it was dumped */
	pid_t child; /* that restores the copy; 0 none */
	int report; /* what it found, a line each; 0 none */
};

/* Takes a rehearsal's request; false: it is another one. One that is under way is
 * cancelled first. */
bool check_begin(struct check *c, const struct step *step, struct order *order);
/* The dump was refused: that is the answer, with all that is in the way. */
void check_refused(struct check *c, const struct step *step, const struct err *e);
/* It is in the store: a process begins to restore the copy. */
void check_restore(struct check *c, const struct step *step);
/* True when the child was that one: the answer is given. */
bool check_reap(struct check *c, const struct step *step, pid_t pid, int status);

#endif
