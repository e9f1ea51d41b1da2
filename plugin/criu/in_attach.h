/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IN_ATTACH_H
#define IN_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Criu restores, is about to seize its first task, and has more than its user (in_attach.c): all tasks
 * are seized, and stand still until attach_interrupt(). Without that criu ends here.
 */
void attach_all(void);
bool attach_done(void);

/* What criu does afterwards. It ends where that fails or is not one of these tasks. */
void attach_seize(pid_t tid);
void attach_interrupt(pid_t tid);
void attach_failed(pid_t tid) __attribute__((noreturn));
/* How many threads that one has, which is one of these tasks. */
size_t attach_threads(pid_t pid);

#endif
