/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of numbers that are taken out of images. */
#include <stdlib.h>

#include "broker.h"

int numbers_add(struct numbers *n, uint64_t value)
{
	uint64_t *more = realloc(n->list, (n->count + 1) * sizeof(*more));

	if (!more)
		return -1;
	n->list = more;
	more[n->count++] = value;
	return 0;
}

int numbers_take(struct pb m, uint32_t field, struct numbers *n)
{
	struct pb_field f;
	uint64_t value;
	int rc;

	while ((rc = pb_next(&m, &f)) > 0) {
		struct pb packed;

		if (f.number != field)
			continue;
		if (f.wire == PB_VARINT && numbers_add(n, f.value) == 0)
			continue;
		if (f.wire != PB_BYTES)
			return -1;
		packed = pb_of(f.data, (size_t)f.value);
		while ((rc = pb_number(&packed, &value)) > 0)
			if (numbers_add(n, value) < 0)
				return -1;
		if (rc < 0)
			return -1;
	}
	return rc;
}
