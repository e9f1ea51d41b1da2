/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What capabilities a core-*.img gives back. Criu has them from its parasite, in memory that
 * the user can write to meanwhile (parasite.c, dump_creds), and not from the kernel: it may be lied to,
 * and what it then wrote is sealed. At a restore it would leave a program what is named there of its own.
 */
#include <string.h>

#include "broker.h"

#define COMMON_MAGIC 0x54564319 /* criu/include/magic.h, IMG_COMMON_MAGIC */
#define MAGICS 8 /* that one, and the kind's */

/* images/core.proto, creds.proto: numbers of fields */
enum { CORE_THREAD = 5, THREAD_CREDS = 10, CREDS_INH = 9, CREDS_PRM, CREDS_EFF, CREDS_AMB = 19 };
enum { VARINT = 0, EIGHT = 1, BYTES = 2, FOUR = 5 };

struct bytes {
	const uint8_t *at, *end;
};

struct field {
	uint64_t number, value;
	unsigned wire;
	struct bytes inside;
};

static bool take_number(struct bytes *b, uint64_t *n)
{
	*n = 0;
	for (unsigned shift = 0; shift < 64 && b->at < b->end; shift += 7) {
		*n |= (uint64_t)(*b->at & 127) << shift;
		if (!(*b->at++ & 128))
			return true;
	}
	return false;
}

static bool take_bytes(struct bytes *b, uint64_t size, struct bytes *inside)
{
	if (size > (uint64_t)(b->end - b->at))
		return false;
	*inside = (struct bytes){ b->at, b->at + size };
	b->at += size;
	return true;
}

static bool take_field(struct bytes *b, struct field *f)
{
	uint64_t key;

	if (!take_number(b, &key))
		return false;
	f->number = key >> 3;
	f->wire = key & 7;
	switch (f->wire) {
	case VARINT:
		return take_number(b, &f->value);
	case EIGHT:
		return take_bytes(b, 8, &f->inside);
	case BYTES:
		return take_number(b, &f->value) && take_bytes(b, f->value, &f->inside);
	case FOUR:
		return take_bytes(b, 4, &f->inside);
	default:
		return false;
	}
}

/* One word of 32 bits of a set, in turn. */
static bool word_good(unsigned *words, uint64_t word)
{
	unsigned shift = (*words)++ * 32;

	return shift < 64 && !(word >> 32) && !((word << shift) & ~ALLOWED_CAPS);
}

static bool creds_good(struct bytes b)
{
	unsigned words[CREDS_AMB + 1] = { 0 };
	struct field f;

	while (b.at < b.end) {
		uint64_t word;

		if (!take_field(&b, &f))
			return false;
		if (f.number != CREDS_INH && f.number != CREDS_PRM && f.number != CREDS_EFF &&
		    f.number != CREDS_AMB)
			continue;
		if (f.wire == VARINT) {
			if (!word_good(&words[f.number], f.value))
				return false;
			continue;
		}
		if (f.wire != BYTES)
			return false;
		while (f.inside.at < f.inside.end)
			if (!take_number(&f.inside, &word) || !word_good(&words[f.number], word))
				return false;
	}
	return true;
}

/* The messages of that number in another one. */
static bool each_good(struct bytes b, uint64_t number, bool (*good)(struct bytes))
{
	struct field f;

	while (b.at < b.end)
		if (!take_field(&b, &f) ||
		    (f.number == number && (f.wire != BYTES || !good(f.inside))))
			return false;
	return true;
}

static bool thread_good(struct bytes b)
{
	return each_good(b, THREAD_CREDS, creds_good);
}

int creds_look(const uint8_t *image, size_t size, struct err *e)
{
	struct bytes b = { image, image + size }, entry;
	uint32_t n = 0;

	if (size >= MAGICS)
		memcpy(&n, image, sizeof(n));
	if (n != COMMON_MAGIC)
		return err_set(e, "an image of a process is not understood");
	b.at += MAGICS;
	while (b.at < b.end) {
		if (b.end - b.at < (ptrdiff_t)sizeof(n))
			return err_set(e, "an image of a process is not understood");
		memcpy(&n, b.at, sizeof(n));
		b.at += sizeof(n);
		if (!take_bytes(&b, n, &entry) || !each_good(entry, CORE_THREAD, thread_good))
			return err_set(e, "an image would give its process capabilities that it cannot have had");
	}
	return 0;
}
