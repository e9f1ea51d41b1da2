/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alone: what runs on without the file that it was started from.
 *
 * criu has a process's executable mapped again at a restore, from the file, which
 * must be the same then. A program's own is the user's affair; but sckpt-root and
 * sckpt-srun are in the tree, too, and a site that upgrades sckpt would strand
 * every checkpoint. So these take their code into memory, which is dumped as any
 * other, and name as their executable a file that has the same content in every
 * version of sckpt.
 */
#ifndef SCKPT_STEP_ALONE_H
#define SCKPT_STEP_ALONE_H

/*
 * For a static executable with one thread, at its start. exe: an executable file,
 * which becomes /proc/self/exe; it needs CAP_CHECKPOINT_RESTORE (prctl_set_mm_map(),
 * kernel/sys.c). -1 and errno when that is not to be had: then the process runs
 * as well, and can be restored only where its file is as it was.
 */
int alone_become(const char *exe);

#endif
