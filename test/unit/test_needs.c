/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <elf.h>
#include <stdio.h>

#include "cgroup.h"
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

static void mounts(void **state)
{
	/* Of a running system; the last has a root of its own and a blank in its name. */
	char text[] =
		"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
		"23 22 0:20 / /data rw shared:2 master:7 - nfs4 server:/export rw,vers=4.2\n"
		"24 23 0:21 / /data/deep rw - tmpfs tmpfs rw\n"
		"25 22 0:22 / /data rw - lustre 10.0.0.1@tcp:/l1 rw\n"
		"26 22 8:1 /srv/x /mnt/a\\040b rw,relatime - ext4 /dev/sdb1 rw\n"
		"this is no mount\n"
		"27 22 8:1 / /cut rw";
	struct mount_line lines[8];
	const size_t n = mountinfo_parse(text, lines, 8);

	(void)state;
	assert_int_equal(n, 5);
	assert_string_equal(lines[1].type, "nfs4");
	assert_string_equal(lines[1].source, "server:/export");
	assert_string_equal(mount_of(lines, n, "/data/x")->type, "lustre");
	assert_string_equal(mount_of(lines, n, "/data")->type, "lustre");
	assert_string_equal(mount_of(lines, n, "/data/deep/x")->type, "tmpfs");
	assert_string_equal(mount_of(lines, n, "/database")->point, "/");
	assert_string_equal(mount_of(lines, n, "/")->point, "/");
	assert_string_equal(mount_of(lines, n, "/mnt/a b/c")->source, "/dev/sdb1");
	assert_null(mount_of(lines, 0, "/data"));
}

static void memory_stat(void **state)
{
	const char *v1 = "cache 1\nrss 12\ntotal_rss 34\ntotal_rss_huge 56\ntotal_shmem 78\n",
		   *v2 = "anon 90\nanon_thp 1\nshmem 23\nshmem_thp 4\n";

	(void)state;
	assert_int_equal(cgroup_stat(v1, "rss"), 12);
	assert_int_equal(cgroup_stat(v1, "total_rss"), 34);
	assert_int_equal(cgroup_stat(v1, "total_shmem"), 78);
	assert_int_equal(cgroup_stat(v2, "anon"), 90);
	assert_int_equal(cgroup_stat(v2, "shmem"), 23);
	assert_int_equal(cgroup_stat(v2, "total_rss"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(build_ids),
		cmocka_unit_test(processors),
		cmocka_unit_test(mounts),
		cmocka_unit_test(memory_stat),
	};

	return cmocka_run_group_tests_name("needs", tests, NULL, NULL);
}
