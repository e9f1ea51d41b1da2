/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the broker vouches for: a text, which munged seals for root. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"

/* Nothing else that root seals begins so. */
#define FIRST "sckpt-broker-statement 2"

bool statement_name_good(const char *name)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(name);

	return n > 0 && n < STATEMENT_NAME && name[0] != '.' && strspn(name, good) == n;
}

static void print_digest(FILE *to, const uint8_t digest[32])
{
	for (size_t k = 0; k < 32; k++)
		fprintf(to, "%02x", digest[k]);
	fputc('\n', to);
}

char *statement_text(const struct statement *s)
{
	size_t size = 0;
	char *text = NULL;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	fprintf(to, FIRST "\ncluster %s\nuid %u\nneeds %d\nvdso ", s->cluster, s->uid,
		s->needs);
	print_digest(to, s->vdso);
	for (size_t i = 0; i < s->count; i++) {
		const struct stated *at = &s->list[i];

		if (at->pages) {
			fprintf(to, "pages %s\n", at->name);
			continue;
		}
		fprintf(to, "image %s %" PRIu64 " ", at->name, at->size);
		print_digest(to, at->sha256);
	}
	fputs("end\n", to);
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}

void statement_free(struct statement *s)
{
	free(s->list);
	s->list = NULL;
	s->count = 0;
}

static int parse_digest(const char *text, uint8_t out[32])
{
	for (int i = 0; i < 32; i++)
		if (sscanf(text + (size_t)i * 2, "%2hhx", &out[i]) != 1)
			return -1;
	return 0;
}

static int parse_line(char *line, struct stated *at)
{
	char *word = strsep(&line, " "), *name = strsep(&line, " ");
	char *size = strsep(&line, " ");

	*at = (struct stated){ .pages = !strcmp(word, "pages") };
	if ((!at->pages && strcmp(word, "image")) || !name ||
	    !statement_name_good(name))
		return -1;
	strcpy(at->name, name);
	if (at->pages)
		return size ? -1 : 0;
	if (!size || !line || strlen(line) != 64)
		return -1;
	at->size = strtoull(size, NULL, 10);
	return parse_digest(line, at->sha256);
}

static int parse(char *copy, struct statement *s)
{
	char *rest = copy, *line;
	size_t room = 0;

	/* It is compared with what it makes: what is lax here does no harm. */
	if (!(line = strsep(&rest, "\n")) || strcmp(line, FIRST) ||
	    !(line = strsep(&rest, "\n")) ||
	    sscanf(line, "cluster %127s", s->cluster) != 1 ||
	    !(line = strsep(&rest, "\n")) || sscanf(line, "uid %u", &s->uid) != 1 ||
	    !(line = strsep(&rest, "\n")) || sscanf(line, "needs %d", &s->needs) != 1 ||
	    !(line = strsep(&rest, "\n")) || strlen(line) != 5 + 64 ||
	    parse_digest(line + 5, s->vdso) < 0)
		return -1;
	while ((line = strsep(&rest, "\n")) && strcmp(line, "end")) {
		if (s->count == room) {
			struct stated *more;

			room = room ? room * 2 : 64;
			if (!(more = realloc(s->list, room * sizeof(*more))))
				return -1;
			s->list = more;
		}
		if (parse_line(line, &s->list[s->count]) < 0)
			return -1;
		s->count++;
	}
	return line ? 0 : -1;
}

int statement_parse(const char *text, struct statement *s)
{
	cleanup_free char *copy = strdup(text), *again = NULL;

	*s = (struct statement){ .uid = (uint32_t)-1 };
	if (copy && parse(copy, s) == 0 && (again = statement_text(s)) &&
	    !strcmp(again, text))
		return 0;
	statement_free(s);
	return -1;
}
