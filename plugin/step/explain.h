/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCKPT_EXPLAIN_H
#define SCKPT_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Pure. What an error of criu's means and what can be done about it, in a
 * sentence; `error` is a line of its log behind "Error (FILE:LINE): ", up to its
 * end or a newline. Returns the number of the table's row, from 1; 0: it is not
 * in the table.
 */
int explain_error(const char *error, char *text, size_t size);
int explain_rows(void);

/*
 * The first error of a log that the table knows; else the first one as it stands,
 * and *known is false. False: there is no error in it.
 */
bool explain_log(const char *log, bool *known, char *text, size_t size);

#endif
