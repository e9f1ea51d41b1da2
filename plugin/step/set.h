/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_SET_H
#define SCKPT_SET_H

#include "step.h"

/* Times are CLOCK_MONOTONIC in ns; 0: without end. */

/* Waits for an order of that run with a number above `after`. 1, 0 none came, -1. */
int set_await(const struct spec *spec, int run, int after, int64_t until,
	      struct set_order *o, struct err *e);

/* ---- the first node ------------------------------------------------------------ */

/* Says o, as the next order of this run. */
int set_say(struct step *step, struct set_order *o, struct err *e);
/* What has become of the last one, which was for that request. */
int set_say_again(const struct step *step, enum set_word word, const char *text,
		  const char *request, struct err *e);
/*
 * Waits until all others have done what was said last; *sum has what they have made.
 * begins: each begins at once, or will not. -1: one has not, and will not, and e says
 * which and why; sum->state is SET_REFUSED where it has said that itself.
 */
int set_gather(const struct step *step, bool begins, int64_t until,
	       struct set_answer *sum, struct err *e);
/* Have the programs of all others ended, from *part on, which is moved on? Then the
 * first status that is not 0 is in *status, if that was 0. */
int set_over(const struct step *step, int *part, int *status);

/* ---- the others ------------------------------------------------------------------- */

/* Answers the last order. more: what is to be said beside, or NULL. */
int set_answer(struct step *step, int state, const struct set_answer *more,
	       struct err *e);
/* Says beside what it answered last that the programs here have ended. Both from any thread. */
int set_answer_over(struct step *step, int status, struct err *e);
/* Waits for what becomes of a dump: 0 all have theirs; -1 not, and e says why; 1 it was
 * not said. */
int set_hear(const struct step *step, int64_t until, struct err *e);

#endif
