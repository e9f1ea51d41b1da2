/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the broker believes of what it is told. */
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "unit.h"

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define VDSO "vdso 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
#define HEAD "sckpt-broker-statement 2\ncluster c\nuid 1001\nneeds 3\n" VDSO
#define WHOLE HEAD "image core-1000.img 17 " DIGEST "\npages pages-1.img\nend\n"

static void there_and_back(void **state)
{
	struct statement s;
	char *text;

	(void)state;
	assert_int_equal(statement_parse(WHOLE, &s), 0);
	assert_string_equal(s.cluster, "c");
	assert_int_equal(s.uid, 1001);
	assert_int_equal(s.needs, 3);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.list[0].name, "core-1000.img");
	assert_int_equal(s.list[0].size, 17);
	assert_int_equal(s.list[0].sha256[1], 0x11);
	assert_true(s.list[1].pages && !s.list[0].pages);
	text = statement_text(&s);
	assert_string_equal(text, WHOLE);
	free(text);
	statement_free(&s);
}

static void nothing_else(void **state)
{
	static const char *const bad[] = {
		"", "sckpt-broker-statement 2\n", HEAD,
		HEAD "image core-1000.img 17 " DIGEST "\n",
		"sckpt-broker-statement 1\ncluster c\nuid 1001\nneeds 3\n" VDSO "end\n",
		"sckpt-broker-statement 2\ncluster c\nuid 1001\nneeds 3\nend\n",
		"sckpt-broker-statement 2\ncluster c\nuid 1001\nneeds 3\nvdso 01\nend\n",
		"sckpt-broker-statement 2\ncluster c d\nuid 1001\nneeds 3\n" VDSO "end\n",
		"sckpt-broker-statement 2\ncluster c\nuid +1001\nneeds 3\n" VDSO "end\n",
		"sckpt-broker-statement 2\ncluster c\nuid 1001\nuid 0\nneeds 3\n" VDSO "end\n",
		HEAD "image ../core-1000.img 17 " DIGEST "\nend\n",
		HEAD "image .core 17 " DIGEST "\nend\n",
		HEAD "image core  17 " DIGEST "\nend\n",
		HEAD "image core -17 " DIGEST "\nend\n",
		HEAD "image core 017 " DIGEST "\nend\n",
		HEAD "image core 17 0x" DIGEST "\nend\n",
		HEAD "image core 17 " DIGEST "00\nend\n",
		HEAD "image core 17 00\nend\n",
		HEAD "image core 99999999999999999999999 " DIGEST "\nend\n",
		HEAD "pages pages-1.img 17\nend\n", HEAD "pages\nend\n",
		HEAD "other pages-1.img\nend\n", HEAD "\nend\n",
		HEAD "end", HEAD "end\nend\n", HEAD "end\n\n", WHOLE " ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct statement s;

		if (statement_parse(bad[i], &s) == 0)
			fail_msg("taken: %s", bad[i]);
	}
}

static int ask(uint32_t word, const char *text, size_t size, uint32_t said, int fds,
	       struct criu_run *run)
{
	static struct broker_message m;
	static const int list[FDS_MAX] = { 50, 51, 52 };
	struct err e;

	m = (struct broker_message){ .word = word, .count = said, .size = (uint32_t)size };
	memcpy(m.text, text, size);
	return asked_take(&m, list, fds, run, &e);
}

static void requests(void **state)
{
	static const char *const bad[] = {
		"mnt[1]:x", "file[1:2", "file[1:2]x", "file[]]", "file[1:2] --shell-job",
		"/etc/shadow", "", "pipe:[1]\n", "net[1]:x", "dev[1/2]:x",
	};
	struct criu_run run;

	(void)state;
	assert_int_equal(ask(BROKER_DUMP, "file[5:1f]\0pipe:[77]\0unix[12]", 30, 3, 0, &run), 0);
	assert_int_equal(run.count, 3);
	assert_true(!run.restore && !run.end);
	assert_string_equal(run.files[2].key, "unix[12]");
	criu_run_free(&run);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (ask(BROKER_DUMP, bad[i], strlen(bad[i]) + 1, 1, 0, &run) == 0)
			fail_msg("taken: %s", bad[i]);
		criu_run_free(&run);
	}
	/* As many as are said, each with its NUL, and descriptors for a restore alone. */
	assert_int_equal(ask(BROKER_DUMP, "file[5:1f]", 11, 2, 0, &run), -1);
	criu_run_free(&run);
	assert_int_equal(ask(BROKER_DUMP, "file[5:1f]", 10, 1, 0, &run), -1);
	criu_run_free(&run);
	assert_int_equal(ask(BROKER_DUMP, "file[5:1f]", 11, 1, 1, &run), -1);
	criu_run_free(&run);
	assert_int_equal(ask(BROKER_RESTORE, "file[5:1f]\0home/a b", 20, 2, 2, &run), 0);
	assert_int_equal(run.files[1].fd, 51);
	assert_string_equal(run.files[1].key, "home/a b");
	criu_run_free(&run);
	assert_int_equal(ask(BROKER_RESTORE, "file[5:1f]", 11, 1, 0, &run), -1);
	criu_run_free(&run);
	assert_int_equal(ask(BROKER_RESTORE, "", 1, 1, 1, &run), -1);
	criu_run_free(&run);
}

/* A core image whose thread has one set of capabilities, in so many words. */
static size_t core(uint8_t image[64], const uint8_t *set, uint8_t size)
{
	const uint8_t head[] = { 0x19, 0x43, 0x56, 0x54, 1, 2, 3, 4, (uint8_t)(size + 6), 0, 0, 0,
				 8, 1, /* mtype */
				 5 << 3 | 2, (uint8_t)(size + 2), 10 << 3 | 2, size };

	memcpy(image, head, sizeof(head));
	memcpy(image + sizeof(head), set, size);
	return sizeof(head) + size;
}

static int look(const uint8_t *set, uint8_t size)
{
	uint8_t image[64];
	struct err e;

	return creds_look(image, core(image, set, size), &e);
}
#define LOOK(...) look((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void capabilities(void **state)
{
	enum { INH = 9 << 3, PRM = 10 << 3, EFF = 11 << 3, BND = 12 << 3 };
	uint8_t image[64], good[] = { PRM, 0, PRM, 0x80, 2, 0x98, 1, 0, 0x98, 1, 0x80, 2 };
	size_t size = core(image, good, sizeof(good));
	struct err e;

	(void)state;
	/* CAP_CHECKPOINT_RESTORE is bit 8 of the second word. */
	assert_int_equal(creds_look(image, size, &e), 0);
	assert_int_equal(LOOK(BND, 0xff, 0xff, 0xff, 0xff, 15, BND, 0xff, 3), 0);
	assert_int_equal(LOOK(PRM | 2, 3, 0, 0x80, 2), 0);
	/* SYS_ADMIN, NET_ADMIN; in each set, also in a row, and after others. */
	assert_int_equal(LOOK(PRM, 0x80, 0x80, 0x80, 1, PRM, 0), -1);
	assert_int_equal(LOOK(INH, 0x80, 0x20), -1);
	assert_int_equal(LOOK(EFF, 0x80, 0x20), -1);
	assert_int_equal(LOOK(0x98, 1, 0x80, 0x20), -1);
	assert_int_equal(LOOK(PRM | 2, 4, 0x80, 0x80, 0x80, 1), -1);
	assert_int_equal(LOOK(PRM, 0, PRM, 0x80, 2, PRM, 0), -1);
	assert_int_equal(LOOK(PRM, 0x80, 0x80, 0x80, 0x80, 0x10), -1);
	/* What is not understood may be anything. */
	assert_int_equal(LOOK(PRM | 5, 0, 0, 0, 0), -1);
	assert_int_equal(LOOK(PRM | 3, 0), -1);
	for (size_t n = 0; n < size; n++)
		if (creds_look(image, n, &e) == 0 && n != 8)
			fail_msg("taken: its first %zu bytes", n);
	image[0]++;
	assert_int_equal(creds_look(image, size, &e), -1);
}

static void sequences(void **state)
{
	/* A thread's area at 0x20, given twice, in two messages of one field. */
	const uint8_t core[] = { 1, 2, 3, 4, 5, 6, 7, 8, 18, 0, 0, 0, 8, 1,
				 5 << 3 | 2, 7, 15 << 3 | 2, 5, 1 << 3, 0x20, 2 << 3, 32, 8 << 3,
				 5 << 3 | 2, 5, 15 << 3 | 2, 3, 8, 0x40, 0 };
	/* Processes 7, of threads 7 and 8, and 9. */
	const uint8_t tree[] = { 1, 2, 3, 4, 5, 6, 7, 8, 6, 0, 0, 0, 8, 7, 5 << 3, 7, 5 << 3, 8,
				 5, 0, 0, 0, 8, 9, 5 << 3 | 2, 1, 9 };
	struct numbers n = { .count = 0 };

	(void)state;
	assert_int_equal(rseq_areas(core, 12, &n), -1);
	assert_int_equal(rseq_areas(core, 7, &n), -1);
	assert_int_equal(n.count, 0);
	assert_int_equal(rseq_threads(tree, sizeof(tree), 7, &n), 0);
	assert_int_equal(n.count, 2);
	assert_int_equal(n.list[1], 8);
	free(n.list);
	n = (struct numbers){ .count = 0 };
	assert_int_equal(rseq_threads(tree, sizeof(tree), 9, &n), 0);
	assert_int_equal(n.count, 1);
	assert_int_equal(n.list[0], 9);
	free(n.list);
	n = (struct numbers){ .count = 0 };
	/* Not there; cut off. */
	assert_int_equal(rseq_threads(tree, sizeof(tree), 8, &n), -1);
	assert_int_equal(rseq_threads(tree, sizeof(tree) - 1, 9, &n), -1);
	free(n.list);
}

/* Process `pid`, of parent `parent`, and 1001 below it, of which another parent is said. */
static int roots(uint8_t pid_low, uint8_t parent, uint8_t child_of)
{
	const uint8_t tree[] = { 1, 2, 3, 4, 5, 6, 7, 8, 5, 0, 0, 0, 8, pid_low, 7, 2 << 3, parent,
				 child_of ? 6 : 5, 0, 0, 0, 8, 0xe9, 7, 2 << 3, child_of, 7 };
	struct err e;

	return pstree_look(tree, sizeof(tree) - !child_of, &e);
}

static void root_of_tree(void **state)
{
	const uint8_t twice[] = { 1, 2, 3, 4, 5, 6, 7, 8, 8, 0, 0, 0, 8, 0xe8, 7, 8, 0xd0, 15, 2 << 3, 0 };
	const uint8_t none[] = { 1, 2, 3, 4, 5, 6, 7, 8, 3, 0, 0, 0, 8, 0xe8, 7 };
	struct err e;

	(void)state;
	assert_int_equal(roots(0xe8, 0, 0xe8), 0);
	/* Another one; one with a parent; and a second one. */
	assert_int_equal(roots(0xea, 0, 0xea), -1);
	assert_int_equal(roots(0xe8, 1, 0xe8), -1);
	assert_int_equal(pstree_look(twice, sizeof(twice), &e), -1);
	assert_int_equal(pstree_look(none, sizeof(none), &e), -1);
	assert_int_equal(pstree_look(none, 8, &e), -1);
	assert_int_equal(pstree_look(none, 7, &e), -1);
}

/* A TCP socket, of 127.0.0.1 and port `from`, to 127.0.0.1 (or 10.0.0.1: its first byte) and `to`. */
#define LOOP 0xff
#define FAR 0x8a
#define BEGIN(size) (size) + 4, 0, 0, 0, 8, 4, 4 << 3 | 2, (size)
#define SOCKET(from, to, where, state)                                                           \
	BEGIN(21), 3 << 3, 2, 5 << 3, 6, 6 << 3, state, 7 << 3, from, 8 << 3, to, 11 << 3, LOOP, \
		0x80, 0x80, 8, 12 << 3 | 2, 4, where, 0x80, 0x80, 8

static int files(const uint8_t *socket, size_t size)
{
	uint8_t image[256] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct err e;

	memcpy(image + 8, socket, size);
	return connections_look(image, size + 8, &e);
}
#define FILES(...) files((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void connections(void **state)
{
	enum { ESTABLISHED = 1, CLOSE_WAIT = 8 };

	(void)state;
	assert_int_equal(FILES(2, 0, 0, 0, 8, 1), 0);
	assert_int_equal(FILES(SOCKET(7, 8, LOOP, ESTABLISHED), SOCKET(8, 7, LOOP, ESTABLISHED)), 0);
	assert_int_equal(FILES(SOCKET(7, 8, LOOP, CLOSE_WAIT)), 0);
	/* Of one that is none criu takes no other end. */
	assert_int_equal(FILES(SOCKET(7, 0, FAR, ESTABLISHED)), 0);
	/* The other end is not there; it is its own; far away. */
	assert_int_equal(FILES(SOCKET(7, 8, LOOP, ESTABLISHED)), -1);
	assert_int_equal(FILES(SOCKET(7, 8, LOOP, ESTABLISHED), SOCKET(8, 9, LOOP, CLOSE_WAIT)), -1);
	assert_int_equal(FILES(SOCKET(7, 8, FAR, CLOSE_WAIT)), -1);
	/* IPv6: ::ffff:127.0.0.1 on both sides, of which the other end is IPv4; and ::2. */
	assert_int_equal(FILES(SOCKET(8, 7, LOOP, ESTABLISHED), BEGIN(37), 3 << 3, 10, 5 << 3, 6, 6 << 3, 1, 7 << 3, 7,
			       8 << 3, 8, 11 << 3 | 2, 11, 0, 0, 0x80, 0x80, 0xfc, 0xff, 0x0f, LOOP, 0x80, 0x80, 8,
			       12 << 3 | 2, 12, 0, 0x80, 0, 0x80, 0x80, 0xfc, 0xff, 0x0f, LOOP, 0x80, 0x80, 8),
			 0);
	assert_int_equal(FILES(BEGIN(28), 3 << 3, 10, 5 << 3, 6, 6 << 3, 8, 7 << 3, 7, 8 << 3, 8, 11 << 3 | 2, 7, 0, 0,
			       0, 0x80, 0x80, 0x80, 8, 12 << 3 | 2, 7, 0, 0, 0, 0x80, 0x80, 0x80, 0x10),
			 -1);
	/* What is there twice, or not at all, or an address of no length. */
	assert_int_equal(FILES(BEGIN(23), 6 << 3, 8, 3 << 3, 2, 5 << 3, 6, 6 << 3, 8, 7 << 3, 7, 8 << 3, 8, 11 << 3, LOOP,
			       0x80, 0x80, 8, 12 << 3 | 2, 4, LOOP, 0x80, 0x80, 8),
			 -1);
	assert_int_equal(FILES(BEGIN(19), 3 << 3, 2, 5 << 3, 6, 7 << 3, 7, 8 << 3, 8, 11 << 3, LOOP, 0x80, 0x80, 8,
			       12 << 3 | 2, 4, LOOP, 0x80, 0x80, 8),
			 -1);
	assert_int_equal(FILES(BEGIN(12), 3 << 3, 2, 5 << 3, 6, 6 << 3, 8, 7 << 3, 7, 8 << 3, 8, 11 << 3 | 2, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(nothing_else),
		cmocka_unit_test(requests),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(sequences),
		cmocka_unit_test(root_of_tree),
		cmocka_unit_test(connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
