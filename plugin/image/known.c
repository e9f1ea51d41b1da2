/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An open hash table of page numbers; digests are kept beside it, in order. */
#include <string.h>

#include "known.h"
#include "memory.h"

#define CHUNKS_MAX 65535U
#define CHUNK_SIZE (KNOWN_CHUNK_PAGES * sizeof(struct page_digest))
/* A chunk's memory is populated in steps: most programs are small. */
#define STEP_PAGES 4096U
/* Slots are 32 bits. Beyond 3/4 full nothing is added: a page is then stored
 * once more, no harm. */
#define FULL(slots) ((slots) / 4 * 3)

struct known {
	uint32_t *slots; /* page number + 1; 0: free */
	uint64_t mask;
	uint64_t used;
	uint32_t chunk_count;
	struct known_chunk *chunks[CHUNKS_MAX];
};

struct known *known_open(uint64_t pages, struct err *e)
{
	struct known *k = calloc(1, sizeof(*k));
	uint64_t slots = 1024;

	while (slots < pages + pages / 2 && slots < (UINT64_C(1) << 31))
		slots *= 2;
	if (k)
		k->slots = memory_get(slots * sizeof(*k->slots));
	if (!k || !k->slots) {
		free(k);
		err_set(e, "no memory for the digests of %ju pages",
			(uintmax_t)pages);
		return NULL;
	}
	k->mask = slots - 1;
	return k;
}

void known_close(struct known *k)
{
	if (!k)
		return;
	for (uint32_t i = 0; i < k->chunk_count; i++) {
		if (k->chunks[i]->owned)
			memory_put((void *)k->chunks[i]->digests, CHUNK_SIZE);
		free(k->chunks[i]);
	}
	memory_put(k->slots, (k->mask + 1) * sizeof(*k->slots));
	free(k);
}

/* The chunk's number is the high half of its pages' numbers. */
static int attach(struct known *k, struct known_chunk *chunk, struct err *e)
{
	uint32_t n = __atomic_fetch_add(&k->chunk_count, 1, __ATOMIC_ACQ_REL);

	if (n >= CHUNKS_MAX) {
		__atomic_fetch_sub(&k->chunk_count, 1, __ATOMIC_ACQ_REL);
		return err_set(e, "more than %llu pages",
			       CHUNKS_MAX * (unsigned long long)KNOWN_CHUNK_PAGES);
	}
	chunk->number = n;
	__atomic_store_n(&k->chunks[n], chunk, __ATOMIC_RELEASE);
	return 0;
}

static struct page_digest digest_of(const struct known *k, uint32_t page)
{
	return k->chunks[page / KNOWN_CHUNK_PAGES]
		->digests[page % KNOWN_CHUNK_PAGES];
}

/* The slot that holds d, or the free one where it belongs. */
static uint64_t probe(const struct known *k, struct page_digest d,
		      uint64_t from, uint32_t *page)
{
	for (uint64_t at = from & k->mask;; at = (at + 1) & k->mask) {
		uint32_t slot = __atomic_load_n(&k->slots[at], __ATOMIC_ACQUIRE);

		if (!slot) {
			*page = KNOWN_NONE;
			return at;
		}
		if (page_same(digest_of(k, slot - 1), d)) {
			*page = slot - 1;
			return at;
		}
	}
}

/* The page at this digest's place: `page`, unless another thread or an earlier
 * page was first. */
static uint32_t settle(struct known *k, struct page_digest d, uint32_t page)
{
	uint64_t at = d.low;
	uint32_t found, none;

	if (__atomic_load_n(&k->used, __ATOMIC_RELAXED) >= FULL(k->mask + 1)) {
		probe(k, d, at, &found);
		return found == KNOWN_NONE ? page : found;
	}
	for (;;) {
		at = probe(k, d, at, &found);
		if (found != KNOWN_NONE)
			return found;
		none = 0;
		if (__atomic_compare_exchange_n(&k->slots[at], &none, page + 1,
						false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE)) {
			__atomic_fetch_add(&k->used, 1, __ATOMIC_RELAXED);
			return page;
		}
	}
}

int known_add_pack(struct known *k, uint32_t pack,
		   const struct page_digest *digests, uint32_t pages,
		   struct err *e)
{
	for (uint32_t first = 0; first < pages; first += KNOWN_CHUNK_PAGES) {
		struct known_chunk *c = calloc(1, sizeof(*c));

		if (!c)
			return err_set(e, "no memory for digests");
		c->pack = pack;
		c->first = first;
		c->pages = pages - first < KNOWN_CHUNK_PAGES ?
				   pages - first :
				   KNOWN_CHUNK_PAGES;
		c->digests = digests + first;
		if (attach(k, c, e) < 0) {
			free(c);
			return -1;
		}
		for (uint32_t i = 0; i < c->pages; i++)
			settle(k, c->digests[i],
			       c->number * KNOWN_CHUNK_PAGES + i);
	}
	return 0;
}

struct known_chunk *known_chunk_new(struct known *k, uint32_t pack,
				    uint32_t first, struct err *e)
{
	struct known_chunk *c = calloc(1, sizeof(*c));

	if (c) {
		c->pack = pack;
		c->first = first;
		c->owned = true;
		c->digests = memory_reserve(CHUNK_SIZE);
	}
	if (!c || !c->digests) {
		free(c);
		err_set(e, "no memory for digests");
		return NULL;
	}
	if (attach(k, c, e) < 0) {
		memory_put((void *)c->digests, CHUNK_SIZE);
		free(c);
		return NULL;
	}
	return c;
}

/* In packs that were there before; those being filled belong to their threads. */
static bool follows(const struct known *k, uint32_t page, struct page_digest d)
{
	uint32_t next = page % KNOWN_CHUNK_PAGES + 1;
	const struct known_chunk *c;

	if (page == KNOWN_NONE)
		return false;
	c = k->chunks[page / KNOWN_CHUNK_PAGES];
	return !c->owned && next < c->pages && page_same(c->digests[next], d);
}

uint32_t known_take(struct known *k, struct known_chunk *chunk,
		    struct page_digest d, uint32_t after, bool *added)
{
	uint32_t number = chunk->number * KNOWN_CHUNK_PAGES + chunk->pages;
	uint32_t found;

	*added = false;
	if (follows(k, after, d))
		return after + 1;
	if (chunk->pages % STEP_PAGES == 0)
		memory_populate((struct page_digest *)chunk->digests + chunk->pages,
				STEP_PAGES * sizeof(d));
	((struct page_digest *)chunk->digests)[chunk->pages] = d;
	found = settle(k, d, number);
	*added = found == number;
	if (*added)
		chunk->pages++;
	return found;
}

void known_place(const struct known *k, uint32_t page, uint32_t *pack,
		 uint32_t *number)
{
	const struct known_chunk *c = k->chunks[page / KNOWN_CHUNK_PAGES];

	*pack = c->pack;
	*number = c->first + page % KNOWN_CHUNK_PAGES;
}
