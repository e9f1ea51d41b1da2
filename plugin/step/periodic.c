/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>

#include "periodic.h"

#define S INT64_C(1000000000)

/* The first look at the limit is spread, too, and inside the shortest limit,
 * a minute. */
#define FIRST_LOOK 5
#define FIRST_LOOK_SPREAD 20.0

/* By then a program has opened what it needs. */
#define REHEARSED_AFTER (30 * S)

/* A program that sends itself signals is no reason to ask each time. */
#define ASKED_RECENTLY (10 * S)

void periodic_begin(struct periodic *p, const struct spec *spec, int64_t now)
{
	rhythm_begin(&p->rhythm, spec, now);
	/* What goes on from a checkpoint has shown that it can. */
	if (spec->check && spec->restart <= 0)
		p->check_due = now + REHEARSED_AFTER;
	if (spec->timelimit)
		periodic_ask_in(p, FIRST_LOOK +
					   (int)(FIRST_LOOK_SPREAD *
						 interval_spread(spec->job,
								 spec->step,
								 spec->restart)),
				now);
}

int periodic_wait(const struct periodic *p, int64_t now)
{
	int64_t due = p->rhythm.due, left;

	if (p->limit_due && (!due || p->limit_due < due))
		due = p->limit_due;
	if (p->check_due && (!due || p->check_due < due))
		due = p->check_due;
	if (!due)
		return -1;
	left = (due - now + 999999) / 1000000;
	return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

bool periodic_checkpoint(struct periodic *p, int64_t now)
{
	if (!p->rhythm.due || now < p->rhythm.due)
		return false;
	/* Until it is known what it costs, and also when it is left out. */
	rhythm_next(&p->rhythm, now);
	return true;
}

bool periodic_rehearsal(const struct periodic *p, int64_t now)
{
	return p->check_due && now >= p->check_due;
}

bool periodic_limit(const struct periodic *p, int64_t now)
{
	return p->limit_due && now >= p->limit_due;
}

void periodic_ask_in(struct periodic *p, int seconds, int64_t now)
{
	p->limit_due = seconds ? now + seconds * S : 0;
}

bool periodic_is_warning(const struct periodic *p, const struct spec *spec,
			 int sig, int64_t now)
{
	switch (sig) {
	case SIGHUP:
	case SIGINT:
	case SIGQUIT:
	case SIGALRM:
	case SIGUSR1:
	case SIGUSR2:
	case SIGXCPU:
		return (spec->timelimit || spec->every) &&
		       (!p->asked || now - p->asked >= ASKED_RECENTLY);
	default:
		return false;
	}
}
