/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program needs of the node that it goes on on (needs.c). */
#ifndef SCKPT_NEEDS_H
#define SCKPT_NEEDS_H

#include "step.h"

/* Fills in m->cpu and m->needs of the tree, which may run. Files of this node alone
 * (local.c) are none: they travel. */
int needs_find(const struct step *step, const pid_t *pids, int count,
	       struct manifest *m, struct err *e);
/* -1, and in words what this node has not. */
int needs_met(const struct manifest *m, const char *node, struct err *e);

/* build_id.c, cpu.c: pure. The build-id in the first `size` bytes of a file, "" none. */
void build_id_of(const uint8_t *head, size_t size, char id[BUILD_ID_MAX]);
/* The instructions in /proc/cpuinfo, which is changed. */
void cpu_flags_of(char *cpuinfo, char *flags, size_t size);
/* Those of `then` that `now` has not: "avx2, fma". */
void cpu_lacks(const char *then, const char *now, char *lacks, size_t size);

#endif
