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

struct found {
	const char *name; /* of the step */
	int nodes;
	json_object *lines; /* for people when that is NULL */
	int blocks, notes;
};

static void add_line(const struct found *f, const char *node, const char *kind,
		     const char *text)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "node", json_object_new_string(node));
	json_object_object_add(o, "kind", json_object_new_string(kind));
	json_object_object_add(o, "text", json_object_new_string(text));
	json_object_array_add(f->lines, o);
}

/* Where there are several nodes it is said on which. */
static void print_line(const struct found *f, const char *node, const char *kind,
		       const char *text)
{
	bool set = f->nodes > 1;

	printf("step %s: %s%s%s%s\n", f->name, set ? node : "", set ? ": " : "",
	       strcmp(kind, "blocks") ? "" : "in the way: ", text);
}

static void add_node(struct found *f, char *text)
{
	const char *node = "";
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *said = strchr(line, ' ');

		if (!said)
			continue;
		*said++ = '\0';
		printable(line);
		printable(said);
		f->blocks += !strcmp(line, "blocks");
		f->notes += !strcmp(line, "note");
		if (!strcmp(line, "node"))
			node = said;
		else if (f->lines)
			add_line(f, node, line, said);
		else
			print_line(f, node, line, said);
	}
}

int check_report(const char *name, char *const texts[], int nodes,
		 json_object *list)
{
	struct found f = { .name = name, .nodes = nodes,
			   .lines = list ? json_object_new_array() : NULL };
	json_object *o;

	for (int i = 0; i < nodes; i++)
		add_node(&f, texts[i]);
	if (list) {
		o = json_object_new_object();
		json_object_object_add(o, "id", json_object_new_string(name));
		json_object_object_add(o, "good",
				       json_object_new_boolean(!f.blocks));
		json_object_object_add(o, "restored",
				       json_object_new_boolean(!f.blocks &&
							       !f.notes));
		json_object_object_add(o, "found", f.lines);
		json_object_array_add(list, o);
	} else if (!f.blocks && !f.notes) {
		printf("step %s: it can be checkpointed, and restored on %s\n", name,
		       nodes > 1 ? "nodes like these" : "a node like this one");
	}
	if (!f.blocks)
		return EXIT_OK;
	return complain(EXIT_FAILED, "step %s cannot be checkpointed and restored as it is: %d thing%s in the way; it runs on",
			name, f.blocks, f.blocks == 1 ? " is" : "s are");
}
