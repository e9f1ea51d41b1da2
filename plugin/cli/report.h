/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sckpt report tells of a step. */
#ifndef SCKPT_REPORT_H
#define SCKPT_REPORT_H

#include "cli.h"
#include "work.h"

struct report {
	struct spec step;
	struct event *events;
	int count;
	struct work work;
	char state[40]; /* "exit 0", "signal 9", or the job's: "RUNNING" */
};

/* The newest name, array task and command that a log tells; NULL none. */
const struct event *report_begin(const struct report *r);

/* page.c: all of them as one HTML page into an open file. */
void page_write(FILE *to, const struct report *list, size_t count);

#endif
