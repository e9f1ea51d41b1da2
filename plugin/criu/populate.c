/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * While criu restores, it reads the pages of the program into memory that is
 * not there yet, and each of them is a page fault, or two where a hypervisor keeps page tables of its own: 18 us a page were
 * seen, most of what a restore took. When the kernel itself puts the bytes there
 * (process_vm_writev(2), which maps nothing), there is none: 1.5 us. The
 * program touches them later, those that it needs.
 *
 * A read() returns what it would have, and memory that is not read into stays
 * as it is.
 */
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "put.h"

#define PAGE 4096U /* or larger ones, of which that is a part */
#define AT_ONCE (256 << 10) /* stays in the processor's cache */

/* Of criu's two copies of this, before and after a fork, each has its own. */
static char between[AT_ONCE];

static void put(void *to, const void *from, size_t size)
{
	const struct iovec here = { (void *)from, size }, there = { to, size };
	ssize_t n = process_vm_writev(getpid(), &here, 1, &there, 1, 0);

	/* Where that is not allowed, and for what cannot be written to at all. */
	if (n < (ssize_t)size)
		memcpy((char *)to + (n > 0 ? n : 0),
		       (const char *)from + (n > 0 ? n : 0),
		       size - (size_t)(n > 0 ? n : 0));
}

ssize_t read_and_put(int fd, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t part = size - done < AT_ONCE ? size - done : AT_ONCE;
		ssize_t n = syscall(SYS_read, fd, between, part);

		if (n <= 0)
			return done ? (ssize_t)done : n;
		put((char *)buf + done, between, (size_t)n);
		done += (size_t)n;
		if ((size_t)n < part)
			break;
	}
	return (ssize_t)done;
}

__attribute__((visibility("default"))) ssize_t read(int fd, void *buf, size_t size)
{
	size_t done;

	if (size % PAGE || (uintptr_t)buf % PAGE)
		return syscall(SYS_read, fd, buf, size);
	done = put_large(fd, buf, size);
	return done ? (ssize_t)done : read_and_put(fd, buf, size);
}
