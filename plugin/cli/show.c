/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt show: everything that is known of one checkpoint. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static void line(const char *name, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void line(const char *name, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("%-12s %s\n", name, printable(text));
}

/* ---- the process tree ------------------------------------------------------------ */

static void print_process(const struct manifest_process *p, int depth)
{
	char size[16];

	size_print((uint64_t)(p->resident < 0 ? 0 : p->resident), size);
	printf("  %7d %10s  %*s%s\n", p->pid, size, 2 * depth, "",
	       p->command && *p->command ? printable(p->command) : p->name);
	for (char *rest = p->files, *file; (file = strsep(&rest, "\n"));)
		if (*file)
			printf("  %7s %10s  %*s  open: %s\n", "", "", 2 * depth,
			       "", printable(file));
}

/* Depth first, each process once: the list may be damaged, and then there are
 * circles in it. */
static void print_tree(struct manifest *m, bool *done, size_t at, int depth)
{
	done[at] = true;
	print_process(&m->processes[at], depth);
	for (size_t i = 0; i < m->process_count; i++)
		if (!done[i] && m->processes[i].parent == m->processes[at].pid)
			print_tree(m, done, i, depth < 40 ? depth + 1 : depth);
}

static bool has_parent(const struct manifest *m, size_t at)
{
	for (size_t i = 0; i < m->process_count; i++)
		if (i != at && m->processes[i].pid == m->processes[at].parent)
			return true;
	return false;
}

static void print_processes(struct manifest *m)
{
	cleanup_free bool *done = calloc(m->process_count + 1, sizeof(*done));

	if (!done)
		return;
	printf("\n  %7s %10s  %s\n", "PID", "MEMORY", "COMMAND");
	for (size_t i = 0; i < m->process_count; i++)
		if (!done[i] && !has_parent(m, i))
			print_tree(m, done, i, 0);
	for (size_t i = 0; i < m->process_count; i++)
		if (!done[i])
			print_tree(m, done, i, 0);
}

/* ---- all of it -------------------------------------------------------------------- */

/* "n1,n2, 20 MiB resident, 3 MiB stored" */
static void print_set(const struct store *store, const struct manifest *first,
		      char *text, size_t size)
{
	struct manifest sum = { .nodes = first->nodes,
				.resident = first->resident };
	const struct generation g = { first->generation, first->run };
	char resident[16], stored[16];
	struct err e = { "" };

	sum.set.stored = first->set.stored;
	memcpy(sum.node, first->node, sizeof(sum.node));
	if (set_sum(store, g, &sum, &e) < 0) {
		snprintf(text, size, "%s", e.text);
		return;
	}
	size_print((uint64_t)sum.resident, resident);
	size_print(sum.set.stored, stored);
	snprintf(text, size, "%.200s, %s resident, %s stored", sum.node, resident,
		 stored);
}

static void print_all(const struct spec *step, const struct store *store,
		      struct manifest *m, const char *state)
{
	char all[300] = "";

	char a[32], b[32], c[32];
	bool first = true;

	if (m->nodes)
		print_set(store, m, all, sizeof(all));
	line("job", "%u.%s on cluster %s (%s)", step->job, step->step,
	     step->cluster, state);
	line("generation", "%d, of run %d of the job", m->generation, m->run);
	time_print(m->time, a);
	age_print(m->time, b);
	line("made", "%s (%s ago) on %s, because of: %s", a, b, m->node,
	     m->reason);
	version_print(m->criu_version, a);
	line("with", "criu %s on Linux %s", a, m->kernel);
	line("command", "%s", m->command);
	span_print(m->frozen_us, a);
	span_print(m->dump_us, b);
	line("frozen", "%s of %s until it was durable", a, b);
	size_print((uint64_t)(m->resident < 0 ? 0 : m->resident), a);
	size_print(m->set.bytes, b);
	size_print(m->set.stored, c);
	line("memory", "%s resident, %s of images, %s stored for this generation",
	     a, b, c);
	if (m->nodes)
		line("nodes", "%d, and this is what the first of them has; together: %s",
		     m->nodes, all);
	if (m->parent)
		line("leans on", "generation %d", m->parent);
	for (size_t i = 0; i < m->stream_count; i++) {
		static const char *const names[] = { "stdin", "stdout", "stderr" };
		const struct manifest_stream *s = &m->streams[i];
		char name[40];

		snprintf(name, sizeof(name), "%s", names[i % TASK_STREAMS]);
		if (m->stream_count > TASK_STREAMS)
			snprintf(name + strlen(name), 30, ".%zu",
				 i / TASK_STREAMS);
		if (!*s->key)
			line(name, "closed");
		else if (i % TASK_STREAMS && s->output >= 0)
			line(name, "%s, %jd bytes written", s->key,
			     (intmax_t)s->length);
		else
			line(name, "%s, at byte %jd", s->key,
			     (intmax_t)s->position);
	}
	for (size_t i = 0; i < m->set.item_count; i++) {
		if (strcmp(m->set.items[i].name, CARRY_PAGES))
			continue;
		size_print(m->set.items[i].size, a);
		line("carried", "%s in files of whole directories (carry=)", a);
	}
	for (size_t i = 0; i < m->file_count; i++) {
		const struct manifest_file *f = &m->files[i];

		if (manifest_is_name(f))
			continue;
		size_print((uint64_t)f->size, a);
		line(first ? "writes" : "", "%s, %s, %s%s", f->path, a,
		     f->appended ? "appended to" : "in place",
		     *f->copy ? ", kept" : f->shared ? ", others do, too" : "");
		first = false;
	}
	for (size_t i = 0; i < m->set.pack_count; i++) {
		size_print(m->set.packs[i].size, a);
		line(i ? "" : "packs", "%s, %s, %u pages", m->set.packs[i].name,
		     a, m->set.packs[i].pages);
	}
	line("images", "%zu; sckpt export writes them as criu's files",
	     m->set.item_count);
	print_processes(m);
}

static void print_json(const struct manifest *m, const char *state,
		       const char *path, const char *sealed)
{
	struct err e = { "" };
	cleanup_free char *text = manifest_text(m, &e);
	json_object *o = text ? json_tokener_parse(text) : NULL;

	if (!o)
		return;
	json_object_object_add(o, "job_state", json_object_new_string(state));
	json_object_object_add(o, "directory", json_object_new_string(path));
	json_object_object_add(o, "sealed", json_object_new_boolean(!sealed));
	json_out(o);
}

int cmd_show(const struct options *o)
{
	struct err e = { "" }, unsealed = { "" };
	const char *state;
	struct chosen c;
	struct manifest m;
	struct jobs jobs;
	int rc = choose(o, &c);
	bool sealed;

	if (rc)
		return rc;
	sealed = step_load(&c.step, &c.store, c.g, &m, &unsealed) == 0;
	if (!sealed && generation_peek(&c.store, c.g, &m, &e) < 0) {
		rc = complain(EXIT_FAILED, "%u.%s:%d: %s", c.step.job,
			      c.step.step, c.g.number, e.text);
	} else {
		jobs_ask(&jobs, &e);
		state = jobs_state(&jobs, &c.step);
		if (!sealed)
			complain(0, "%u.%s:%d is not to be trusted, and will not be restored: %s",
				 c.step.job, c.step.step, c.g.number,
				 unsealed.text);
		if (o->json)
			print_json(&m, state, c.store.path,
				   sealed ? NULL : unsealed.text);
		else
			print_all(&c.step, &c.store, &m, state);
		manifest_free(&m);
		jobs_free(&jobs);
	}
	chosen_free(&c);
	return rc;
}
