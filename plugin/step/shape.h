/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_SHAPE_H
#define SCKPT_SHAPE_H

#include "sckpt/base.h"

/* What a tree of processes looks like from outside, to compare a restored one. */
struct shape_process {
	pid_t pid, parent;
	int threads;
	int64_t mapped; /* bytes */
	char name[32];
	int *fds; /* in order; malloc'ed */
	int fd_count;
};

struct shape {
	struct shape_process *list;
	int count;
	char **fifos; /* paths of those that are open; malloc'ed */
	int fifo_count;
};

/* Of these processes, which stand still. What was in it before is freed. */
int shape_of(const pid_t *pids, int count, struct shape *s, struct err *e);
void shape_free(struct shape *s);
int shape_threads(const struct shape *s);
int shape_descriptors(const struct shape *s);
/*
 * Pure: calls differs() with a sentence for each process of `want` that is not
 * the same in `have`. Returns how many. The first one of want is the root, whose
 * parent is still criu when it has just been restored.
 */
int shape_compare(const struct shape *want, const struct shape *have,
		  void (*differs)(void *arg, const char *text), void *arg);

#endif
