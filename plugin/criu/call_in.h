/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CALL_IN_H
#define CALL_IN_H

#include <stdint.h>
#include <sys/types.h>

/*
 * A system call that a traced task makes instead of its next one, which it makes afterwards: it
 * notices nothing but what the call did. The task was seized with PTRACE_O_TRACESYSGOOD
 * (ptrace(2)) and is in a stop, of which it is in another one afterwards; signals that come
 * meanwhile it does not get, but for SIGKILL. -1 and errno.
 */
int call_in(pid_t pid, long call, unsigned long one, unsigned long two);

/* The capabilities that it is permitted, as bits 1 << CAP_…; all, where that cannot be known. */
uint64_t caps_of(pid_t pid);

/* Has it give up all its capabilities but these, of which it has each. */
int caps_keep(pid_t pid, uint64_t keep);

/* The same of the caller. */
int caps_keep_own(uint64_t keep);

/* The next stop of a traced task; -1 when it ended instead. */
int wait_stop(pid_t pid);

#endif
