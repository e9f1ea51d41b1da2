/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * outlog: a step's output logs, which outlive dumps that come to nothing. What came by a
 * pipe is nowhere else: until it is known to be on the disk it is in memory, too, and is
 * written again after an error.
 */
#ifndef SCKPT_OUTLOG_H
#define SCKPT_OUTLOG_H

#include <pthread.h>

#include "sckpt/base.h"

/* More than that is made durable without a dump, by a thread: the memory is the job's. */
#define OUTLOG_HELD (8 << 20)
/* With a store that takes nothing, so much waits for it. */
#define OUTLOG_MOST (64 << 20)

struct outlog {
	int fd; /* -1 none */
	int64_t safe; /* so many bytes of it are known to be on the disk … */
	int64_t copied; /* … and are what so many bytes of a file left in it */
	int64_t settled, taken; /* the same as of the last outlogs_settle() */
	int64_t early; /* what the thread makes durable */
	char *tail; /* what came by a pipe, behind `safe` */
	size_t held, room; /* its bytes; of memory */
};

struct outlogs {
	int count;
	struct outlog *list;
	pthread_mutex_t lock; /* of all below, and of tails: outlogs_sync() is another thread's */
	pthread_cond_t synced;
	bool syncing; /* outlogs_sync(), or the thread */
	unsigned failures;
	bool behind; /* a write or fsync failed: the tails are to be written again */
	bool doubt; /* one did since the last outlogs_settle() */
	bool lost; /* too much waited: it cannot be made good any more */
	int64_t again; /* CLOCK_MONOTONIC, ns: when it is tried once more */
	struct err why;
};

/* So many, none of them open. */
int outlogs_init(struct outlogs *l, int count, struct err *e);
/* What came by a pipe. An error is told at the next dump. */
void outlog_add(struct outlogs *l, int i, const void *data, size_t size);
/* At a dump: all that was added is written, or it is told why not. */
int outlogs_settle(struct outlogs *l, struct err *e);
/* Then: what is in a file (output_copy()). */
int outlog_copy(struct outlog *log, int fd, uint32_t job, struct err *e);
/* Makes durable what was settled. Any thread. */
int outlogs_sync(struct outlogs *l, struct err *e);

#endif
