/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * srun calls of a protected script. Three processes for each:
 *
 *   sckpt-srun    (srun.c) in srun's place in the script's tree, and dumped with
 *                 it; passes on input, output and signals, and remembers how
 *                 much output it has passed on;
 *   sckpt-client  (client.c) a child of the agent's, outside of the tree: starts
 *                 the real srun, and finds out whether the step is over or only
 *                 stopped;
 *   srun          the real one, a child of sckpt-client.
 *
 * sckpt-srun tells the agent its PID through CALLS_FIFO, in a struct call; what
 * else is to be known of it is in /proc. It is told what happens in struct
 * call_words, through a pipe of its own. It has both ends of all its pipes, so that
 * nothing of it ends outside of the tree that is dumped.
 */
#ifndef SCKPT_CALLS_H
#define SCKPT_CALLS_H

#include <stdint.h>
#include <sys/types.h>

/* Exit status of sckpt-client: the step is to go on in the job's next run. */
#define CALL_GOES_ON 3
/* It had been done in an earlier run of the script, and was not run. */
#define CALL_WAS_DONE 4

/* sckpt-srun to the agent; less than PIPE_BUF, and so in one piece. Or sckpt-client, of
 * a step that has ended and may have been told to, before the script hears of it: then
 * pid is 0. */
struct call {
	int32_t pid;
	int32_t number; /* which call of the script it is; 0: a new one */
	/* Its descriptors for the real srun's standard input, output and error, -1
	 * where srun was given none; and the pipe that it is told through. */
	int32_t fds[3], words;
};

enum call_word_kind {
	CALL_STARTED = 1, /* value: the real srun's PID, or 0 until it is started
			   * once more; number: the call's */
	CALL_AGAIN, /* and all output from the step's start comes again */
	CALL_AFRESH, /* the step begins anew: none of its output was passed on */
	CALL_STOPPING, /* what srun says from here on is of the job's stop */
	CALL_ENDED, /* value: srun's wait status */
	CALL_FRAMES /* value: the token of frames in what it says (frame.h) */
};

struct call_word {
	int32_t kind, value, number;
};

/* The agent kicks a sckpt-srun with SIGURG and one of these (sigqueue). */
enum call_kick {
	KICK_AGAIN = 1, /* it was restored: it is to call again */
	KICK_END /* there is no dump: it ends as srun does with its job */
};

#endif
