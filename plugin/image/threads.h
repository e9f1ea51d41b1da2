/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_THREADS_H
#define SCKPT_THREADS_H

/* More do not help: criu sends from one thread. */
#define IMAGE_THREADS_MAX 16

/* How many to start: as told, or 0: a thread for each CPU that this process
 * may use (sched_getaffinity(2): Slurm binds the step to its own). */
int threads_for(int told);

#endif
