/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_END_H
#define SCKPT_END_H

/* Ends this process as another one ended, by its wait status: same exit code,
 * or killed by the same signal, without a core dump of our own. */
void end_as(int status) __attribute__((noreturn));

#endif
