/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What capabilities a core-*.img gives back. Criu has them from its parasite, in memory that
 * the user can write to meanwhile (parasite.c, dump_creds), and not from the kernel: it may be lied to,
 * and what it then wrote is sealed. At a restore it would leave a program what is named there of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "broker.h"

#define COMMON_MAGIC 0x54564319 /* criu/include/magic.h, IMG_COMMON_MAGIC */

/* images/core.proto, creds.proto: numbers of fields */
enum { CORE_THREAD = 5, THREAD_CREDS = 10, CREDS_INH = 9, CREDS_PRM, CREDS_EFF, CREDS_AMB = 19 };

/* A set is two words of 32 bits, the lower one first. */
static bool set_good(struct pb m, uint32_t field)
{
	struct numbers words = { .count = 0 };
	bool good = numbers_take(m, field, &words) == 0 && words.count <= 2;

	for (size_t i = 0; good && i < words.count; i++)
		good = !(words.list[i] >> 32) && !((words.list[i] << (i * 32)) & ~ALLOWED_CAPS);
	free(words.list);
	return good;
}

static bool creds_good(struct pb m)
{
	return set_good(m, CREDS_INH) && set_good(m, CREDS_PRM) && set_good(m, CREDS_EFF) &&
	       set_good(m, CREDS_AMB);
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
