/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_BYTES_H
#define SCKPT_BYTES_H

#include "sckpt/base.h"

/* Bytes in a row, grown as needed; data is malloc'ed, the holder's. */
struct bytes {
	uint8_t *data;
	size_t size, room;
};

int bytes_add(struct bytes *b, const void *data, size_t size, struct err *e);

#endif
