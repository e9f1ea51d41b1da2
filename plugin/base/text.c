/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nearest words, directory templates, paths in text, version numbers. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sckpt/base.h"

long long text_number(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoll(at + strlen(key), NULL, 10) : 0;
}

#define WORD_MAX 32

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	a = a < b ? a : b;
	return a < c ? a : c;
}

/* Levenshtein's distance, of the first WORD_MAX letters. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[WORD_MAX + 1];
	size_t la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX);

	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1,
				      diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[lb];
}

const char *text_nearest(const char *word, const char *const list[])
{
	const char *best = list[0];
	unsigned least = ~0U;

	for (; *list; list++) {
		unsigned d = distance(word, *list);

		if (d < least) {
			least = d;
			best = *list;
		}
	}
	return best;
}

char *text_plain(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++)
		if (*at < ' ' || *at == 0x7f)
			*at = '?';
		else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
	return text;
}

int text_expand(const char *template, const struct text_vars *vars, char *out,
		size_t size, struct err *e)
{
	size_t n = 0;

	for (const char *p = template; *p; p++) {
		char number[16], one[2] = { *p, '\0' };
		const char *add = one;

		/* Such a name is a mistake, or is to forge a line of a log. */
		if (iscntrl((unsigned char)*p))
			return err_set(e, "%s: control characters are in it",
				       template);
		if (*p == '%') {
			switch (*++p) {
			case 'u':
				add = vars->user;
				break;
			case 'h':
				add = vars->home;
				break;
			case 'c':
				add = vars->cluster;
				break;
			case 'U':
				snprintf(number, sizeof(number), "%u",
					 (unsigned)vars->uid);
				add = number;
				break;
			case 'j':
				snprintf(number, sizeof(number), "%u",
					 vars->job);
				add = number;
				break;
			case '%':
				add = "%";
				break;
			default:
				return err_set(e, "%s: '%%%.1s' is not known; %%u user, %%U user id, %%h home, %%j job, %%c cluster are",
					       template, p);
			}
			if (!add || !*add)
				return err_set(e, "%s: nothing is known for %%%c",
					       template, *p);
		}
		if (n + strlen(add) >= size)
			return err_set(e, "%s: longer than %zu bytes", template,
				       size - 1);
		memcpy(out + n, add, strlen(add));
		n += strlen(add);
	}
	out[n] = '\0';
	return 0;
}

int version_parse(const char *text)
{
	unsigned part[3] = { 0, 0, 0 };

	if (!isdigit((unsigned char)*text) ||
	    sscanf(text, "%2u.%2u.%2u", &part[0], &part[1], &part[2]) < 1)
		return -1;
	return (int)(part[0] * 10000 + part[1] * 100 + part[2]);
}

void version_print(int version, char out[16])
{
	unsigned v = version < 0 ? 0 : (unsigned)version % 1000000;

	if (v % 100)
		snprintf(out, 16, "%u.%u.%u", v / 10000, v / 100 % 100, v % 100);
	else
		snprintf(out, 16, "%u.%u", v / 10000, v / 100 % 100);
}

int size_parse(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned shift = 0;
	char *end;

	errno = 0;
	if (*text < '0' || *text > '9')
		return -1;
	*bytes = strtoull(text, &end, 10);
	if (*end && (unit = strchr(units, *end))) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno || *end || *bytes > UINT64_MAX >> shift)
		return -1;
	*bytes <<= shift;
	return 0;
}

void size_print(uint64_t bytes, char out[16])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(out, 16, "%u B", (unsigned)bytes);
		return;
	}
	while (n >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		n /= 1024;
		unit++;
	}
	snprintf(out, 16, n < 10 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

int span_parse(const char *text, long *seconds)
{
	static const struct {
		char letter;
		long seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
		      { 'w', 7 * 86400 } };
	char *end;

	if (!isdigit((unsigned char)*text) || strspn(text, "0123456789") > 10)
		return -1;
	*seconds = strtol(text, &end, 10);
	if (*seconds > 1000000000)
		return -1;
	if (!*end)
		return 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (*end == units[i].letter && !end[1]) {
			*seconds *= units[i].seconds;
			return 0;
		}
	return -1;
}

void span_print(int64_t us, char out[16])
{
	long long s = us / 1000000;

	if (us < 0)
		snprintf(out, 16, "?");
	else if (us < 1000000)
		snprintf(out, 16, "%.1f ms", (double)us / 1e3);
	else if (s < 100)
		snprintf(out, 16, "%.2f s", (double)us / 1e6);
	else if (s < 3600)
		snprintf(out, 16, "%u min %u s", (unsigned)s / 60, (unsigned)s % 60);
	else
		snprintf(out, 16, "%lld h %lld min", s / 3600 % 1000000,
			 s / 60 % 60);
}

char *text_escape(const char *path)
{
	char *text = malloc(3 * strlen(path) + 1), *to = text;

	for (const unsigned char *at = (const unsigned char *)path; text && *at; at++)
		if (*at <= ' ' || *at > '~' || *at == '%')
			to += sprintf(to, "%%%02x", *at);
		else
			*to++ = (char)*at;
	if (text)
		*to = '\0';
	return text;
}

char *text_unescape(const char *text)
{
	char *path = malloc(strlen(text) + 1), *to = path;

	while (path && *text) {
		unsigned byte = (unsigned char)*text++;

		if (byte == '%' &&
		    (!isxdigit((unsigned char)text[0]) ||
		     !isxdigit((unsigned char)text[1]) ||
		     sscanf(text, "%2x", &byte) != 1 || !byte)) {
			free(path);
			return NULL;
		}
		text += text[-1] == '%' ? 2 : 0;
		*to++ = (char)byte;
	}
	if (path)
		*to = '\0';
	return path;
}
