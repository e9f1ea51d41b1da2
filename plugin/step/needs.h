/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program needs of the node that it goes on on (needs.c). */
#ifndef SCKPT_NEEDS_H
#define SCKPT_NEEDS_H

#include "step.h"

/* Fills in all of m that says what the node must have: room.c's, m->cpu and m->needs of the tree, which may run. Files of this node alone
 * (local.c) are none: they travel. */
int needs_find(const struct step *step, const pid_t *pids, int count,
	       struct manifest *m, struct err *e);
/* -1, and in words what this node has not. */
int needs_met(const struct manifest *m, const char *node, struct err *e);

/* mounts.c: m->mounts, of the tree and of m->needs. */
int mounts_find(const struct step *step, const pid_t *pids, int count,
		struct manifest *m, struct err *e);
int mounts_met(const struct manifest *m, const char *node, struct err *e);

/* room.c: m->memory, threads, highest_pid and groups. */
void room_find(pid_t root, const pid_t *pids, int count, struct manifest *m);
/* Sets step->elsewhere or step->unfit when it is not met. */
int room_met(const struct manifest *m, struct step *step, struct err *e);

/* build_id.c, cpu.c: pure. The build-id in the first `size` bytes of a file, "" none. */
void build_id_of(const uint8_t *head, size_t size, char id[BUILD_ID_MAX]);
/* The instructions in /proc/cpuinfo, which is changed. */
void cpu_flags_of(char *cpuinfo, char *flags, size_t size);
/* Is it one of the words, with blanks between? */
bool words_have(const char *words, const char *word);
/* Those of `then` that `now` has not: "avx2, fma". */
void cpu_lacks(const char *then, const char *now, char *lacks, size_t size);

#endif
