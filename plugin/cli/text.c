/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people see: tables, ages, colours; and JSON for machines. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define COLUMNS_MAX 16

struct table {
	const char *heads[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	size_t columns, cells;
	char **cell;
};

bool colours(int fd)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	return isatty(fd) && term && strcmp(term, "dumb") && (!no || !*no);
}

char *printable(char *text)
{
	for (char *at = text; at && *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = '?';
	return text;
}

/* A command that cannot get a few bytes of memory has nothing left to say. */
static void *need(void *memory)
{
	if (!memory) {
		fputs("sckpt: no memory\n", stderr);
		exit(EXIT_FAILED);
	}
	return memory;
}

struct table *table_new(const char *const heads[])
{
	struct table *t = need(calloc(1, sizeof(*t)));

	for (; heads[t->columns]; t->columns++) {
		t->heads[t->columns] = heads[t->columns];
		t->width[t->columns] = strlen(heads[t->columns]);
	}
	return t;
}

void table_add(struct table *t, const char *text)
{
	size_t column = t->cells % t->columns;

	t->cell = need(realloc(t->cell, (t->cells + 1) * sizeof(*t->cell)));
	t->cell[t->cells] = printable(need(strdup(text)));
	if (strlen(text) > t->width[column])
		t->width[column] = strlen(text);
	t->cells++;
}

static const char *paint(const char *state)
{
	if (!strcmp(state, "RUNNING") || !strcmp(state, "good"))
		return GREEN;
	if (!strcmp(state, "PENDING") || !strcmp(state, "SUSPENDED"))
		return YELLOW;
	if (!strcmp(state, "FAILED") || !strcmp(state, "damaged"))
		return RED;
	return "";
}

void table_print(struct table *t, const char *paint_column)
{
	bool colour = colours(STDOUT_FILENO);

	for (size_t i = 0; i < t->columns; i++)
		printf("%s%-*s%s%s", colour ? BOLD : "",
		       i + 1 < t->columns ? (int)t->width[i] : 0, t->heads[i],
		       colour ? PLAIN : "", i + 1 < t->columns ? "  " : "\n");
	for (size_t i = 0; i < t->cells; i++) {
		size_t c = i % t->columns;
		bool last = c + 1 == t->columns;
		const char *on = colour && paint_column &&
						 !strcmp(paint_column, t->heads[c]) ?
					 paint(t->cell[i]) :
					 "";

		printf("%s%-*s%s%s", on, last ? 0 : (int)t->width[c],
		       t->cell[i], *on ? PLAIN : "", last ? "\n" : "  ");
	}
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->cells; i++)
		free(t->cell[i]);
	free(t->cell);
	free(t);
}

void age_print(int64_t since, char out[16])
{
	int64_t s = time(NULL) - since;

	if (s < 0)
		snprintf(out, 16, "in the future");
	else if (s < 120)
		snprintf(out, 16, "%d s", (int)s);
	else if (s < 120 * 60)
		snprintf(out, 16, "%d min", (int)(s / 60));
	else if (s < 48 * 3600)
		snprintf(out, 16, "%d h", (int)(s / 3600));
	else if (s / 86400 < 100000)
		snprintf(out, 16, "%d d", (int)(s / 86400));
	else
		snprintf(out, 16, "?");
}

void time_print(int64_t at, char out[32])
{
	time_t when = (time_t)at;
	struct tm tm;

	if (!localtime_r(&when, &tm) ||
	    !strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(out, 32, "?");
}

void json_out(json_object *o)
{
	puts(json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}
