/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LANES_H
#define LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "sckpt/lanes.h"

/* lanes.c: splice(2) of pages to an image, by a lane. *taken: false: there are none, and it is to be
 * done as ever. */
ssize_t lanes_splice(int from, int image, size_t size, unsigned int flags, bool *taken);
/* lanes.c: returns when all that went by lanes was read, or nobody is there to read it. */
void lanes_wait(void);

/* drain.c: returns when all that is in a pipe was read, or nobody is there to read it. */
void wait_until_read(int pipe);

#endif
