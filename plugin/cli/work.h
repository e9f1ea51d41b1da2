/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a step's log comes to. Pure: events in, numbers out (sckpt(1), "report", has
 * the words for them). All times are us; moments since 1970.
 *
 * A run's progress is how long the step's program has run since it was started
 * afresh, of what counts: in a restored run it begins with that of the checkpoint.
 * So the runs' times together are always work + lost.
 */
#ifndef SCKPT_WORK_H
#define SCKPT_WORK_H

#include "sckpt/store.h"

struct run {
	int number; /* restart count of the job */
	const char *node; /* in the events that it was made from */
	const struct event *restore; /* NULL: it began afresh, or never ran */
	int64_t begin; /* the step began, to restore or afresh */
	int64_t from; /* its program ran; 0 never */
	int64_t end; /* it did not run any more */
	bool end_known; /* exactly; else end is the latest that it can be */
	int64_t base; /* progress at `from` */
	int64_t kept; /* what it did until then was not done again: from to end */
	int64_t waited; /* before begin, in the queue */
};

struct work {
	struct run *runs;
	int count;
	int checkpoints, restores, refusals;
	int64_t work; /* progress of the last run */
	int64_t saved; /* of it, what restores brought over */
	int64_t lost; /* was done again, or is to be */
	bool lost_at_most; /* it ends with a run whose end is not known */
	int64_t stopped, waited; /* for checkpoints; in the queue */
	uint64_t stored;
	bool ended; /* the program, with this wait status */
	int status;
	bool stopped_last; /* it was saved at its end, and is to go on */
};

/*
 * now: the step may run still, and runs until then as far as is known; 0: it does
 * not, and has run until its last event. The events must live as long as *w.
 */
int work_account(const struct event *list, int count, int64_t now,
		 struct work *w, struct err *e);
void work_free(struct work *w);

#endif
