/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job's Comment, which its owner may set (AdminComment is an operator's).
 * Where somebody else has said something in it, it is left alone.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/policy.h"

/* slurmctld takes 1024 bytes; a comment is to be read at a glance. */
#define COMMENT_MOST 300

bool comment_is_free(const char *comment)
{
	return !*comment || !strncmp(comment, COMMENT_BEGIN, strlen(COMMENT_BEGIN));
}

bool comment_due(int64_t last_ns, int64_t now_ns)
{
	return !last_ns || now_ns - last_ns >= COMMENT_EVERY * INT64_C(1000000000);
}

int comment_set(const char *job, const char *step, const char *text, int timeout_ms,
		struct err *e)
{
	char value[COMMENT_MOST + 16], when[32] = "";
	char *argv[] = { SCONTROL_PATH, "update", "job", (char *)job, value, NULL };
	cleanup_free char *answer = NULL;
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(value, COMMENT_MOST, "Comment=" COMMENT_BEGIN "%s: %s: %s", step,
		 when, text);
	/* What scontrol would take for a part of its command line. */
	for (char *at = value; *at; at++)
		if (*at == '"' || *at == '\'' || (unsigned char)*at < ' ')
			*at = ' ';
	return run_collect(argv, environ, timeout_ms, 65536, &answer, e);
}
