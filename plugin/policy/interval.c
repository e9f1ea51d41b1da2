/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to checkpoint again. The best interval between checkpoints that cost C
 * seconds on a node that fails every M seconds is sqrt(2 C M): Young,
 * "A first order approximation to the optimum checkpoint interval" (1974), and
 * Daly (2006), whose further terms matter when C is not small against M.
 */
#include <math.h>
#include <string.h>

#include "sckpt/policy.h"

/* Of every=auto, in seconds. */
#define AUTO_LEAST 10.0
#define AUTO_MOST (24 * 3600.0)
/* As long as none has been measured. */
#define COST_ASSUMED 1.0

#define NS 1e9

double interval_auto(double cost, double mtbf)
{
	double best = sqrt(2 * cost * mtbf);

	return best < AUTO_LEAST ? AUTO_LEAST :
	       best > AUTO_MOST  ? AUTO_MOST :
				   best;
}

double interval_spread(uint32_t job, const char *step, int run)
{
	/* FNV-1a, then a finalizer that mixes: job numbers are consecutive. */
	uint64_t h = UINT64_C(14695981039346656037);
	const unsigned char *at = (const unsigned char *)step;

	for (int i = 0; i < 4; i++)
		h = (h ^ (job >> (8 * i) & 0xff)) * UINT64_C(1099511628211);
	for (; *at; at++)
		h = (h ^ *at) * UINT64_C(1099511628211);
	h = (h ^ (uint64_t)(unsigned)run) * UINT64_C(1099511628211);
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return ((double)(h >> 11) + 1) / 9007199254740992.0; /* 2^53 */
}

/* Sets r->seconds; true when the share of the time is what decides. */
static bool settle(struct rhythm *r)
{
	double cost = r->measured ? r->cost : COST_ASSUMED;
	double wanted = r->every == EVERY_AUTO ? interval_auto(cost, r->mtbf) :
						 r->every;
	double least = r->measured ? r->cost * 100 / r->overhead : 0;

	r->seconds = wanted > least ? wanted : least;
	return least > wanted;
}

void rhythm_begin(struct rhythm *r, const struct spec *spec, int64_t now)
{
	*r = (struct rhythm){ .every = spec->every,
			      .mtbf = spec->limits.mtbf,
			      .overhead = spec->limits.overhead };
	if (!r->every)
		return;
	settle(r);
	r->due = now + (int64_t)(r->seconds * NS *
				 interval_spread(spec->job, spec->step,
						 spec->restart));
}

void rhythm_next(struct rhythm *r, int64_t now)
{
	if (r->every)
		r->due = now + (int64_t)(r->seconds * NS);
}

bool rhythm_took(struct rhythm *r, int64_t cost_us, int64_t now)
{
	double cost = (double)cost_us / 1e6;
	bool held, told = r->held;

	if (!r->every)
		return false;
	/* One slow one is not the rule, and not forgotten at once. */
	r->cost = r->measured ? (r->cost + cost) / 2 : cost;
	r->measured = true;
	held = settle(r);
	r->held |= held;
	rhythm_next(r, now);
	return held && !told;
}
