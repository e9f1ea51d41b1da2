/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What export writes beside criu's images, and import reads. */
#ifndef SCKPT_EXPORT_H
#define SCKPT_EXPORT_H

#include "cli.h"

#define EXPORT_MANIFEST "sckpt.json"
#define EXPORT_OUTPUT "sckpt.output."
#define EXPORT_PART "node." /* of a step on several nodes: a directory for each, from 0 */
#define EXPORT_FILE "sckpt.file." /* content of the program's file number … */

#endif
