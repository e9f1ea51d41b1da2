/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_HELPER_H
#define SCKPT_HELPER_H

#include <sys/capability.h>

#include "spank_sckpt.h"

/* A helper's descriptors are this one and those behind it. */
#define HELPER_FD 3
#define HELPER_FDS_MAX 2

/*
 * All that a process needs for its exec of a helper, made before the fork: what it
 * wrote afterwards would be a page of slurmstepd's to copy each time.
 */
struct helper {
	/* Path; the PID of the process that it goes with; the rest is the caller's. */
	char *argv[SPEC_ARGS_MAX + 3];
	char *envp[4], conf[600], pid[16], task[16];
	cap_t none;
	int fds[HELPER_FDS_MAX], count;
	int own_pids; /* the PID namespace it is in, when it has unshared it; -1 */
};

/* fds stay the caller's. */
int helper_prepare(struct helper *h, const char *path, const int *fds, int count,
		   struct err *e);
/* In the process that does not become it. */
void helper_drop(struct helper *h);
void helper_become(struct helper *h, pid_t other) __attribute__((noreturn));

#endif
