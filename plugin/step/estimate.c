/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a dump would take, from the program's size and what dumps took
 * before: looked at now and then, ever more seldom. */
#include <time.h>

#include "sckpt/policy.h"
#include "step.h"

#define S INT64_C(1000000000)
#define FIRST (30 * S)
#define SELDOM (3600 * S)

void estimate_begin(struct estimate *est, const struct step *step)
{
	*est = (struct estimate){ .interval = FIRST };
	est->due = clock_ns(CLOCK_MONOTONIC) + FIRST;
	est->speed = store_speed(&step->store);
}

int estimate_wait(const struct estimate *est)
{
	int64_t left = est->due - clock_ns(CLOCK_MONOTONIC);

	if (!est->due)
		return -1;
	return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

void estimate_learn(struct estimate *est, const struct cost *cost)
{
	const int64_t bytes = cost->resident + cost->carried;

	/* Of a small one criu's own start is most. */
	if (bytes >= ESTIMATE_LEAST || cost->us > 1000000)
		est->speed = (double)bytes * 1e6 / (double)cost->us;
	est->due = clock_ns(CLOCK_MONOTONIC);
}

bool estimate_look(struct estimate *est, const struct step *step,
		   int64_t *need_us, char *warning, size_t size)
{
	double speed = est->speed > 0 ? est->speed : SPEED_ASSUMED;
	int64_t now = clock_ns(CLOCK_MONOTONIC), resident;
	cleanup_free pid_t *pids = NULL;
	int count;

	warning[0] = '\0';
	if (now < est->due)
		return false;
	est->due = now + est->interval;
	if (est->interval < SELDOM)
		est->interval *= 2;
	if ((count = program_tree(step->root, &pids, NULL)) < 0)
		return false;
	resident = program_resident(pids, count) + step->carried;
	*need_us = budget_need_us(resident, speed);
	if (!est->told)
		est->told = budget_warning(resident, speed, est->speed > 0,
					   step->spec.kill_wait, warning, size);
	return true;
}
