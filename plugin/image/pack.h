/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_PACK_H
#define SCKPT_PACK_H

#include "block.h"
#include "known.h"

/*
 * A pack: a header, blocks of pages back to back, then the index: an entry for
 * each block, then the digest of each page. Numbers are little-endian.
 */
#define PACK_MAGIC "sckpt-pk"
#define PACK_VERSION 1U

struct pack_header {
	char magic[8];
	uint32_t version;
	uint32_t page; /* IMAGE_PAGE */
};

struct pack_block {
	uint64_t offset; /* in the file */
	uint32_t stored; /* bytes there */
	uint16_t pages;
	uint8_t method; /* enum block_method */
	uint8_t zero;
	/* BLOCK_ZSTD: digest of the bytes there, for zstd does not look at every
	 * bit; BLOCK_STORED: 0, they are the pages. */
	uint64_t check;
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "write the conversions first");

/* A pack is closed at this many pages, so that what is not needed any more
 * is freed in pieces. */
#define PACK_PAGES_MAX (4U * KNOWN_CHUNK_PAGES)

/* ---- writing: one thread, one pack ------------------------------------ */

struct pack_writer;
/* Makes file `name`; it must not be there. */
struct pack_writer *pack_create(int dir, const char *name, struct err *e);
int pack_append(struct pack_writer *p, enum block_method method,
		const void *data, size_t size, unsigned pages, struct err *e);
/* Writes the index and makes all durable. digests(arg, n): of page n. */
int pack_finish(struct pack_writer *p,
		struct page_digest (*digest)(void *arg, uint32_t n), void *arg,
		struct image_pack *out, struct err *e);
/* Bytes on disk so far. */
uint64_t pack_size(const struct pack_writer *p);
/* Nanoseconds that a byte took lately until the disk had it; 0 unknown. */
double pack_store_ns(const struct pack_writer *p);
/* Closes; does not remove. */
void pack_close(struct pack_writer *p);

/* ---- reading ----------------------------------------------------------- */

struct pack_reader {
	int fd;
	struct image_pack pack;
	void *index; /* the end of the file */
	size_t index_size;
	const struct pack_block *blocks;
	const struct page_digest *digests;
	uint32_t *first; /* the first page of each block */
};

/* Opens it and checks its size, header and index. */
int pack_open(int dir, const struct image_pack *pack, struct pack_reader *p,
	      struct err *e);
void pack_reader_close(struct pack_reader *p);
/* The block that holds a page. */
uint32_t pack_block_of(const struct pack_reader *p, uint32_t page);
/* Reads [offset, offset + size) of the file. */
int pack_read(const struct pack_reader *p, uint64_t offset, size_t size,
	      void *to, struct err *e);

#endif
