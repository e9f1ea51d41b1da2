/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <elf.h>
#include <stdio.h>

#include "needs.h"
#include "unit.h"

/* An ELF file with a note of another kind and then the build-id. */
struct file {
	Elf64_Ehdr elf;
	Elf64_Phdr parts[2];
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint8_t data[8];
	} other;
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint8_t id[20];
	} note;
};

static struct file make_file(void)
{
	struct file f = {
		.elf = { .e_phoff = offsetof(struct file, parts),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 2 },
		.parts = { { .p_type = PT_LOAD },
			   { .p_type = PT_NOTE,
			     .p_offset = offsetof(struct file, other),
			     .p_filesz = sizeof(f.other) + sizeof(f.note) } },
		.other = { { 4, 8, NT_GNU_PROPERTY_TYPE_0 }, "GNU", { 9 } },
		.note = { { 4, 20, NT_GNU_BUILD_ID }, "GNU", { 0xde, 0xad, [19] = 1 } },
	};

	memcpy(f.elf.e_ident, ELFMAG, SELFMAG);
	f.elf.e_ident[EI_CLASS] = ELFCLASS64;
	return f;
}

static void build_ids(void **state)
{
	struct file f = make_file(), bad;
	char id[BUILD_ID_MAX];

	(void)state;
	build_id_of((uint8_t *)&f, sizeof(f), id);
	assert_string_equal(id, "dead000000000000000000000000000000000001");
	/* Cut anywhere, it is none, and nothing behind the end is read. */
	for (size_t n = 0; n < offsetof(struct file, note) + sizeof(f.note); n++) {
		uint8_t *cut = malloc(n + 1);

		memcpy(cut, &f, n);
		build_id_of(cut, n, id);
		assert_string_equal(id, "");
		free(cut);
	}
	bad = f;
	bad.note.head.n_descsz = 0xfffffff0;
	build_id_of((uint8_t *)&bad, sizeof(bad), id);
	assert_string_equal(id, "");
	bad = f;
	bad.elf.e_phoff = UINT64_MAX - 8;
	build_id_of((uint8_t *)&bad, sizeof(bad), id);
	assert_string_equal(id, "");
	bad = f;
	bad.parts[1].p_offset = UINT64_MAX - 8;
	build_id_of((uint8_t *)&bad, sizeof(bad), id);
	assert_string_equal(id, "");
	build_id_of((const uint8_t *)"#!/bin/sh\n", 10, id);
	assert_string_equal(id, "");
}

static void processors(void **state)
{
	char one[] = "processor\t: 0\nflags\t\t: fpu sse sse2 avx avx2 hypervisor pti ibrs\nbugs\t\t: spectre\n"
		     "processor\t: 1\nflags\t\t: fpu mmx\n",
	     arm[] = "processor\t: 0\nFeatures\t: fp asimd\n";
	char flags[CPU_FLAGS_MAX], lacks[64];

	(void)state;
	cpu_flags_of(one, flags, sizeof(flags));
	assert_string_equal(flags, "sse sse2 avx avx2");
	cpu_flags_of(arm, flags, sizeof(flags));
	assert_string_equal(flags, "");
	cpu_lacks("sse avx avx2", "avx2 sse avx fma", lacks, sizeof(lacks));
	assert_string_equal(lacks, "");
	/* avx is not found in avx2. */
	cpu_lacks("sse avx fma", "sse avx2 avx512f", lacks, sizeof(lacks));
	assert_string_equal(lacks, "avx, fma");
	cpu_lacks("", "sse", lacks, sizeof(lacks));
	assert_string_equal(lacks, "");
	/* What was not recorded is not asked for; what cannot be read lacks all. */
	cpu_lacks("sse", "", lacks, sizeof(lacks));
	assert_string_equal(lacks, "sse");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(build_ids),
		cmocka_unit_test(processors),
	};

	return cmocka_run_group_tests_name("needs", tests, NULL, NULL);
}
