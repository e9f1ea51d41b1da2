/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a user can say to the broker. A byte: a statement (0), of which a seal says that it is
 * root's, but nothing more; or a request (1: dump, 2: restore), with the number of its
 * descriptors in the next byte; or what is in an image of a process (3), or in those of
 * its memory (4), with the size of the first in the next two bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "sckpt/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void statement(const char *text)
{
	struct statement s;
	char *again;

	if (statement_parse(text, &s) < 0)
		return;
	/* One text for one meaning. */
	if (!(again = statement_text(&s)) || strcmp(again, text))
		__builtin_trap();
	for (size_t i = 0; i < s.count; i++)
		if (!statement_name_good(s.list[i].name))
			__builtin_trap();
	free(again);
	statement_free(&s);
}

static void request(bool restore, int count, const uint8_t *text, size_t size)
{
	static struct broker_message m;
	struct criu_run run;
	int fds[FDS_MAX];
	struct err e;
	char **args;

	m = (struct broker_message){ .word = restore ? BROKER_RESTORE : BROKER_DUMP,
				     .count = (uint32_t)count, .size = (uint32_t)size };
	memcpy(m.text, text, size);
	for (int i = 0; i < FDS_MAX; i++)
		fds[i] = 100 + i;
	if (asked_take(&m, fds, restore ? count : 0, &run, &e) == 0) {
		/* One word of criu's for each file, and none that begins otherwise. */
		if (!(args = criu_args(&run, "criu", "images", false)))
			__builtin_trap();
		for (char **at = args + 1; *at; at++)
			if (at > args + 1 && **at != '-')
				__builtin_trap();
		criu_args_free(args);
	}
	criu_run_free(&run);
}

static void memory(const uint8_t *data, size_t size)
{
	size_t first = (size_t)(data[0] | data[1] << 8);
	uint64_t at, length;
	uint32_t pages;
	uint8_t *mm, *map;

	data += 2;
	size -= 2;
	if (first > size)
		first = size;
	/* For what reads behind them. */
	mm = malloc(first);
	map = malloc(size - first);
	memcpy(mm, data, first);
	memcpy(map, data + first, size - first);
	/* A piece of a file. */
	if (image_vdso(mm, first, map, size - first, &pages, &at, &length) == 0 && at + length < at)
		__builtin_trap();
	free(mm);
	free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 2 || size > BROKER_TEXT_MAX)
		return 0;
	if (data[0] == 4) {
		if (size >= 3)
			memory(data + 1, size - 1);
		return 0;
	}
	if (data[0] % 4 == 3) {
		struct err e;

		creds_look(data + 1, size - 1, &e);
		connections_look(data + 1, size - 1, &e);
		return 0;
	}
	if (data[0] % 4) {
		request(data[0] % 4 == 2, data[1] % FDS_MAX, data + 2, size - 2);
		return 0;
	}
	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	statement(text);
	free(text);
	return 0;
}
