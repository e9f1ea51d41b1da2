/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines that slurmstepd itself writes on a job's standard error: what they begin with
 * depends on the release (src/common/log.c, _log_msg). */
#include <string.h>

#include "sckpt/base.h"

#define WORDS "error: *** "
#define NAME "slurmstepd"
/* A node's name is 255 bytes at the most. */
#define BEFORE_MOST 300

/* "slurmstepd: ", "slurmstepd-n1: ": up to 24.11. */
static const char *find_name(const char *from, const char *words)
{
	size_t n = strlen(NAME);

	if (words - from < 2 || memcmp(words - 2, ": ", 2))
		return NULL;
	for (const char *at = words - 2; at > from && !memchr(" \n", at[-1], 2);)
		if (!strncmp(--at, NAME, n))
			return at;
	return NULL;
}

/* "[2026-11-27T23:41:46.006] ", in any LogTimeFormat: since 25.05, and since 23.11 with
 * LogTimeFormat=format_stderr. */
static const char *find_time(const char *from, const char *words)
{
	const char *at;

	if (words - from < 2 || memcmp(words - 2, "] ", 2))
		return NULL;
	at = memrchr(from, '[', (size_t)(words - 2 - from));
	return at && !memchr(at, '\n', (size_t)(words - at)) &&
			       !memchr(at, ']', (size_t)(words - 2 - at)) ?
		       at :
		       NULL;
}

char *stepd_line(char *text, size_t size, char **words)
{
	char *end = text + size, *at = text;

	for (; (at = memmem(at, (size_t)(end - at), WORDS, strlen(WORDS)));
	     at += strlen(WORDS)) {
		const char *from = at - text > BEFORE_MOST ? at - BEFORE_MOST : text;
		const char *begin = find_name(from, at);

		if (!begin)
			begin = find_time(from, at);
		if (begin) {
			*words = at + strlen(WORDS);
			return text + (begin - text);
		}
	}
	return NULL;
}
