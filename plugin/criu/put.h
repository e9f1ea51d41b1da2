/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PUT_H
#define PUT_H

#include <stddef.h>
#include <sys/types.h>

#include "sckpt/put.h"

/* put.c: what the agent could put of the next `size` bytes of an image, from the first on, in
 * bytes; 0: read them. */
size_t put_large(int pipe, void *to, size_t size);

/* populate.c: read(2) into memory that may not be there yet. */
ssize_t read_and_put(int fd, void *to, size_t size);

#endif
