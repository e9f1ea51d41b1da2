/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the supervisor does by the clock: checkpoints between stops, and the
 * look at the job's time limit. */
#ifndef SCKPT_PERIODIC_H
#define SCKPT_PERIODIC_H

#include "sckpt/policy.h"

struct periodic {
	struct rhythm rhythm;
	int64_t check_due; /* when checkpoint and restore are rehearsed; 0 never */
	int64_t limit_due; /* when slurmctld is asked for the limit; 0 never */
	int64_t asked; /* when it was asked last */
	int64_t need_us; /* how long a checkpoint takes, as far as is known */
};

/* All times are CLOCK_MONOTONIC's, in ns. */
void periodic_begin(struct periodic *p, const struct spec *spec, int64_t now);
/* Milliseconds until something is due, for poll(2); -1 never. */
int periodic_wait(const struct periodic *p, int64_t now);
/* Is it time for a checkpoint? */
bool periodic_checkpoint(struct periodic *p, int64_t now);
/* For a rehearsal? The caller makes check_due 0 when it was begun. */
bool periodic_rehearsal(const struct periodic *p, int64_t now);
bool periodic_limit(const struct periodic *p, int64_t now);
/* Ask again in so many seconds; 0: never. */
void periodic_ask_in(struct periodic *p, int seconds, int64_t now);
/* May this signal be the warning of sbatch --signal, and was slurmctld not
 * asked just now? */
bool periodic_is_warning(const struct periodic *p, const struct spec *spec,
			 int sig, int64_t now);

#endif
