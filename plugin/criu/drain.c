/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * While criu dumps into pipes, pages get there by reference (vmsplice(2), then
 * splice(2) into the image's pipe): what the agent has not read yet is still
 * the program's memory. And criu writes into it: to unmap its parasite it puts
 * "syscall; int3" over the first code of the process for a moment
 * (compel_syscall(), compel/src/lib/infect.c). Read in that moment, the image
 * had these bytes, and a process that runs them later dies of SIGTRAP. So a
 * pipe that pages went into is closed only after all of it is read: criu closes
 * it when it has the pages of a process (__parasite_dump_pages_seized(),
 * criu/mem.c), and takes leave of the process after that (compel_cure()).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FDS 4096

static bool holds_pages[FDS];

/* Returns when all is read, or nobody is there to read it. */
static void wait_until_read(int pipe)
{
	/* The kernel tells nobody that a pipe has become empty, only that it
	 * is full no more (pipe_read(), fs/pipe.c). */
	const struct timespec moment = { 0, 100000 };
	struct pollfd p = { .fd = pipe };
	int left;

	while (ioctl(pipe, FIONREAD, &left) == 0 && left > 0)
		if (ppoll(&p, 1, &moment, NULL) > 0 && (p.revents & POLLERR))
			return;
}

__attribute__((visibility("default"))) ssize_t splice(int from, off64_t *from_at, int to,
						      off64_t *to_at, size_t size,
						      unsigned int flags)
{
	ssize_t n = syscall(SYS_splice, from, from_at, to, to_at, size, flags);

	if (n > 0 && to < FDS)
		holds_pages[to] = true;
	else if (n > 0)
		wait_until_read(to);
	return n;
}

__attribute__((visibility("default"))) int close(int fd)
{
	if (fd >= 0 && fd < FDS && holds_pages[fd]) {
		holds_pages[fd] = false;
		wait_until_read(fd);
	}
	return (int)syscall(SYS_close, fd);
}
