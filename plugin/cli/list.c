/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt list: all checkpoints, newest last of each step. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const char *const heads[] = { "ID", "STATE", "AGE", "NODE", "REASON",
				     "MEMORY", "STORED", "FROZEN", "COMMAND",
				     NULL };

struct listing {
	bool json;
	struct jobs jobs;
	struct table *table;
	json_object *list;
	int damaged;
};

static void put(json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static void put_number(json_object *o, const char *name, int64_t n)
{
	json_object_object_add(o, name, json_object_new_int64(n));
}

static json_object *describe(const struct listing *l, const struct spec *step,
			     struct generation g)
{
	json_object *o = json_object_new_object();
	char id[ID_TEXT_MAX];

	id_print(step, g.number, id);
	put(o, "id", id);
	put(o, "cluster", step->cluster);
	put_number(o, "job", step->job);
	put(o, "step", step->step);
	put_number(o, "generation", g.number);
	put_number(o, "run", g.run);
	put(o, "job_state", jobs_state(&l->jobs, step));
	return o;
}

static void add_json(struct listing *l, const struct spec *step,
		     struct generation g, const struct manifest *m,
		     const char *error)
{
	json_object *o = describe(l, step, g);

	if (m) {
		put_number(o, "time", m->time);
		put(o, "node", m->node);
		put(o, "reason", m->reason);
		put(o, "command", m->command);
		put_number(o, "nodes", m->nodes ? m->nodes : 1);
		put_number(o, "processes", (int64_t)m->process_count);
		put_number(o, "resident_bytes", m->resident);
		put_number(o, "image_bytes", (int64_t)m->set.bytes);
		put_number(o, "stored_bytes", (int64_t)m->set.stored);
		put_number(o, "frozen_us", m->frozen_us);
		put_number(o, "dump_us", m->dump_us);
	} else {
		put(o, "error", error);
	}
	json_object_array_add(l->list, o);
}

static void add_row(struct listing *l, const struct spec *step,
		    struct generation g, const struct manifest *m)
{
	char id[ID_TEXT_MAX], age[16], size[16];

	id_print(step, g.number, id);
	table_add(l->table, id);
	table_add(l->table, jobs_state(&l->jobs, step));
	if (!m) {
		for (int i = 2; i < 8; i++)
			table_add(l->table, "-");
		table_add(l->table, "(cannot be read)");
		return;
	}
	age_print(m->time, age);
	table_add(l->table, age);
	table_add(l->table, m->node);
	table_add(l->table, m->reason);
	size_print((uint64_t)m->resident, size);
	table_add(l->table, size);
	size_print(m->set.stored, size);
	table_add(l->table, size);
	span_print(m->frozen_us, size);
	table_add(l->table, size);
	table_add(l->table, m->command);
}

static void add_step(struct listing *l, const struct spec *step,
		     const struct id *id)
{
	cleanup_free struct generation *list = NULL;
	char name[ID_TEXT_MAX];
	struct err e = { "" };
	struct store store;
	int count = step_open(step, &store, &list, &e);

	if (count < 0) {
		id_print(step, 0, name);
		complain(0, "%s: %s", name, e.text);
		l->damaged++;
		return;
	}
	for (int i = count - 1; i >= 0; i--) {
		struct manifest m;
		int rc;

		if (id && id->generation && id->generation != list[i].number)
			continue;
		rc = generation_peek(&store, list[i], &m, &e);
		if (rc == 0 && (rc = set_sum(&store, list[i], &m, &e)) < 0)
			manifest_free(&m);
		if (rc < 0) {
			id_print(step, list[i].number, name);
			complain(0, "%s: %s; sckpt verify %s tells more", name,
				 e.text, name);
			l->damaged++;
		}
		if (l->json)
			add_json(l, step, list[i], rc < 0 ? NULL : &m, e.text);
		else
			add_row(l, step, list[i], rc < 0 ? NULL : &m);
		if (rc == 0)
			manifest_free(&m);
	}
	store_close(&store);
}

int cmd_list(const struct options *o)
{
	struct listing l = { .json = o->json };
	struct err e = { "" };
	struct steps steps;
	struct place p;
	struct id id;
	int rc;

	if (o->argc && (rc = id_resolve(o->argv[0], &id)))
		return rc;
	if (place_find(o, &p, &e) < 0 ||
	    steps_find(&p, o->argc ? &id : NULL, &steps, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	if (o->argc && !steps.count)
		return not_found(&p, o->argv[0]);
	jobs_ask(&l.jobs, &e);
	if (!l.jobs.known && steps.count)
		complain(0, "the jobs' states are not known: %s", e.text);
	l.list = json_object_new_array();
	l.table = table_new(heads);
	for (size_t i = 0; i < steps.count; i++)
		add_step(&l, &steps.list[i], o->argc ? &id : NULL);
	if (l.json) {
		json_out(l.list);
	} else {
		table_print(l.table, "STATE");
		json_object_put(l.list);
	}
	table_free(l.table);
	jobs_free(&l.jobs);
	steps_free(&steps);
	place_free(&p);
	return l.damaged ? EXIT_FAILED : EXIT_OK;
}
