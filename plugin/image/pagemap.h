/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_PAGEMAP_H
#define SCKPT_PAGEMAP_H

#include "bytes.h"
#include "meta.h"

/* A process's images: mm-PID.img (its mappings) and pagemap-PID.img (which of
 * its pages are in pages-N.img, in order). */

/* The N of pages-N.img; false when it is no page map. */
bool pagemap_pages_id(const void *map, size_t size, uint32_t *id);

/* Pages; fewer zeros in a row are left where they are. */
#define PAGEMAP_OMIT_LEAST 16

/*
 * Writes to *out, empty, the page map without the pages of zeros that a fresh
 * anonymous mapping has of itself, with entries that follow one another joined; and takes those
 * pages from the runs, which are the pages of pages-N.img; a run's count may become 0. Returns how
 * many pages it left out. When the images are not what is expected, *out stays
 * empty, and the runs are as they were. -1: no memory.
 */
int64_t pagemap_tidy(const void *mm, size_t mm_size, const void *map, size_t map_size,
		     struct meta_run *runs[], size_t run_count, struct bytes *out,
		     struct err *e);

#endif
