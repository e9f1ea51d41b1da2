/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
#include <stdio.h>
#include <string.h>

#include "sckpt/base.h"

/* Blanks and the like are escapes there: "\040". */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		unsigned int byte;

		if (*at == '\\' && sscanf(at + 1, "%3o", &byte) == 1) {
			*to++ = (char)byte;
			at += 3;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root /point options [tags] - type source options"; line is changed. */
static bool parse(char *line, struct mount_line *m)
{
	char *words[5] = { NULL }, *at = line, *rest = strstr(line, " - ");

	for (int i = 0; i < 5; i++)
		words[i] = strsep(&at, " ");
	if (!words[4] || !rest || !at || at > rest)
		return false;
	rest += 3;
	m->point = words[4];
	m->type = strsep(&rest, " ");
	m->source = rest ? strsep(&rest, " ") : NULL;
	if (!m->source)
		return false;
	m->options = rest ? rest : "";
	unescape(m->point);
	unescape(m->source);
	return true;
}

size_t mountinfo_parse(char *text, struct mount_line *lines, size_t most)
{
	char *line;
	size_t n = 0;

	while (n < most && (line = strsep(&text, "\n")))
		if (parse(line, &lines[n]))
			n++;
	return n;
}

const struct mount_line *mount_of(const struct mount_line *lines, size_t count,
				  const char *path)
{
	const struct mount_line *found = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(lines[i].point);

		if (n == 1) /* the root */
			n = 0;
		/* The last of a name hides those before. */
		if (!strncmp(path, lines[i].point, n) &&
		    (path[n] == '/' || path[n] == '\0') && n >= longest) {
			found = &lines[i];
			longest = n;
		}
	}
	return found;
}
