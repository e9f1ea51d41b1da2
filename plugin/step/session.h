/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_SESSION_H
#define SCKPT_SESSION_H

#include "sckpt/image.h"
#include "step.h"

/* One run of criu: its stream, its hook, its end, in one poll loop. */
struct session {
	const char *program; /* criu's path */
	int broker; /* who runs it with more than CAP_CHECKPOINT_RESTORE; -1: nobody, it
		     * is run here */
	/* Where the images go (a dump), or come from. */
	const struct image_sink *sink;
	const struct image_source *source;
	/* Then, its own: */
	struct stream *stream;
	struct criu_watch criu; /* the broker's: only how it ended */
	bool elsewhere; /* the broker refused, and another node may do */
	/* Called once, at pre-dump, or NULL; -1 makes criu end before it freezes the tree. */
	int (*ready)(void *arg, struct err *e);
	/* Called once, at post-dump or post-restore; -1 makes criu undo
	 * everything. */
	int (*commit)(void *arg, struct stream *stream, struct err *e);
	/* Now and then, or NULL; -1 makes criu undo everything. */
	int (*tick)(void *arg, struct err *e);
	void *arg;
};

/*
 * Runs criu until it ends. 0: it ran, *status is its wait status. -1: what
 * is around it failed (store, stream, commit), and e says how; criu is gone.
 */
int session_run(struct session *s, const struct criu_run *run, int *status,
		struct err *e);

#endif
