/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_BLOCK_H
#define SCKPT_BLOCK_H

#include "sckpt/image.h"

/* What is compressed at once: new pages that came one after the other. */
#define BLOCK_PAGES 64U
#define BLOCK_SIZE (BLOCK_PAGES * IMAGE_PAGE)

enum block_method { BLOCK_STORED = 0, BLOCK_ZSTD = 1 };

/* One per thread. */
struct block_coder;
/* level 0: for unpacking, and for storing as it is. */
struct block_coder *block_coder_open(int level, struct err *e);
void block_coder_close(struct block_coder *c);

/*
 * Packs size bytes (at most BLOCK_SIZE). *out points to what is to be stored:
 * into the coder, valid until its next use, or to data itself when nothing
 * was gained. Returns the size. What does not compress is soon not tried any
 * more, and now and then again.
 *
 * hurry_ns: nanoseconds that storing a byte takes, when somebody waits: then
 * it is packed only if that is done sooner. 0: nobody waits.
 */
size_t block_pack(struct block_coder *c, const void *data, size_t size,
		  double hurry_ns, enum block_method *method, const void **out);
/* Was the last block that was tried worth it? */
bool block_packs(const struct block_coder *c);
/* Unpacks exactly size bytes to `to`. */
int block_unpack(struct block_coder *c, enum block_method method,
		 const void *data, size_t stored, void *to, size_t size,
		 struct err *e);

#endif
