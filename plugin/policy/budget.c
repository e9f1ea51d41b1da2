/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a dump will take, and how long it may. */
#include <stdio.h>
#include <string.h>

#include "sckpt/policy.h"

/* Slurm itself waits no less (slurmd/req.c, _rpc_terminate_job). */
#define KILL_WAIT_LEAST 5

/* Starting criu, walking the tree, publishing: a dump of nothing. */
#define FIXED_US INT64_C(500000)

int64_t budget_need_us(int64_t resident, double speed)
{
	return FIXED_US + (int64_t)((double)resident / speed * 1e6);
}

int64_t budget_deadline_us(int kill_wait)
{
	int64_t all = (kill_wait > KILL_WAIT_LEAST ? kill_wait :
						     KILL_WAIT_LEAST) *
		      INT64_C(1000000);

	/* Undoing a dump, and the program's own end, take time too. */
	return all - all / 10 - 500000;
}

bool budget_fits_grace(int64_t need_us, const struct spec *spec, int grace)
{
	return strcmp(spec->step, "batch") && grace > 0 &&
	       need_us <= budget_deadline_us(spec->kill_wait + grace);
}

bool budget_warning(int64_t resident, double speed, bool measured,
		    int kill_wait, char *text, size_t size)
{
	int64_t need = budget_need_us(resident, speed);
	char memory[16], rate[16], span[16];

	if (need <= budget_deadline_us(kill_wait))
		return false;
	size_print((uint64_t)resident, memory);
	size_print((uint64_t)speed, rate);
	span_print(need, span);
	snprintf(text, size,
		 "a dump of %s at %s/s%s takes about %s and does not fit into KillWait=%d s: add every=TIME to --checkpoint, so that little is lost when the job is preempted, or ask the administrator for a longer KillWait",
		 memory, rate, measured ? "" : " (assumed)", span, kill_wait);
	return true;
}
