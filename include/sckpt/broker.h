/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker: sckpt-broker, root, outside of the user's reach. Where the admin allows it (elevate=
 * of sckpt.conf) it runs criu for a step with what CAP_CHECKPOINT_RESTORE does not cover. The
 * plugin starts one for such a step; its agent asks. Whatever the agent says is the user's word.
 */
#ifndef SCKPT_BROKER_H
#define SCKPT_BROKER_H

#include <sys/socket.h>

#include "sckpt/base.h"

/*
 * One SOCK_SEQPACKET socket pair per step, made by the plugin: to a user it has no name. The
 * broker takes requests of the step's agent alone: the first process of the step's PID
 * namespace, which says so while the user cannot reach it yet (BROKER_HELLO).
 */
enum broker_word {
	BROKER_HELLO = 1, /* to the broker; answered by BROKER_GRANTED */
	BROKER_GRANTED, /* `value`: what the step may have, ELEVATE_* */
	BROKER_DUMP, /* `value`: 1 the tree is gone afterwards; see below */
	BROKER_RESTORE,
	BROKER_HOOK, /* from the broker: criu is at `text` ("pre-dump", "post-dump",
		      * "post-restore") */
	BROKER_ANSWER, /* to it, and `value` is 0 for yes */
	BROKER_DONE, /* from it: criu has ended, and `value` is its wait status */
	BROKER_REFUSED /* from it, in the place of DONE: `text` says why; `value` is 1 when
			* another node may do */
};

/*
 * DUMP, RESTORE: `count` descriptors come along. The first is a stream socket, over which
 * the broker asks for images, and hands them over, as criu does (image.h). Then the files of
 * a struct criu_run: their keys in `text`, each with its NUL; at a restore a descriptor each.
 */
#define BROKER_TEXT_MAX 65536
struct broker_message {
	uint32_t word;
	int32_t value;
	uint32_t count;
	uint32_t size; /* bytes of text */
	char text[BROKER_TEXT_MAX];
};
#define BROKER_HEAD offsetof(struct broker_message, text)

/* What of the images the broker vouches for: the last one of a dump, and the first that
 * it asks for at a restore (doc/security.md). */
#define BROKER_IMAGE "sckpt-broker.img"

/* ---- messages (broker.c of base) ---------------------------------------------- */

/* The text's size is taken from it; fds stay the caller's. */
int broker_send(int to, const struct broker_message *m, const int *fds, int count,
		struct err *e);
/*
 * Waits for one. 1; 0: the other side is gone; -1. from: its sender, as the kernel says, where
 * the socket has SO_PASSCRED; NULL. fds: at most *count, the caller's.
 */
int broker_receive(int fd, struct broker_message *m, int *fds, int *count,
		   struct ucred *from, struct err *e);

#endif
