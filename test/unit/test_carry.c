/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry.h"
#include "unit.h"

static void there_and_back(void **state)
{
	struct carry_extent extents[] = { { 0, 100 }, { 4096, 5000 } };
	const struct carry_entry in[] = {
		{ .kind = CARRY_ABOVE, .mode = 0700, .path = (char *)"/tmp/job" },
		{ .kind = CARRY_ROOT, .mode = 01777, .path = (char *)"/tmp/job/d" },
		{ .kind = CARRY_DIR, .mode = 0750, .gid = 7, .path = (char *)"a b\n%" },
		{ .kind = CARRY_FILE, .mode = 0440, .mtime_ns = INT64_C(1) << 60,
		  .size = 1 << 20, .path = (char *)"a b\n%/f", .extents = extents,
		  .extent_count = 2 },
		{ .kind = CARRY_LINK, .path = (char *)"l", .to = (char *)"../out of it" },
		{ .kind = CARRY_NAME, .path = (char *)"n", .to = (char *)"a b\n%/f" },
	};
	const size_t count = sizeof(in) / sizeof(in[0]);
	struct carry_list out;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	struct err e;

	(void)state;
	for (size_t i = 0; i < count; i++)
		assert_int_equal(carry_put(to, &in[i]), 0);
	fclose(to);
	assert_int_equal(carry_take(text, &out, &e), 0);
	assert_int_equal(out.count, count);
	for (size_t i = 0; i < count; i++) {
		const struct carry_entry *b = &out.list[i];

		assert_int_equal(b->kind, in[i].kind);
		assert_int_equal(b->mode, in[i].mode);
		assert_int_equal(b->gid, in[i].gid);
		assert_int_equal(b->mtime_ns, in[i].mtime_ns);
		assert_int_equal(b->size, in[i].size);
		assert_string_equal(b->path, in[i].path);
		assert_true(!b->to == !in[i].to);
		if (b->to)
			assert_string_equal(b->to, in[i].to);
		assert_int_equal(b->extent_count, in[i].extent_count);
	}
	assert_memory_equal(out.list[3].extents, extents, sizeof(extents));
	carry_free(&out);
	free(text);
}

static void what_makes_no_sense(void **state)
{
#define TOP "D 700 0 0 0 /tmp/d\n"
	static const char *const bad[] = {
		"f 600 0 0 0 a\n", /* below nothing */
		"D 700 0 0 0 tmp\n",
		"D 700 0 0 0 /\n",
		"D 700 0 0 0 /tmp/../etc\n",
		"a 700 0 0 0 /tmp/..\n",
		TOP "f 600 0 0 0 /etc/passwd\n",
		TOP "f 600 0 0 0 ../a\n",
		TOP "d 600 0 0 0 a/..\n",
		TOP "d 600 0 0 0 a//b\n",
		TOP "d 600 0 0 0 a/\n",
		TOP "d 600 0 0 0 .\n",
		TOP "d 600 0 0 0 a%2f..%2fb\n",
		TOP "d 600 0 0 0 a%00\n",
		TOP "d 600 0 0 0 a%2\n",
		TOP "d 600 0 0 0 \n",
		TOP "h 600 0 0 0 a ../b\n",
		TOP "h 600 0 0 0 a\n",
		TOP "l 600 0 0 0 a\n",
		TOP "f 600 0 0 0 a b\n",
		TOP "z 600 0 0 0 a\n",
		TOP "f 170000 0 0 0 a\n",
		TOP "f 600 0 0 -1 a\n",
		TOP "f 600 0 0\n",
		TOP "x 0 1\n",
		TOP "f 600 0 0 8192 a\nx 1 5\n", /* not at a page */
		TOP "f 600 0 0 8192 a\nx 0 8193\n",
		TOP "f 600 0 0 8192 a\nx 4096 9223372036854775807\n",
		TOP "f 600 0 0 8192 a\nx 4096 1\nx 0 1\n",
		TOP "f 600 0 0 8192 a\nx 0 0\n",
		TOP "f 600 0 0 8192 a\nx -4096 1\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text = strdup(bad[i]);
		struct carry_list out;
		struct err e;

		if (carry_take(text, &out, &e) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(e.text, "makes no sense"));
		carry_free(&out);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(what_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
