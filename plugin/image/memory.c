/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>

#include "memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* linux/mman.h, since 5.14 */
#endif

#define HUGE_SIZE ((size_t)2 << 20)

void *memory_reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* One page fault for 2 MiB: in virtual machines 20 us each was seen. */
	if (size >= HUGE_SIZE)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

/* Where the kernel does not know how, each page comes when it is touched. */
void memory_populate(void *memory, size_t size)
{
	madvise(memory, size, MADV_POPULATE_WRITE);
}

void *memory_get(size_t size)
{
	void *memory = memory_reserve(size);

	if (memory)
		memory_populate(memory, size);
	return memory;
}

void memory_put(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}
