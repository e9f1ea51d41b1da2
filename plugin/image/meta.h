/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_META_H
#define SCKPT_META_H

#include "sckpt/image.h"

/*
 * The meta file: metadata images and the bulk images' page lists, one after
 * the other, compressed as one. A page list is a sequence of runs: `count`
 * pages of pack number `pack` (of the set) from page `page` on.
 */
struct meta_run {
	uint32_t pack, page, count;
};

#define META_ZERO UINT32_MAX /* as a pack: pages of zeros */
/* Unpacked; more is refused before any memory is taken. */
#define META_MAX (UINT64_C(4) << 30)

/* Writes and fsyncs the file; fills in set->meta_*. */
int meta_write(int dir, struct image_set *set, const void *data, size_t size,
	       struct err *e);
/* Reads it and checks the digest of every item of the set. *data is
 * malloc'ed, the caller's. */
int meta_read(int dir, const struct image_set *set, uint8_t **data,
	      struct err *e);

#endif
