/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading protobuf, as far as criu's messages need it: its wire format, see
 * protobuf.dev/programming-guides/encoding. */
#include <string.h>

#include "sckpt/base.h"

static const uint8_t *varint(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (int shift = 0; p < end && shift < 64; shift += 7) {
		*v |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80))
			return p;
	}
	return NULL;
}

int pb_number(struct pb *numbers, uint64_t *v)
{
	const uint8_t *p;

	if (numbers->at == numbers->end)
		return 0;
	if (!(p = varint(numbers->at, numbers->end, v)))
		return -1;
	numbers->at = p;
	return 1;
}

int pb_next(struct pb *m, struct pb_field *f)
{
	const uint8_t *p = m->at;
	uint64_t key;
	size_t size = 0;

	if (p == m->end)
		return 0;
	*f = (struct pb_field){ .number = 0 };
	if (!(p = varint(p, m->end, &key)))
		return -1;
	f->number = (uint32_t)(key >> 3);
	f->wire = key & 7;
	switch (f->wire) {
	case PB_VARINT:
		p = varint(p, m->end, &f->value);
		break;
	case PB_EIGHT:
		f->value = size = 8;
		f->data = p;
		break;
	case PB_BYTES:
		if (!(p = varint(p, m->end, &f->value)) ||
		    f->value > (uint64_t)(m->end - p))
			return -1;
		size = (size_t)f->value;
		f->data = p;
		break;
	case PB_FOUR:
		f->value = size = 4;
		f->data = p;
		break;
	default:
		return -1;
	}
	if (!p || size > (size_t)(m->end - p))
		return -1;
	m->at = p + size;
	return 1;
}

bool pb_find(struct pb m, uint32_t number, struct pb_field *f)
{
	struct pb_field next;
	bool found = false;

	while (pb_next(&m, &next) > 0)
		if (next.number == number) {
			*f = next;
			found = true;
		}
	return found;
}

int pb_message(struct pb *messages, struct pb *m)
{
	uint32_t size;

	if (messages->at == messages->end)
		return 0;
	if ((size_t)(messages->end - messages->at) < sizeof(size))
		return -1;
	memcpy(&size, messages->at, sizeof(size));
	messages->at += sizeof(size);
	if (size > (size_t)(messages->end - messages->at))
		return -1;
	*m = pb_of(messages->at, size);
	messages->at += size;
	return 1;
}

struct pb pb_of(const void *data, size_t size)
{
	const uint8_t *p = data;

	return (struct pb){ p, p + size };
}
