/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What capabilities a core-*.img gives back. Criu has them from its parasite, in memory that
 * the user can write to meanwhile (parasite.c, dump_creds), and not from the kernel: it may be lied to,
 * and what it then wrote is sealed. At a restore it would leave a program what is named there of its own.
 */
#include <string.h>

#include "broker.h"

#define COMMON_MAGIC 0x54564319 /* criu/include/magic.h, IMG_COMMON_MAGIC */

/* images/core.proto, creds.proto: numbers of fields */
enum { CORE_THREAD = 5, THREAD_CREDS = 10, CREDS_INH = 9, CREDS_PRM, CREDS_EFF, CREDS_AMB = 19 };

/* One word of 32 bits of a set, in turn. */
static bool word_good(unsigned *words, uint64_t word)
{
	unsigned shift = (*words)++ * 32;

	return shift < 64 && !(word >> 32) && !((word << shift) & ~ALLOWED_CAPS);
}

static bool creds_good(struct pb m)
{
	unsigned words[CREDS_AMB + 1] = { 0 };
	struct pb_field f;
	uint64_t word;
	int rc;

	while ((rc = pb_next(&m, &f)) > 0) {
		struct pb set;

		if (f.number != CREDS_INH && f.number != CREDS_PRM && f.number != CREDS_EFF &&
		    f.number != CREDS_AMB)
			continue;
		if (f.wire == PB_VARINT) {
			if (!word_good(&words[f.number], f.value))
				return false;
			continue;
		}
		if (f.wire != PB_BYTES)
			return false;
		set = pb_of(f.data, (size_t)f.value);
		while ((rc = pb_number(&set, &word)) > 0)
			if (!word_good(&words[f.number], word))
				return false;
		if (rc < 0)
			return false;
	}
	return rc == 0;
}

/* The messages of that number in another one. */
static bool each_good(struct pb m, uint32_t number, bool (*good)(struct pb))
{
	struct pb_field f;
	int rc;

	while ((rc = pb_next(&m, &f)) > 0)
		if (f.number == number &&
		    (f.wire != PB_BYTES || !good(pb_of(f.data, (size_t)f.value))))
			return false;
	return rc == 0;
}

static bool thread_good(struct pb m)
{
	return each_good(m, THREAD_CREDS, creds_good);
}

int creds_look(const uint8_t *image, size_t size, struct err *e)
{
	struct pb entries, entry;
	uint32_t magic = 0;
	int rc;

	if (size >= MAGICS)
		memcpy(&magic, image, sizeof(magic));
	if (magic != COMMON_MAGIC)
		return err_set(e, "an image of a process is not understood");
	entries = pb_of(image + MAGICS, size - MAGICS);
	while ((rc = pb_message(&entries, &entry)) > 0)
		if (!each_good(entry, CORE_THREAD, thread_good))
			return err_set(e, "an image would give its process capabilities that it cannot have had");
	return rc < 0 ? err_set(e, "an image of a process is not understood") : 0;
}
