/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests of pages: XXH3 (libxxhash). */
#include <string.h>

#include <xxhash.h>

#include "digest.h"

void page_key_make(const uint8_t seed[IMAGE_SEED], struct page_key *key)
{
	uint8_t block[IMAGE_SEED + 1];

	_Static_assert(sizeof(key->secret) % IMAGE_SHA256 == 0, "whole blocks");
	_Static_assert(sizeof(key->secret) >= XXH3_SECRET_SIZE_MIN, "XXH3's least");
	memcpy(block, seed, IMAGE_SEED);
	for (size_t i = 0; i < sizeof(key->secret) / IMAGE_SHA256; i++) {
		block[IMAGE_SEED] = (uint8_t)i;
		image_sha256(block, sizeof(block), key->secret + i * IMAGE_SHA256);
	}
}

uint64_t bytes_check(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

struct page_digest page_digest(const struct page_key *key, const void *page)
{
	XXH128_hash_t h = XXH3_128bits_withSecret(page, IMAGE_PAGE, key->secret,
						  sizeof(key->secret));

	return (struct page_digest){ h.low64, h.high64 };
}
