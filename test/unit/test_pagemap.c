/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page maps, written here as criu writes them. */
#include <stdio.h>
#include <sys/mman.h>

#include "image/pagemap.h"
#include "unit.h"

#define PAGE ((uint64_t)IMAGE_PAGE)
/* Pages; all numbers below are in units of what is left out at least. */
#define UNIT PAGEMAP_OMIT_LEAST
#define PRESENT 6U /* and may be restored lazily */
#define ANON 0x201U /* status: regular, private anonymous */
#define FILE_PRIVATE 0x41U

static void put(struct bytes *b, uint32_t number, uint64_t v)
{
	uint8_t key = (uint8_t)(number << 3), byte;

	bytes_add(b, &key, 1, NULL);
	do {
		byte = (uint8_t)((v & 0x7f) | (v >= 0x80 ? 0x80 : 0));
		bytes_add(b, &byte, 1, NULL);
	} while (v >>= 7);
}

static void put_message(struct bytes *b, const struct bytes *m)
{
	uint32_t size = (uint32_t)m->size;

	bytes_add(b, &size, 4, NULL);
	bytes_add(b, m->data, m->size, NULL);
	free(m->data);
}

static void put_mapping(struct bytes *mm, uint64_t from, uint64_t to,
			uint32_t flags, uint32_t status)
{
	struct bytes v = { NULL, 0, 0 };
	uint8_t head[2] = { 14 << 3 | 2, 0 };

	put(&v, 1, from * UNIT * PAGE);
	put(&v, 2, to * UNIT * PAGE);
	put(&v, 6, flags);
	put(&v, 7, status);
	assert_true(v.size < 128);
	head[1] = (uint8_t)v.size;
	bytes_add(mm, head, 2, NULL);
	bytes_add(mm, v.data, v.size, NULL);
	free(v.data);
}

/* mm-PID.img, of these mappings, which are freed. */
static struct bytes mm_of(const struct bytes *mappings)
{
	const uint32_t magic[2] = { 0x54564319, 0x57492820 };
	struct bytes image = { NULL, 0, 0 }, m = { NULL, 0, 0 };

	put(&m, 1, 0x1000);
	bytes_add(&m, mappings->data, mappings->size, NULL);
	free(mappings->data);
	bytes_add(&image, magic, sizeof(magic), NULL);
	put_message(&image, &m);
	return image;
}

/* Pages 10 to 40 may be left out, 50 to 60 are a file's, 70 to 80 too huge. */
static struct bytes make_mm(void)
{
	const uint32_t private = MAP_PRIVATE | MAP_ANONYMOUS;
	struct bytes m = { NULL, 0, 0 };

	put_mapping(&m, 10, 20, private, ANON);
	put_mapping(&m, 20, 40, private, ANON | 0x20);
	put_mapping(&m, 50, 60, MAP_PRIVATE, FILE_PRIVATE);
	put_mapping(&m, 70, 80, private | MAP_HUGETLB, ANON);
	return mm_of(&m);
}

struct entry {
	uint64_t page, pages;
};

static struct bytes make_map(const struct entry *n, bool wide, uint32_t flags)
{
	const uint32_t magic[2] = { 0x54564319, 0x56084025 };
	struct bytes image = { NULL, 0, 0 }, m = { NULL, 0, 0 };

	put(&m, 1, 7);
	bytes_add(&image, magic, sizeof(magic), NULL);
	put_message(&image, &m);
	for (; n->pages; n++) {
		m = (struct bytes){ NULL, 0, 0 };
		put(&m, 1, n->page * UNIT * PAGE);
		put(&m, 2, wide ? 0 : n->pages * UNIT);
		put(&m, 4, flags);
		if (wide)
			put(&m, 5, n->pages * UNIT);
		put_message(&image, &m);
	}
	return image;
}

static int64_t tidy(const struct bytes *map, struct meta_run *runs, size_t count,
		    struct bytes *out)
{
	struct meta_run *list[16];
	struct bytes mm = make_mm();
	struct err e;
	int64_t n;

	for (size_t i = 0; i < count; i++)
		list[i] = &runs[i];
	*out = (struct bytes){ NULL, 0, 0 };
	n = pagemap_tidy(mm.data, mm.size, map->data, map->size, list, count, out, &e);
	free(mm.data);
	return n;
}

static void leaves_out(bool wide)
{
	const struct entry was[] = { { 8, 6 }, { 16, 10 }, { 38, 2 }, { 52, 4 },
				     { 70, 2 }, { 0, 0 } };
	/* 8 to 9 are in no mapping, 18 and 19 and 24 hold something. */
	const struct entry is[] = { { 8, 2 }, { 18, 2 }, { 24, 1 }, { 52, 4 },
				    { 70, 2 }, { 0, 0 } };
	struct meta_run runs[] = { { META_ZERO, 0, 8 * UNIT }, { 3, 100, 2 * UNIT },
				   { META_ZERO, 0, 4 * UNIT }, { 3, 7, UNIT },
				   { META_ZERO, 0, UNIT }, { META_ZERO, 0, 8 * UNIT } };
	const uint32_t left[] = { 2 * UNIT, 2 * UNIT, 0, UNIT, 0, 6 * UNIT };
	struct bytes map = make_map(was, wide, PRESENT), out;
	struct bytes want = make_map(is, wide, PRESENT);
	uint32_t id;

	assert_true(pagemap_pages_id(map.data, map.size, &id));
	assert_int_equal(id, 7);
	assert_int_equal(tidy(&map, runs, 6, &out), (6 + 4 + 1 + 2) * UNIT);
	for (int i = 0; i < 6; i++)
		assert_int_equal(runs[i].count, left[i]);
	assert_int_equal(out.size, want.size);
	assert_memory_equal(out.data, want.data, want.size);
	free(map.data);
	free(out.data);
	free(want.data);
}

static void leaves_out_of_both_forms(void **state)
{
	(void)state;
	leaves_out(false);
	leaves_out(true);
}

/* A piece between two gaps would cost more than the zeros. */
static void short_runs_stay(void **state)
{
	const struct entry n[] = { { 10, 4 }, { 0, 0 } };
	struct meta_run runs[] = { { 3, 0, UNIT }, { META_ZERO, 0, UNIT - 1 },
				   { 3, UNIT, 2 * UNIT + 1 } };
	struct meta_run parts[] = { { 3, 0, UNIT }, { META_ZERO, 0, 1 },
				    { META_ZERO, 0, UNIT - 2 }, { META_ZERO, 0, 1 },
				    { META_ZERO, 0, 1 }, { 3, UNIT, 2 * UNIT - 1 } };
	struct bytes map = make_map(n, true, PRESENT), out;

	(void)state;
	assert_int_equal(tidy(&map, runs, 3, &out), 0);
	assert_int_equal(runs[1].count, UNIT - 1);
	free(out.data);
	/* One that is long enough, in parts. */
	assert_int_equal(tidy(&map, parts, 6, &out), UNIT + 1);
	for (int i = 1; i < 5; i++)
		assert_int_equal(parts[i].count, 0);
	free(map.data);
	free(out.data);
}

/* Criu's entries end where its pipes do. */
static void joins_what_follows(void **state)
{
	const struct entry was[] = { { 10, 2 }, { 12, 3 }, { 15, 1 }, { 20, 2 }, { 22, 2 },
				     { 0, 0 } };
	const struct entry is[] = { { 10, 6 }, { 20, 4 }, { 0, 0 } };
	struct meta_run runs[] = { { 3, 0, 10 * UNIT } };
	struct bytes map = make_map(was, true, PRESENT), out;
	struct bytes want = make_map(is, true, PRESENT);

	(void)state;
	assert_int_equal(tidy(&map, runs, 1, &out), 0);
	assert_int_equal(runs[0].count, 10 * UNIT);
	assert_int_equal(out.size, want.size);
	assert_memory_equal(out.data, want.data, want.size);
	free(map.data);
	free(out.data);
	free(want.data);
}

/* Then nothing is changed. */
static void lets_alone_what_it_does_not_know(void **state)
{
	const struct entry n[] = { { 10, 4 }, { 0, 0 } };
	const struct entry back[] = { { 12, 2 }, { 10, 2 }, { 0, 0 } };
	struct meta_run runs[] = { { META_ZERO, 0, 4 * UNIT } };
	struct meta_run few[] = { { META_ZERO, 0, 3 * UNIT } };
	struct bytes map, out;

	(void)state;
	for (int i = 0; i < 6; i++) {
		map = i == 1 ? make_map(back, true, PRESENT) :
			       make_map(n, true, i == 0 ? 1 : PRESENT);
		if (i == 3)
			map.data[4] ^= 1; /* the magic */
		if (i == 4)
			map.size--;
		if (i == 5)
			map.size = 3;
		assert_int_equal(tidy(&map, i == 2 ? few : runs, 1, &out), 0);
		assert_int_equal(runs[0].count, 4 * UNIT);
		assert_int_equal(few[0].count, 3 * UNIT);
		assert_int_equal(out.size, 0);
		free(map.data);
		free(out.data);
	}
}

/* What a vDSO is made of, at 60 to 62, and where its pages are. */
static int vdso(const struct entry *n, unsigned count, uint64_t *at, uint64_t *size)
{
	struct bytes m = { NULL, 0, 0 }, map = make_map(n, true, PRESENT), mm;
	uint32_t pages = 0;
	int rc;

	put_mapping(&m, 10, 20, MAP_PRIVATE | MAP_ANONYMOUS, ANON);
	for (unsigned i = 0; i < count; i++)
		put_mapping(&m, 60 + i * 4, 62 + i * 4, MAP_PRIVATE | MAP_ANONYMOUS, ANON | 8);
	mm = mm_of(&m);
	rc = image_vdso(mm.data, mm.size, map.data, map.size, &pages, at, size);
	if (rc == 0)
		assert_int_equal(pages, 7);
	free(mm.data);
	free(map.data);
	return rc;
}

static void finds_the_vdso(void **state)
{
	static const struct entry alone[] = { { 10, 3 }, { 60, 2 }, { 70, 1 }, { 0, 0 } };
	static const struct entry joined[] = { { 10, 3 }, { 58, 3 }, { 61, 9 }, { 0, 0 } };
	static const struct entry half[] = { { 10, 3 }, { 60, 1 }, { 0, 0 } };
	static const struct entry hole[] = { { 10, 3 }, { 61, 1 }, { 0, 0 } };
	static const struct entry none[] = { { 10, 3 }, { 70, 1 }, { 0, 0 } };
	static const struct entry back[] = { { 60, 2 }, { 10, 3 }, { 0, 0 } };
	uint64_t at, size;

	(void)state;
	assert_int_equal(vdso(alone, 1, &at, &size), 0);
	assert_int_equal(at, 3 * UNIT * PAGE);
	assert_int_equal(size, 2 * UNIT * PAGE);
	assert_int_equal(vdso(joined, 1, &at, &size), 0);
	assert_int_equal(at, 5 * UNIT * PAGE);
	assert_int_equal(size, 2 * UNIT * PAGE);
	assert_int_equal(vdso(alone, 0, &at, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(vdso(alone, 2, &at, &size), -1);
	assert_int_equal(vdso(half, 1, &at, &size), -1);
	assert_int_equal(vdso(hole, 1, &at, &size), -1);
	assert_int_equal(vdso(none, 1, &at, &size), -1);
	assert_int_equal(vdso(back, 1, &at, &size), -1);
}

/* Of a private mapping at 10 to 20, one that is shared at 20 to 30, and pages of both. */
static int place(uint64_t address, size_t bytes, uint64_t *at)
{
	static const struct entry n[] = { { 9, 3 }, { 14, 2 }, { 25, 1 }, { 0, 0 } };
	struct bytes m = { NULL, 0, 0 }, map = make_map(n, true, PRESENT), mm;
	uint32_t pages = 0;
	int rc;

	put_mapping(&m, 10, 20, MAP_PRIVATE | MAP_ANONYMOUS, ANON);
	put_mapping(&m, 20, 30, MAP_SHARED | MAP_ANONYMOUS, 1 | 1 << 8);
	mm = mm_of(&m);
	rc = image_place(mm.data, mm.size, map.data, map.size, address, bytes, &pages, at);
	if (rc == 1)
		assert_int_equal(pages, 7);
	free(mm.data);
	free(map.data);
	return rc;
}

static void finds_a_place(void **state)
{
	const uint64_t unit = UNIT * PAGE;
	uint64_t at = 0;

	(void)state;
	assert_int_equal(place(10 * unit + 40, 8, &at), 1);
	assert_int_equal(at, unit + 40);
	assert_int_equal(place(15 * unit + 8, 8, &at), 1);
	assert_int_equal(at, 4 * unit + 8);
	/* No page of it. */
	assert_int_equal(place(13 * unit, 8, &at), 0);
	/* Nobody's, in part, or others', too. */
	assert_int_equal(place(9 * unit, 8, &at), -2);
	assert_int_equal(place(10 * unit - 4, 8, &at), -2);
	assert_int_equal(place(20 * unit - 4, 8, &at), -2);
	assert_int_equal(place(25 * unit, 8, &at), -2);
	assert_int_equal(place(UINT64_MAX - 3, 8, &at), -2);
	/* On two pages. */
	assert_int_equal(place(10 * unit + PAGE - 4, 8, &at), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_out_of_both_forms),
		cmocka_unit_test(short_runs_stay),
		cmocka_unit_test(joins_what_follows),
		cmocka_unit_test(finds_the_vdso),
		cmocka_unit_test(finds_a_place),
		cmocka_unit_test(lets_alone_what_it_does_not_know),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
