/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What slurmstepd is not told of Slurm's configuration. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sckpt/policy.h"

#define CONFIG_MAX (1 << 20)
/* As in Slurm (cred.h, DEFAULT_EXPIRATION_WINDOW). */
#define CRED_EXPIRE 120

char *config_ask(struct err *e)
{
	char *argv[] = { SCONTROL_PATH, "show", "config", NULL };
	char *text = NULL;

	return run_collect(argv, environ, 5000, CONFIG_MAX, &text, e) < 0 ?
		       NULL :
		       text;
}

/* "Name                 = value" */
bool config_find(const char *text, const char *name, char *value, size_t size)
{
	size_t n = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *at;

		line += *line == '\n';
		if (strncmp(line, name, n))
			continue;
		at = line + n + strspn(line + n, " ");
		if (at == line + n || *at != '=')
			continue;
		at++;
		at += *at == ' ';
		snprintf(value, size, "%.*s", (int)strcspn(at, "\n"), at);
		return true;
	}
	return false;
}

/* The number of a word in a list such as "a=1,b=2"; -1 none. */
static int number_of(const char *text, const char *list, const char *name)
{
	char value[4096];
	const char *at;

	if (!config_find(text, list, value, sizeof(value)) ||
	    !(at = strcasestr(value, name)))
		return -1;
	return atoi(at + strlen(name));
}

bool config_requeue_exit(const char *text, int code)
{
	char value[4096], *rest = value, *word;

	if (!config_find(text, "RequeueExit", value, sizeof(value)))
		return false;
	while ((word = strsep(&rest, ","))) {
		int first, last, n = sscanf(word, "%d-%d", &first, &last);

		if (n > 0 && code >= first && code <= (n > 1 ? last : first))
			return true;
	}
	return false;
}

int config_requeue_delay(const char *text)
{
	/* 25.11 and later. */
	int delay = number_of(text, "SchedulerParameters", "requeue_delay=");

	if (delay < 0)
		delay = number_of(text, "AuthInfo", "cred_expire=");
	return delay < 0 ? CRED_EXPIRE : delay;
}
