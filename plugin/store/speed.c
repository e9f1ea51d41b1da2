/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast dumps into this store were: for estimates, and trusted for nothing. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "dir.h"

/* Beside the clusters' directories: it is the store's, not a step's. */
#define SPEED "../../../.speed"

double store_speed(const struct store *store)
{
	char text[32] = "";
	cleanup_fd int fd = store->dir < 0 ?
				    -1 :
				    openat(store->dir, SPEED,
					   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	double speed;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	speed = strtod(text, NULL);
	return speed > 1e3 && speed < 1e13 ? speed : 0;
}

void store_speed_note(const struct store *store, double speed)
{
	char text[32], part[64];
	cleanup_fd int fd = -1;
	int n = snprintf(text, sizeof(text), "%.0f\n", speed);

	/* Every agent is process 1. */
	snprintf(part, sizeof(part), SPEED ".%jx",
		 (uintmax_t)clock_ns(CLOCK_REALTIME));
	fd = openat(store->dir, part,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && (file_write(fd, text, (size_t)n, NULL) < 0 ||
			renameat(store->dir, part, store->dir, SPEED) < 0))
		unlinkat(store->dir, part, 0);
}
