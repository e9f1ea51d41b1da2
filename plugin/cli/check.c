/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt check: a rehearsal, and what it found. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

int cmd_check(const struct options *o)
{
	struct job job;

	return ask_steps(o, ASK_CHECK, &job);
}

static void add_line(json_object *list, const char *kind, const char *text)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "kind", json_object_new_string(kind));
	json_object_object_add(o, "text", json_object_new_string(text));
	json_object_array_add(list, o);
}

int check_report(const char *name, char *text, json_object *list)
{
	json_object *o = json_object_new_object();
	json_object *lines = json_object_new_array();
	char *rest = text, *line;
	int blocks = 0, notes = 0;

	while ((line = strsep(&rest, "\n"))) {
		char *said = strchr(line, ' ');

		if (!said)
			continue;
		*said++ = '\0';
		blocks += !strcmp(line, "blocks");
		notes += !strcmp(line, "note");
		add_line(lines, line, printable(said));
		if (!list)
			printf("step %s: %s%s\n", name,
			       strcmp(line, "blocks") ? "" : "in the way: ",
			       said);
	}
	if (!list && !blocks && !notes)
		printf("step %s: it can be checkpointed, and restored on a node like this one\n",
		       name);
	json_object_object_add(o, "id", json_object_new_string(name));
	json_object_object_add(o, "good", json_object_new_boolean(!blocks));
	json_object_object_add(o, "restored",
			       json_object_new_boolean(!blocks && !notes));
	json_object_object_add(o, "found", lines);
	if (list)
		json_object_array_add(list, o);
	else
		json_object_put(o);
	if (!blocks)
		return EXIT_OK;
	return complain(EXIT_FAILED, "step %s cannot be checkpointed and restored as it is: %d thing%s in the way; it runs on",
			name, blocks, blocks == 1 ? " is" : "s are");
}
