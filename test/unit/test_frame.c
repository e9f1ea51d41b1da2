/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose words they are, in what srun passes on. */
#include <string.h>

#include "frame.h"
#include "unit.h"

#define TOKEN UINT32_C(0x0012cdef)

/* All of data through frames and back. */
static void there_and_back(const char *data, size_t size)
{
	char out[FRAME_SIZE], back[8192];
	size_t done = 0;
	struct frame f;

	while (done < size) {
		size_t n = frame_make(out, TOKEN, 9999, 3071, 1 + (int64_t)done,
				      data + done, size - done);

		assert_true(n > 0 && n <= size - done);
		/* slurmstepd must see one line. */
		assert_ptr_equal(memchr(out, '\n', FRAME_SIZE), out + FRAME_SIZE - 1);
		for (size_t i = 1; i < FRAME_SIZE; i++)
			assert_true(frame_begins(out, i, TOKEN));
		assert_true(frame_take(out, TOKEN, &f));
		assert_true(f.node == 9999 && f.stream == 3071 &&
			    f.at == 1 + (int64_t)done && f.size == n);
		memcpy(back + done, f.data, n);
		done += n;
	}
	assert_memory_equal(back, data, size);
}

static void any_bytes(void **state)
{
	char data[4096];

	(void)state;
	there_and_back("x", 1);
	there_and_back("line\n", 5);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	there_and_back(data, sizeof(data));
	/* Those that need two. */
	memset(data, '\n', sizeof(data));
	there_and_back(data, sizeof(data));
	memset(data, '\035', sizeof(data));
	there_and_back(data, sizeof(data));
}

static void nothing_else(void **state)
{
	char out[FRAME_SIZE];
	struct frame f = { .size = 0 };

	(void)state;
	frame_make(out, TOKEN, 1, 1, 0, "x", 1);
	assert_false(frame_take(out, TOKEN + 1, &f));
	assert_false(frame_begins(out, 9, TOKEN + 1));
	assert_false(frame_begins("x", 1, TOKEN));
	assert_false(frame_begins(out, 0, TOKEN));
	for (size_t i = 0; i < FRAME_SIZE; i++) {
		char was = out[i];

		/* It is taken apart as something or nothing, and not beyond its end. */
		out[i] = '\035';
		frame_take(out, TOKEN, &f);
		assert_true(f.size < sizeof(f.data));
		out[i] = was;
	}
	/* Without its end. */
	memset(out + 17, 'x', FRAME_SIZE - 18);
	assert_false(frame_take(out, TOKEN, &f));
	out[9] = 'x';
	assert_false(frame_take(out, TOKEN, &f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_bytes),
		cmocka_unit_test(nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
