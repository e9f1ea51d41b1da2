/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IN_ATTACH_H
#define IN_ATTACH_H

#include <sys/types.h>

/*
 * A thread of what criu restores has CAP_NET_ADMIN no more, and if it is the first one of its
 * process, the process's connections work. It is traced and in a stop, PTRACE_O_TRACESYSGOOD is
 * set. -1 and errno: it may have it.
 */
int attach_give_up_net(pid_t tid);

#endif
