/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_KNOWN_H
#define SCKPT_KNOWN_H

#include "digest.h"

/*
 * The pages that are in some pack, found by digest. Any number of threads
 * look up and add at once, without locks.
 *
 * A page has a number: that of its chunk, and its place there. A chunk is
 * filled by one thread and belongs to one pack, so that a page's place in the
 * pack follows from its number and takes no memory.
 */
#define KNOWN_CHUNK_PAGES 65536U
#define KNOWN_NONE UINT32_MAX

struct known_chunk {
	uint32_t pack, first; /* its first page is page number `first` there */
	uint32_t pages; /* filled so far */
	uint32_t number; /* its own, among all chunks */
	const struct page_digest *digests;
	bool owned; /* digests is ours to free */
};

struct known;
/* For about `pages` pages; more are kept as long as there is room. */
struct known *known_open(uint64_t pages, struct err *e);
void known_close(struct known *k);

/* Pages of a finished pack; the digests stay the caller's, and valid. */
int known_add_pack(struct known *k, uint32_t pack,
		   const struct page_digest *digests, uint32_t pages,
		   struct err *e);
/* A chunk to be filled by the calling thread; NULL without memory. It belongs
 * to k. */
struct known_chunk *known_chunk_new(struct known *k, uint32_t pack,
				    uint32_t first, struct err *e);
/*
 * Finds the page with this digest, or adds it to chunk, which has room; *added
 * tells which. after: the page that came before, or KNOWN_NONE: most pages are
 * where their neighbours are, and that is looked at first.
 */
uint32_t known_take(struct known *k, struct known_chunk *chunk,
		    struct page_digest d, uint32_t after, bool *added);
void known_place(const struct known *k, uint32_t page, uint32_t *pack,
		 uint32_t *number);

#endif
