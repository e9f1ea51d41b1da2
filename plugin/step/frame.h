/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a step of several tasks says through its srun, and sckpt-srun hears: whose words
 * come first there is chance, and another one after a restore; and labels are put between. So each piece says whose
 * it is and where in what that stream has said.
 *
 * slurmstepd sends srun whole lines, of 1024 bytes at most, and at the end of a stream
 * pieces of 1024 bytes (src/slurmd/slurmstepd/io.c, _task_build_message). A frame is a
 * line, and always of half that size, so that none is torn and mixed with others'.
 */
#ifndef SCKPT_FRAME_H
#define SCKPT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE 512

struct frame {
	int node, stream;
	int64_t at; /* of its first byte, in all that the stream has said */
	size_t size;
	char data[FRAME_SIZE];
};

/* Puts the first bytes of data, which stand at `at`, into a frame; returns how many. */
size_t frame_make(char out[FRAME_SIZE], uint32_t token, int node, int stream,
		  int64_t at, const char *data, size_t size);
/* Could these bytes, or those of more that follow, be a frame? */
bool frame_begins(const char *data, size_t size, uint32_t token);
/* Takes FRAME_SIZE bytes apart; false: they are none. */
bool frame_take(const char in[FRAME_SIZE], uint32_t token, struct frame *f);

#endif
