/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * put: how large pieces of a program's memory get past criu at a restore. Criu reads pages out of
 * an image's pipe, one thread for each process, with a copy more than is needed. So what is loaded
 * into criu (plugin/criu/put.c) asks the agent to put the next bytes of the image where criu
 * wants them (process_vm_writev(2)), which several threads do at once (plugin/image/reader.c).
 *
 * A SOCK_SEQPACKET socket in criu's images directory, a connection for each read(2):
 *
 *   criu's process   put_request, size 0: the image is to wait
 *   we               0: the pipe stays as it is now; anything else: no
 *   criu's process   empties the pipe; then put_requests for what is missing, each answered
 *                    when it is done, by 0; anything else: nothing was put, and it is to read
 *   criu's process   closes: the pipe is filled again
 */
#ifndef SCKPT_PUT_H
#define SCKPT_PUT_H

#include <stdint.h>

#define PUT_SOCKET "put.sock"
/* Less is not worth it: a pipe's content is read as ever, and a connection costs as
 * much as some pages. */
#define PUT_LEAST (4U << 20)
/* Of one request: meanwhile nobody else is served. */
#define PUT_MOST (64U << 20)

struct put_request {
	uint64_t pipe; /* its inode number */
	uint64_t to; /* where, in the peer's memory */
	uint64_t size; /* bytes */
};

#endif
