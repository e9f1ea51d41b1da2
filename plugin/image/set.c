/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sckpt/image.h"

void image_set_free(struct image_set *set)
{
	free(set->items);
	free(set->packs);
	*set = (struct image_set){ .items = NULL };
}
