/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/mman.h>

#include "memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* linux/mman.h, since 5.14 */
#endif

#define HUGE_SIZE ((size_t)2 << 20)
/* madvise(2) locks all of the process's memory: who needs a mapping meanwhile waits, if this thread
 * is a nice one for long. */
#define AT_ONCE ((size_t)256 << 10)

void *memory_reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* A fork of ours needs nothing of it (criu/breakpoint.c), and would have to be promised all of
	 * it once more (vm.overcommit_memory=2). */
	madvise(memory, size, MADV_DONTFORK);
	/* One page fault for 2 MiB: in virtual machines 20 us each was seen. */
	if (size >= HUGE_SIZE)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

void memory_populate(void *memory, size_t size)
{
	unsigned char *at = memory, *end = at + size;

	while (at < end) {
		size_t part = (size_t)(end - at) < AT_ONCE ? (size_t)(end - at) : AT_ONCE;

		/* A large page comes by this fault, which locks little (Linux 6.4). */
		__atomic_fetch_or(at, 0, __ATOMIC_RELAXED);
		/* Where the kernel does not know how, each page comes when it is touched. */
		madvise(at, part, MADV_POPULATE_WRITE);
		at += part;
	}
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
