/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore: what it traces dies with it (PTRACE_O_EXITKILL, ptrace(2)). Tasks whose
 * criu was killed would go on, and some of them have filters of the user's for system calls
 * already, which count when criu holds them off no more, and capabilities of criu's still. Of
 * these they give one up when criu attaches to them (in_attach.h), or criu ends here.
 *
 * At a dump the program would die with criu.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "in_attach.h"

static long set_options(int pid, unsigned long options)
{
	long rc = syscall(SYS_ptrace, PTRACE_SETOPTIONS, pid, NULL, options | PTRACE_O_EXITKILL);

	if (rc == 0 && attach_give_up_net(pid) < 0) {
		/* Criu would go on with those to which it has not attached, too. */
		fprintf(stderr, "what it restores keeps CAP_NET_ADMIN: %s\n", strerror(errno));
		_exit(1);
	}
	return rc;
}

__attribute__((visibility("default"))) long ptrace(enum __ptrace_request request, ...)
{
	unsigned long data, found;
	va_list ap;
	void *addr;
	long rc;
	int pid;

	va_start(ap, request);
	pid = va_arg(ap, int);
	addr = va_arg(ap, void *);
	data = va_arg(ap, unsigned long);
	va_end(ap);
	if (request == PTRACE_SETOPTIONS && getenv("SCKPT_RESTORES"))
		return set_options(pid, data);
	if (request == PTRACE_SEIZE && getenv("SCKPT_RESTORES"))
		data |= PTRACE_O_EXITKILL;
	/* The C library's are other than the kernel's ("C library/kernel differences"). */
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return syscall(SYS_ptrace, request, pid, addr, data);
	rc = syscall(SYS_ptrace, request, pid, addr, &found);
	if (rc < 0)
		return rc;
	errno = 0;
	return (long)found;
}
