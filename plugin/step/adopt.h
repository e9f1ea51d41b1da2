/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_ADOPT_H
#define SCKPT_ADOPT_H

#include <sys/types.h>

#include "sckpt/base.h"

/* At criu's pre-restore point: from here on its stops are told by SIGCHLD and
 * waitpid(criu, …, __WALL), and are to be handed to adopt_event(). */
int adopt_begin(pid_t criu, struct err *e);
/* Returns 1 when the root is a subreaper and criu is traced no more, 0 when it
 * is still to come, -1 on error. */
int adopt_event(pid_t criu, int status, struct err *e);
/* When criu is to undo what it did, while it is still traced: it is brought to
 * a stop, and at the next one that waitpid tells, let go. */
void adopt_stop(pid_t criu);
void adopt_let_go(pid_t criu, int status);

#endif
