/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One stream of a srun call on its way through sckpt-client, for steps=skip-done. */
#ifndef SCKPT_RELAY_H
#define SCKPT_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Descriptors are its own. Zeros, with all of them -1, are one that has ended. */
struct relay {
	bool open; /* there may be more */
	int from;
	int to; /* -1: it is only counted */
	int copy; /* a file for all that passes; -1 none */
	bool spoilt; /* the copy could not be written */
	int64_t passed; /* bytes */
	int64_t most; /* ends after so many; -1: with its source */
	size_t filled, sent;
	char buf[65536];
};

/* What it waits for; nothing when it has ended. */
void relay_poll(const struct relay *r, struct pollfd *p);
/* Moves what can be moved without waiting, after relay_poll() said that. */
void relay_move(struct relay *r);
/* Nobody writes to its source any more, and it ends when that is empty; false as long
 * as there is no room for the rest. */
bool relay_drained(struct relay *r);
/* Ends it as it is. */
void relay_end(struct relay *r);

#endif
