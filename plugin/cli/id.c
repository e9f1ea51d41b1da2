/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How people name checkpoints. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const char *number(const char *at, long long most, int64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)*at))
		return NULL;
	errno = 0;
	*n = strtoll(at, &end, 10);
	return errno || *n > most ? NULL : end;
}

static bool is_step(const char *step)
{
	const char *old = strstr(step, ".old.");
	size_t n = old ? (size_t)(old - step) : strlen(step);

	if (old && (!old[5] || old[5 + strspn(old + 5, "0123456789")]))
		return false;
	if (n == 5 && !strncmp(step, "batch", 5))
		return true;
	/* By Slurm's number, or by that of a call of its script's. */
	if (is_call_step(step)) {
		n -= strlen(CALL_STEP);
		step += strlen(CALL_STEP);
	}
	return n && n < 11 && strspn(step, "0123456789") == n;
}

static const char *take_step(const char *at, struct id *id)
{
	size_t n = strcspn(at, ":");

	if (n >= sizeof(id->step))
		return NULL;
	memcpy(id->step, at, n);
	id->step[n] = '\0';
	return is_step(id->step) ? at + n : NULL;
}

int id_parse(const char *text, struct id *id, struct err *e)
{
	const char *at = text, *slash = strchr(text, '/');
	int64_t n = 0;

	*id = (struct id){ .task = -1 };
	if (slash) {
		size_t length = (size_t)(slash - text);

		if (!length || length >= sizeof(id->cluster) || *text == '.' ||
		    strchr(slash + 1, '/'))
			goto bad;
		memcpy(id->cluster, text, length);
		at = slash + 1;
	}
	if (!(at = number(at, UINT32_MAX, &n)) || !n)
		goto bad;
	id->job = (uint32_t)n;
	if (*at == '_' && !(at = number(at + 1, UINT32_MAX, &id->task)))
		goto bad;
	if (*at == '.' && !(at = take_step(at + 1, id)))
		goto bad;
	if (*at == ':') {
		if (!(at = number(at + 1, INT_MAX - 1, &n)) || !n)
			goto bad;
		id->generation = (int)n;
	}
	if (!*at)
		return 0;
bad:
	return err_set(e, "'%.80s' names no checkpoint: it is JOB, JOB.STEP or JOB.STEP:GENERATION, such as 1234, 1234.batch or 1234.0:3; for an array task 1234_5, for another cluster CLUSTER/1234",
		       text);
}

void id_job(const struct id *id, char out[40])
{
	if (id->task < 0)
		snprintf(out, 40, "%u", id->job);
	else
		snprintf(out, 40, "%u_%jd", id->job, (intmax_t)id->task);
}

void id_print(const struct spec *step, int generation, char out[ID_TEXT_MAX])
{
	int n = snprintf(out, ID_TEXT_MAX, "%u.%s", step->job, step->step);

	if (generation)
		snprintf(out + n, ID_TEXT_MAX - (size_t)n, ":%d", generation);
	text_plain(out);
}
