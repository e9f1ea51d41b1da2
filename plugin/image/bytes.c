/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bytes.h"

int bytes_add(struct bytes *b, const void *data, size_t size, struct err *e)
{
	if (b->room - b->size < size) {
		size_t room = (b->size + size) * 2;
		uint8_t *more = realloc(b->data, room);

		if (!more)
			return err_set(e, "no memory for metadata");
		b->data = more;
		b->room = room;
	}
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	return 0;
}
