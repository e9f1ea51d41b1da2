/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "alone.h"

#define TEXT_MAX 16384 /* such a process has some ten mappings */

static ssize_t read_all(const char *path, char text[TEXT_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, size = 0;

	if (fd < 0)
		return -1;
	while ((n = read(fd, text + size, (size_t)(TEXT_MAX - 1 - size))) > 0)
		size += n;
	close(fd);
	text[size] = '\0';
	return n < 0 ? -1 : size;
}

/* The same bytes in the same place, but of no file. The code that runs this moves,
 * too: mremap(2) puts the one in the other's place at once. */
static int take_in(char *from, size_t size, int prot)
{
	char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return -1;
	if (prot & PROT_READ)
		memcpy(copy, from, size);
	if (mprotect(copy, size, prot) == 0 &&
	    mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) == from)
		return 0;
	munmap(copy, size);
	return -1;
}

/* "from-to perms offset device inode   path" (proc_pid_maps(5)) */
static int take_all_in(void)
{
	char maps[TEXT_MAX], self[4096], *rest = maps, *line;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0 || read_all("/proc/self/maps", maps) < 0)
		return -1;
	self[n] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		char *path = strchr(line, '/'), *end;
		uintptr_t from, to;
		int prot = 0;

		if (!path || strcmp(path, self))
			continue;
		from = strtoul(line, &end, 16);
		to = strtoul(end + 1, &end, 16);
		prot |= end[1] == 'r' ? PROT_READ : 0;
		prot |= end[2] == 'w' ? PROT_WRITE : 0;
		prot |= end[3] == 'x' ? PROT_EXEC : 0;
		if (take_in((char *)from, to - from, prot) < 0)
			return -1;
	}
	return 0;
}

/* Where the parts of this process are, as proc_pid_stat(5) counts the fields. */
static int read_layout(struct prctl_mm_map *map)
{
	char text[TEXT_MAX], *at;
	unsigned long long field[53] = { 0 };

	/* The name may have anything in it. */
	if (read_all("/proc/self/stat", text) < 0 || !(at = strrchr(text, ')')) ||
	    !at[1] || !at[2])
		return -1;
	at += 3; /* behind the state, which is the third */
	for (int i = 4; i <= 52; i++)
		field[i] = strtoull(at, &at, 10);
	*map = (struct prctl_mm_map){
		.start_code = field[26],
		.end_code = field[27],
		.start_stack = field[28],
		.start_data = field[45],
		.end_data = field[46],
		.start_brk = field[47],
		.brk = (uintptr_t)sbrk(0),
		.arg_start = field[48],
		.arg_end = field[49],
		.env_start = field[50],
		.env_end = field[51],
	};
	return 0;
}

int alone_become(const char *exe)
{
	struct prctl_mm_map map;
	int fd, rc;

	if ((fd = open(exe, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	if ((rc = read_layout(&map)) == 0 && (rc = take_all_in()) == 0) {
		map.exe_fd = (uint32_t)fd;
		rc = prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);
	}
	close(fd);
	return rc;
}
