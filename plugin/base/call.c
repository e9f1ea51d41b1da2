/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What srun's plugin and the step's helpers share of a script's srun calls. */
#include <stdlib.h>
#include <string.h>

#include "sckpt/base.h"

bool is_call_step(const char *step)
{
	return !strncmp(step, CALL_STEP, strlen(CALL_STEP));
}

bool step_is_of(const char *dir, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(dir, name, n) && (!dir[n] || !strncmp(dir + n, ".old.", 5));
}

int call_step_parse(const char *text, struct call_step *step, struct err *e)
{
	static const char afresh[] = ",afresh", token[] = ",token=", call[] = ",call=";
	size_t prefix = strlen(CALL_STEP), digits, n, size;
	struct call_step new = { .token = 0 };
	const char *rest;

	if (!text || !is_call_step(text))
		goto bad;
	digits = strspn(text + prefix, "0123456789");
	n = prefix + digits;
	rest = text + n;
	if (!strncmp(rest, token, strlen(token))) {
		rest += strlen(token);
		if (strspn(rest, "0123456789abcdef") != 8)
			goto bad;
		new.token = (uint32_t)strtoul(rest, NULL, 16);
		rest += 8;
	}
	if (!strncmp(rest, call, strlen(call))) {
		rest += strlen(call);
		size = strspn(rest, "0123456789abcdef.");
		if (!size || size > CALL_TEXT_MAX)
			goto bad;
		memcpy(new.call, rest, size);
		rest += size;
	}
	if (!digits || digits > 9 || (*rest && strcmp(rest, afresh)))
		goto bad;
	memcpy(new.name, text, n);
	new.afresh = *rest != '\0';
	*step = new;
	return 0;
bad:
	return err_set(e, "--checkpoint-step is sckpt's own, for the steps of a script that can go on: leave it out");
}

const char *srun_letter(const char *arg, char letter)
{
	/* Others have an argument of their own, or may have one (slurm_opt.c). */
	static const char flags[] = "EHOQVXZhlsuv";

	if (*arg++ != '-')
		return NULL;
	for (; *arg && *arg != letter; arg++)
		if (!strchr(flags, *arg))
			return NULL;
	return *arg ? arg + 1 : NULL;
}

const char *block_next(const char *at, const char *end)
{
	const char *nul = memchr(at, '\0', (size_t)(end - at));

	return nul ? nul + 1 : end;
}

char **block_list(char *block, size_t size, size_t front)
{
	const char *end = block + size;
	size_t count = 0;
	char **list;

	for (const char *at = block; at < end; at = block_next(at, end))
		count++;
	if (!(list = calloc(front + count + 1, sizeof(*list))))
		return NULL;
	for (char *at = block; at < end; at = (char *)block_next(at, end))
		list[front++] = at;
	return list;
}
