/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore: what it traces dies with it (PTRACE_O_EXITKILL, ptrace(2)). Tasks whose
 * criu was killed would go on, and some of them have filters of the user's for system calls
 * already, which count when criu holds them off no more, and capabilities of criu's still. Of a
 * criu that has such capabilities all of them are traced, or none goes on (in_attach.c).
 *
 * At a dump the program would die with criu.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_in.h"
#include "in_attach.h"
#include "sckpt/criu.h"

/* Criu's action script has been asked for the last time before that. */
static bool all_is_there;

__attribute__((visibility("default"))) int setenv(const char *name, const char *value, int replace)
{
	static int (*real)(const char *, const char *, int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "setenv");
	if (!strcmp(name, "CRTOOLS_SCRIPT_ACTION"))
		all_is_there = !strcmp(value, "post-restore");
	return real(name, value, replace);
}

static long restore_trace(int request, pid_t pid, void *addr, unsigned long data)
{
	static bool attaches;
	long rc;

	/* The first one of all, whatever its PID; before all is there criu tries what the kernel can do,
	 * or has the root unlock something (arch_shstk_unlock()). */
	if (request == PTRACE_SEIZE && !attaches && all_is_there) {
		attaches = true;
		if (caps_of(0) & UINT64_C(1) << CRIU_MARK)
			attach_all();
	}
	if (attach_done() && request == PTRACE_SEIZE) {
		attach_seize(pid);
		return 0;
	}
	if (attach_done() && request == PTRACE_INTERRUPT) {
		attach_interrupt(pid);
		return 0;
	}
	if (request == PTRACE_SEIZE || request == PTRACE_SETOPTIONS)
		data |= PTRACE_O_EXITKILL;
	rc = syscall(SYS_ptrace, request, pid, addr, data);
	/* Criu would wait for ever for a task that was killed meanwhile. */
	if (rc < 0 && attaches && (request == PTRACE_SEIZE || request == PTRACE_INTERRUPT ||
				   request == PTRACE_SETOPTIONS || request == PTRACE_CONT))
		attach_failed(pid);
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
	/* The C library's are other than the kernel's ("C library/kernel differences"). */
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return getenv("SCKPT_RESTORES") ? restore_trace(request, pid, addr, data) :
						  syscall(SYS_ptrace, request, pid, addr, data);
	rc = syscall(SYS_ptrace, request, pid, addr, &found);
	if (rc < 0)
		return rc;
	errno = 0;
	return (long)found;
}
