/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_DIGEST_H
#define SCKPT_DIGEST_H

#include "sckpt/image.h"

/* Once, before threads are made. */
int digest_begin(struct err *e);

/* SHA-256, for what a seal stands for. */
struct sha256;
struct sha256 *sha256_open(struct err *e);
void sha256_add(struct sha256 *s, const void *data, size_t size);
/* Closes it, too. */
void sha256_end(struct sha256 *s, uint8_t out[IMAGE_SHA256]);

/* XXH3 with 64 bits: against damage, not against anybody. */
uint64_t bytes_check(const void *data, size_t size);

/*
 * A page's digest: XXH3 with 128 bits, and a secret that is made from the
 * set's random seed. Without knowing the seed nobody whose data the program
 * handles can make two pages of one digest.
 */
struct page_digest {
	uint64_t low, high;
};

struct page_key {
	uint8_t secret[192];
};

void page_key_make(const uint8_t seed[IMAGE_SEED], struct page_key *key);
struct page_digest page_digest(const struct page_key *key, const void *page);

static inline bool page_same(struct page_digest a, struct page_digest b)
{
	return a.low == b.low && a.high == b.high;
}

#endif
