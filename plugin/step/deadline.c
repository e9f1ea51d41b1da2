/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of the time that a dump has. A thread waits for it, since the agent's
 * own may be waiting for the store; what it calls off fails soon, criu lets the
 * program go on, and nothing half done stays in the store.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "step.h"

static void *wait_for_end(void *arg)
{
	struct deadline *d = arg;

	for (;;) {
		struct pollfd p = { .fd = d->over, .events = POLLIN };
		int64_t left = d->at - clock_ns(CLOCK_MONOTONIC);

		if (left <= 0)
			break;
		if (poll(&p, 1, (int)((left + 999999) / 1000000)) > 0)
			return NULL;
	}
	__atomic_store_n(&d->passed, true, __ATOMIC_RELEASE);
	image_writer_cancel(d->writer);
	return NULL;
}

int deadline_begin(struct deadline *d, int64_t us, struct image_writer *writer,
		   struct err *e)
{
	*d = (struct deadline){ .over = -1 };
	if (!us)
		return 0;
	d->at = clock_ns(CLOCK_MONOTONIC) + us * 1000;
	d->writer = writer;
	if ((d->over = eventfd(0, EFD_CLOEXEC)) < 0)
		return err_sys(e, "cannot watch the time");
	errno = pthread_create(&d->thread, NULL, wait_for_end, d);
	if (errno) {
		err_sys(e, "cannot start a thread");
		close(d->over);
		d->over = -1;
		return -1;
	}
	return 0;
}

int64_t deadline_left(const struct deadline *d)
{
	return d->at - clock_ns(CLOCK_MONOTONIC);
}

bool deadline_passed(const struct deadline *d)
{
	return __atomic_load_n(&d->passed, __ATOMIC_ACQUIRE);
}

void deadline_end(struct deadline *d)
{
	const uint64_t one = 1;

	if (d->over < 0)
		return;
	while (write(d->over, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(d->thread, NULL);
	close(d->over);
	d->over = -1;
}
