/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packing blocks of pages: zstd, or not at all. */
#include <string.h>

#include <zstd.h>

#include "block.h"

/* Less gained than this is not worth the unpacking: 1/16. */
#define WORTH(size) ((size) - (size) / 16)
/* After failures in a row this many blocks are stored unseen, then twice as
 * many, up to the most. */
#define PASS_MOST 32U
#define HURRIED_TRY 16U

struct block_coder {
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
	unsigned pass, pass_next;
	/* Of the last blocks that were tried: time a byte took, and what was
	 * left of it. */
	double ns, left;
	unsigned hurried; /* blocks since one was tried */
	uint8_t out[ZSTD_COMPRESSBOUND(BLOCK_SIZE)];
};

struct block_coder *block_coder_open(int level, struct err *e)
{
	struct block_coder *c = malloc(sizeof(*c));

	if (!c)
		goto fail;
	c->cctx = NULL;
	c->pass = c->pass_next = c->hurried = 0;
	c->ns = c->left = 0;
	if (!(c->dctx = ZSTD_createDCtx()))
		goto fail;
	if (level > 0 && (!(c->cctx = ZSTD_createCCtx()) ||
			  ZSTD_isError(ZSTD_CCtx_setParameter(
				  c->cctx, ZSTD_c_compressionLevel, level))))
		goto fail;
	return c;
fail:
	block_coder_close(c);
	err_set(e, "no memory to compress");
	return NULL;
}

void block_coder_close(struct block_coder *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->cctx);
	ZSTD_freeDCtx(c->dctx);
	free(c);
}

/* Content and machine change: the last measure counts for a quarter. */
static double blend(double old, double new)
{
	return old > 0 ? old + (new - old) / 4 : new;
}

/* Is a byte stored sooner as it is than packed? One in HURRIED_TRY is tried all
 * the same, to know. */
static bool sooner_plain(struct block_coder *c, double store_ns)
{
	if (store_ns <= 0 || c->ns <= 0 ||
	    c->ns + c->left * store_ns <= store_ns)
		return false;
	return ++c->hurried % HURRIED_TRY != 0;
}

size_t block_pack(struct block_coder *c, const void *data, size_t size,
		  double hurry_ns, enum block_method *method, const void **out)
{
	int64_t begin;
	size_t n;

	*method = BLOCK_STORED;
	*out = data;
	if (!c->cctx)
		return size;
	if (c->pass > 0) {
		c->pass--;
		return size;
	}
	if (sooner_plain(c, hurry_ns))
		return size;
	begin = clock_ns(CLOCK_MONOTONIC);
	n = ZSTD_compress2(c->cctx, c->out, sizeof(c->out), data, size);
	c->ns = blend(c->ns, (double)(clock_ns(CLOCK_MONOTONIC) - begin) /
					 (double)size);
	if (ZSTD_isError(n) || n > WORTH(size)) {
		c->left = blend(c->left, 1);
		c->pass_next = c->pass_next ? c->pass_next * 2 : 1;
		if (c->pass_next > PASS_MOST)
			c->pass_next = PASS_MOST;
		c->pass = c->pass_next;
		return size;
	}
	c->left = blend(c->left, (double)n / (double)size);
	c->pass_next = 0;
	*method = BLOCK_ZSTD;
	*out = c->out;
	return n;
}

bool block_packs(const struct block_coder *c)
{
	return c->ns > 0 && c->pass_next == 0;
}

int block_unpack(struct block_coder *c, enum block_method method,
		 const void *data, size_t stored, void *to, size_t size,
		 struct err *e)
{
	size_t n;

	switch (method) {
	case BLOCK_STORED:
		if (stored != size)
			return err_set(e, "a block has %zu bytes for %zu",
				       stored, size);
		memcpy(to, data, size);
		return 0;
	case BLOCK_ZSTD:
		n = ZSTD_decompressDCtx(c->dctx, to, size, data, stored);
		if (ZSTD_isError(n))
			return err_set(e, "a block is damaged: %s",
				       ZSTD_getErrorName(n));
		return n == size ? 0 :
				   err_set(e, "a block holds %zu bytes for %zu",
					   n, size);
	}
	return err_set(e, "a block is packed in an unknown way (%d)",
		       (int)method);
}
