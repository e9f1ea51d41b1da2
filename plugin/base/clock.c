/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sckpt/base.h"

int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}
