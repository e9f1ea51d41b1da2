/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt restart: a new batch job that goes on from an old checkpoint, with the
 * script and the resources that the store has kept of the old one.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define WORDS_MAX 64

struct command {
	char *argv[WORDS_MAX];
	int argc;
};

static void add(struct command *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct command *c, const char *fmt, ...)
{
	va_list ap;

	if (c->argc >= WORDS_MAX - 1)
		return;
	va_start(ap, fmt);
	if (vasprintf(&c->argv[c->argc], fmt, ap) >= 0)
		c->argc++;
	va_end(ap);
	c->argv[c->argc] = NULL;
}

static void add_limit(struct command *c, const struct store *store)
{
	cleanup_free char *start = origin_variable(store, ORIGIN_START);
	cleanup_free char *end = origin_variable(store, ORIGIN_END);
	long long minutes;

	if (!start || !end)
		return;
	minutes = (atoll(end) - atoll(start) + 59) / 60;
	/* A job without limit ends in a year. */
	if (minutes > 0 && minutes < 365LL * 24 * 60)
		add(c, "--time=%lld", minutes);
}

static void add_resources(struct command *c, const struct store *store)
{
	static const struct {
		const char *variable, *option;
	} resources[] = {
		{ "SLURM_JOB_NAME", "job-name" },
		{ "SLURM_JOB_PARTITION", "partition" },
		{ "SLURM_JOB_ACCOUNT", "account" },
		{ "SLURM_JOB_QOS", "qos" },
		{ "SLURM_JOB_RESERVATION", "reservation" },
		{ "SLURM_JOB_NUM_NODES", "nodes" },
		{ "SLURM_NTASKS", "ntasks" },
		{ "SLURM_NTASKS_PER_NODE", "ntasks-per-node" },
		{ "SLURM_CPUS_PER_TASK", "cpus-per-task" },
		{ "SLURM_MEM_PER_NODE", "mem" }, /* MiB, as --mem */
		{ "SLURM_MEM_PER_CPU", "mem-per-cpu" },
		/* The script, or whoever typed sbatch, asked for all tasks. */
		{ "SLURM_ARRAY_TASK_ID", "array" },
	};

	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		cleanup_free char *value = origin_variable(store,
							   resources[i].variable);

		if (value && *value)
			add(c, "--%s=%s", resources[i].option, value);
	}
	add_limit(c, store);
}

/* As a shell reads it. */
static void print_word(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_=./:,+@%";

	if (*word && strspn(word, plain) == strlen(word)) {
		fputs(word, stdout);
		return;
	}
	putchar('\'');
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*word);
	putchar('\'');
}

static void print_command(const struct options *o, const struct command *c)
{
	json_object *list;

	if (o->json) {
		list = json_object_new_array();
		for (int i = 0; i < c->argc; i++)
			json_object_array_add(list,
					      json_object_new_string(c->argv[i]));
		json_out(list);
		return;
	}
	for (int i = 0; i < c->argc; i++) {
		if (i)
			putchar(' ');
		print_word(c->argv[i]);
	}
	putchar('\n');
}

static void build(struct command *c, const struct spec *step,
		  const struct store *store, const struct manifest *m,
		  bool elsewhere)
{
	char *arguments = strdup(m->command + strcspn(m->command, " "));
	char *rest = arguments, *word;
	cleanup_free char *dir = origin_variable(store, "SLURM_SUBMIT_DIR");

	/* sbatch's own directory: as --chdir it would take the place of the script's. */
	if (dir && *dir) {
		add(c, "/usr/bin/env");
		add(c, "--chdir=%s", dir);
	}
	add(c, "%s", SBATCH_PATH);
	add(c, "--requeue");
	add(c, "--checkpoint=restart=%u.%s:%d", step->job, step->step,
	    m->generation);
	if (elsewhere) {
		add(c, "--restart-dir=%s", step->base);
		add(c, "--checkpoint-dir=%s", step->base);
	}
	add_resources(c, store);
	add(c, "%s/" ORIGIN_SCRIPT, store->path);
	while (rest && (word = strsep(&rest, " ")))
		if (*word)
			add(c, "%s", word);
	free(arguments);
}

/* The number that sbatch has told; 0: it has not. */
static uint32_t submitted(const char *said)
{
	static const char words[] = "Submitted batch job ";
	const char *at, *last = NULL;

	for (at = said; (at = strstr(at, words)); at++)
		last = at;
	return last ? (uint32_t)strtoul(last + strlen(words), NULL, 10) : 0;
}

/* It may wait for long: until it has begun, the script's checkpoints and those of its steps stay. */
static void keep_for(uint32_t job, const struct place *p, const struct spec *script)
{
	struct id id = { .job = script->job, .task = -1 };
	struct err e = { "" };
	struct steps steps;
	struct store store;

	memcpy(id.cluster, script->cluster, sizeof(id.cluster));
	if (steps_find(p, &id, &steps, &e) < 0) {
		complain(0, "job %u: %s", job, e.text);
		return;
	}
	for (size_t i = 0; i < steps.count; i++) {
		const struct spec *step = &steps.list[i];

		/* As in step/from.c: those of a script that was set aside are not gone on with. */
		if (strcmp(step->step, script->step) &&
		    (!is_call_step(step->step) || step_is_old(step) || step_is_old(script)))
			continue;
		if (store_open(step, false, &store, &e))
			continue;
		if (wanted_add(&store, job, &e) < 0)
			complain(0, "sckpt prune does not know that job %u waits for %u.%s: %s", job,
				 step->job, step->step, e.text);
		store_close(&store);
	}
	steps_free(&steps);
}

static int submit(const struct options *o, const struct place *p,
		  const struct spec *step, const struct store *store,
		  const struct generation g, const struct manifest *m)
{
	struct command c = { .argc = 0 };
	struct err e = { "" };
	char said[4096] = "";
	uint32_t job;
	int rc = EXIT_OK;

	/* Before the job is there, and if somebody types the command that is printed. */
	generation_touch(store, g);
	build(&c, step, store, m, o->dir);
	if (o->print)
		print_command(o, &c);
	else if ((rc = slurm_run(c.argv, said, sizeof(said), &e)))
		rc = complain(EXIT_FAILED, "%u.%s:%d is not restarted: %s",
			      step->job, step->step, m->generation,
			      rc < 0 ? e.text : "sbatch refuses, see above");
	else if ((job = submitted(said)))
		keep_for(job, p, step);
	for (int i = 0; i < c.argc; i++)
		free(c.argv[i]);
	return rc;
}

/* Two copies of one program must not run without somebody wanting it. */
static int may_start(const struct options *o, const struct spec *step,
		     const struct store *store)
{
	struct err e = { "" };
	const struct job *job;
	char name[sizeof(job->name)];
	struct jobs jobs;
	struct spec now = *step;
	bool active;

	if (!step_is_of(step->step, "batch"))
		return complain(EXIT_FAILED, "%u.%s: only batch scripts are submitted again, their steps with them; a step alone goes on in another job by srun --checkpoint=restart=%u.%s:N with the same program, nodes and tasks",
				step->job, step->step, step->job, step->step);
	if (faccessat(store->dir, ORIGIN_SCRIPT, R_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return complain(EXIT_FAILED, "the job script of %u is not in %s, so that no new job can be submitted with it",
				step->job, store->path);
	jobs_ask(&jobs, &e);
	/* Of what was set aside the job may have begun again. */
	strcpy(now.step, "batch");
	active = jobs.known && jobs_active(&jobs, &now);
	if ((job = jobs_find(&jobs, step)))
		memcpy(name, job->name, sizeof(name));
	else
		snprintf(name, sizeof(name), "%u", step->job);
	jobs_free(&jobs);
	if (active && !o->force && !o->print)
		return complain(EXIT_FAILED, "job %s has not ended, and would run twice: scancel %s first, or --force",
				name, name);
	return EXIT_OK;
}

int cmd_restart(const struct options *o)
{
	struct err e = { "" };
	struct chosen c;
	struct manifest m;
	int rc = choose(o, &c);

	if (rc)
		return rc;
	if (step_load(&c.step, &c.store, c.g, &m, &e) < 0) {
		rc = complain(EXIT_DAMAGED, "%u.%s:%d: %s", c.step.job,
			      c.step.step, c.g.number, e.text);
	} else {
		if (!(rc = may_start(o, &c.step, &c.store)))
			rc = submit(o, &c.place, &c.step, &c.store, c.g, &m);
		manifest_free(&m);
	}
	chosen_free(&c);
	return rc;
}
