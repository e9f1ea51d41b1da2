/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fuzz_set takes: this, then a pack, then a meta file or what is in it. */
#ifndef SCKPT_SET_INPUT_H
#define SCKPT_SET_INPUT_H

#include <stdint.h>

struct __attribute__((packed)) set_input {
	uint8_t flags;
	uint8_t blocks, pages; /* of the pack's index */
	uint8_t fill; /* pages put behind the pack's header */
	uint16_t pack_size; /* without those */
};

#define SET_MEND 1U /* the pack's digests are made right */
#define SET_PACKED 2U /* the meta file as it is */
#define SET_SERVE 4U /* the images by criu's way too */
#define SET_LEAVE 8U /* whose reader leaves */
#define SET_TWO 16U /* the pack counts twice, for two threads */
#define SET_SHORT 32U /* the last page is not full */
#define SET_RAGGED 64U /* the page list need not end with a run */

#define SET_LIE 128U /* one thing the manifest says is not so: which, by the
		    * byte behind the pack */

#define SET_CORE 20U /* bytes of metadata before the page list */
#define SET_FILL(i) ((uint8_t)((i) / 4096 + (i) % 251)) /* in the pages put there */

#endif
