/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent asks for, taken apart. */
#include <string.h>

#include "broker.h"

/* Names as criu's own code makes them; what else the user could say is no option. */
static bool is_key(const char *key, bool restore)
{
	static const char *const begins[] = { "file[", "pipe:[", "unix[", "socket:[" };

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		size_t n = strlen(begins[i]), numbers;

		if (strncmp(key, begins[i], n))
			continue;
		numbers = strspn(key + n, "0123456789abcdef:");
		return numbers && !strcmp(key + n + numbers, "]");
	}
	/* An inherited file may have any name; it only says in which place it stands. */
	return restore && *key;
}

int asked_take(const struct broker_message *m, const int *fds, int count,
		 struct criu_run *run, struct err *e)
{
	const char *at = m->text, *end = m->text + m->size;
	uint32_t files = 0;

	*run = (struct criu_run){ .restore = m->word == BROKER_RESTORE,
				  .end = m->value != 0 };
	for (; at < end; at += strlen(at) + 1, files++) {
		if (!memchr(at, '\0', (size_t)(end - at)) || files == FDS_MAX ||
		    !is_key(at, run->restore))
			return err_set(e, "the agent's request is not understood");
		if (run->restore)
			criu_inherit(run, at, (int)files < count ? fds[files] : -1);
		else
			criu_leave_out(run, at);
	}
	if (files != m->count || count != (run->restore ? (int)files : 0))
		return err_set(e, "the agent's request is not understood");
	return 0;
}
