/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_MEMORY_H
#define SCKPT_MEMORY_H

#include <stddef.h>

/*
 * Large pieces of memory, of whole pages. Populated at once: where a page fault
 * is expensive (in virtual machines it was seen to cost 25 us), touching memory
 * page by page takes longer than filling it.
 */
void *memory_get(size_t size); /* zeroed; NULL without memory */
void memory_put(void *memory, size_t size);
/* Only the address space; memory_populate() makes a part of it real. */
void *memory_reserve(size_t size);
void memory_populate(void *memory, size_t size);

#endif
