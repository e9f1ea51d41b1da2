/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sched.h>

#include "threads.h"

int threads_for(int told)
{
	cpu_set_t cpus;
	int n = told;

	if (n <= 0)
		n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ?
			    CPU_COUNT(&cpus) :
			    1;
	return n < 1 ? 1 : n > IMAGE_THREADS_MAX ? IMAGE_THREADS_MAX : n;
}
