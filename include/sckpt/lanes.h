/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lanes: more room between criu and the agent while a program is dumped. Criu has the program lend its
 * pages (vmsplice(2)), some MiB at a time, moves them into the image's pipe, and has it lend
 * more when the last are in there. A pipe of a user's holds 1 MiB: so while the agent copies the program
 * lends nothing, and while it lends there is nothing to copy. What is loaded into criu (plugin/criu/lanes.c)
 * moves them into several pipes of its own instead, in turn, which the agent empties in that order.
 *
 * A SOCK_SEQPACKET socket in criu's images directory, one connection for a dump:
 *
 *   criu   lanes_message with size 0 and the lanes' ends to read from, in SCM_RIGHTS
 *   criu   lanes_message: so many bytes of that image are in the next lane
 *   we     a byte: they have been read
 *
 * All of an image's bytes go through lanes once one did, and are read before criu closes its pipe.
 */
#ifndef SCKPT_LANES_H
#define SCKPT_LANES_H

#include <stdint.h>

#define LANES_SOCKET "lanes.sock"
#define LANES_MOST 12
#define LANE_SIZE (1 << 20) /* fs.pipe-max-size, for unprivileged users */
/* Programs that lend less at a time are dumped before this is set up. */
#define LANES_LEAST (512U << 10)

struct lanes_message {
	uint64_t pipe; /* inode number of the image's */
	uint64_t size; /* bytes */
};

#endif
