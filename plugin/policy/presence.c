/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is a node that is waited for still there? */
#include "sckpt/policy.h"

#define SECOND INT64_C(1000000000)
#define ASK_NS (600 * SECOND)
#define WAKE_NS (60 * SECOND)
#define GONE_NS (1800 * SECOND)

enum presence_act presence_look(struct presence *p, int order, bool answered,
				int64_t now)
{
	/* An answer; or something else was to be done meanwhile, which says as much. */
	if (p->order && (answered || p->order != order))
		*p = (struct presence){ .since = now };
	if (!p->order)
		return now - p->since > ASK_NS ? PRESENCE_ASK : PRESENCE_WAIT;
	if (now - p->since > GONE_NS)
		return PRESENCE_GONE;
	if (now - p->woken <= WAKE_NS)
		return PRESENCE_WAIT;
	p->woken = now;
	return PRESENCE_WAKE;
}

void presence_asked(struct presence *p, int order, int64_t now)
{
	*p = (struct presence){ .order = order, .since = now, .woken = now };
}
