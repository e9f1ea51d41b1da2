/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A restore: the newest generation that can be, each tried once. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"
#include "images.h"
#include "needs.h"
#include "session.h"
#include "set.h"

/* Of several nodes the slowest may have much to read. */
#define ALL_RESTORED_NS (INT64_C(1800) * 1000000000)

struct restore {
	struct step *step;
	struct manifest m;
	struct carried *carried;
	struct rewind *rewind;
	bool recalled;
};

/* What the first node says of a step that runs. A node that looks late finds that in the
 * place of the word by which it began, and has it still to answer. */
static bool is_past_begin(enum set_word word)
{
	return word >= SET_DUMP;
}

/* All nodes' trees are to be there before the first of them runs. */
static int wait_for_all(struct step *step, struct err *e)
{
	int64_t until = clock_ns(CLOCK_MONOTONIC) + ALL_RESTORED_NS;
	struct set_order o = { .word = SET_RUN };
	struct set_answer sum;
	int rc;

	if (!step->spec.part) {
		if (set_gather(step, false, until, &sum, e) < 0) {
			if (sum.elsewhere)
				memcpy(step->unfit_node, sum.node, sizeof(step->unfit_node));
			step->elsewhere |= sum.elsewhere;
			return -1;
		}
		rc = set_say(step, &o, e);
	} else {
		if (set_answer(step, SET_DONE, NULL, e) < 0)
			return -1;
		rc = set_await(&step->spec, step->spec.restart, step->order,
			       until, &o, e);
		if (rc == 0)
			err_set(e, "the step's first node does not say whether all nodes could restore it");
		if (rc > 0 && (o.word == SET_RUN || is_past_begin(o.word))) {
			step->order = o.number - (o.word != SET_RUN);
			rc = 0;
		} else {
			rc = rc <= 0 ? -1 : err_set(e, "%s", o.text);
		}
	}
	step->all_run = rc == 0;
	return rc;
}

/* The broker has done it where criu was its. */
static int start_timers(const struct restore *r, struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	int count = elevate_made(&r->m) ? 0 : program_tree(r->m.root, &pids, e);

	return count < 0 ? -1 : timers_start(pids, count, e);
}

/* Everything is there, nothing runs yet. */
static int commit(void *arg, struct stream *stream, struct err *e)
{
	struct restore *r = arg;

	(void)stream;
	if (program_leave_low_pids(r->m.root, e) < 0 ||
	    start_timers(r, e) < 0 ||
	    tasks_bind(r->step->tasks, e) < 0 ||
	    (r->step->spec.nodes > 1 && wait_for_all(r->step, e) < 0) ||
	    stdio_whole(r->step->io, &r->m, e) < 0 ||
	    pmi_recall(r->step->pmi, &r->m, e) < 0)
		return -1;
	/* Where there is no room for what it had said an older one has none, either. */
	if (stdio_recall(r->step->io, &r->m, r->rewind, e) < 0 ||
	    store_mark_ran(&r->step->store, r->step->spec.restart, e) < 0 ||
	    stdio_goes_on(r->step->io, &r->step->store, r->step->spec.restart, &r->m, e) < 0) {
		r->step->unfit = true;
		return -1;
	}
	rewind_drop(r->rewind);
	carry_drop(r->carried);
	r->recalled = true;
	return 0;
}

/* What another node may have. */
static int node_fits(const struct manifest *m, const struct step *step,
		     struct err *e)
{
	char have[16], want[16];

	if (m->criu_version > step->spec.criu_version) {
		version_print(m->criu_version, want);
		version_print(step->spec.criu_version, have);
		return err_set(e, "it was dumped by criu %s on %s, and %s has the older criu %s: install %s or later there",
			       want, m->node, step->spec.node, have, want);
	}
	return needs_met(m, step->spec.node, e);
}

/* The broker vouches for images alone that it has seen made. */
static int broker_fits(const struct manifest *m, const struct step *step, struct err *e)
{
	if (!elevate_made(m) || step->spec.broker >= 0)
		return 0;
	return err_set(e, "it was dumped by sckpt-broker on %s, with more than CAP_CHECKPOINT_RESTORE, and %s allows that not to this job: set elevate= there as it is on %s (sckpt.conf)",
		       m->node, step->spec.node, m->node);
}

static int fits(const struct manifest *m, struct step *step, struct err *e)
{
	int tasks = (int)m->stream_count / TASK_STREAMS;

	if (tasks != step->tasks->count)
		return err_set(e, "it is of %d tasks on one node, and this node has %d of the step: ask for the same number of tasks and nodes",
			       tasks, step->tasks->count);
	for (size_t i = 0; i < m->pmi_count; i++)
		if (pmi_program(step->pmi, m->pmi[i].task) < 0)
			return err_set(e, "it is of an MPI program that Slurm's pmi2 had started, and this step has no PMI: use srun --mpi=pmi2 again");
	if (strcmp(m->command, step->command) &&
	    !(!strcmp(step->spec.step, "batch") &&
	      exchange_same(m->command, step->command)))
		return err_set(e, "it is of the command '%.100s', and this step runs '%.100s'",
			       m->command, step->command);
	/* A step of the same number, of a script that runs again, may be another. */
	if (m->place && step->spec.place && m->place != step->spec.place && !m->origin)
		return err_set(e, "it is of the command '%.100s' in another directory, or with another input, than this step: steps of a script that is not protected are known by their numbers",
			       m->command);
	memcpy(step->unfit_node, step->spec.node, sizeof(step->unfit_node));
	if (room_met(m, step, e) < 0)
		return -1;
	step->elsewhere = node_fits(m, step, e) < 0 || broker_fits(m, step, e) < 0;
	return step->elsewhere ? -1 : 0;
}

static int run_criu(struct restore *r, struct image_reader *reader,
		    struct err *e)
{
	struct image_source source = image_reader_source(reader);
	struct session session = { .program = r->step->spec.criu,
				   .broker = elevate_made(&r->m) ? r->step->spec.broker : -1,
				   .source = &source,
				   .commit = commit,
				   .arg = r };
	struct criu_run run;
	struct exchanges exchanges;
	char why[600];
	int status, rc;

	if (ports_free(reader, r->step, e) < 0) {
		r->step->elsewhere = true;
		return -1;
	}
	if (exchange_find(&exchanges, reader, &r->m, r->step, e) < 0) {
		exchange_close(&exchanges);
		return -1;
	}
	criu_restore_run(&run, r->step->io, r->step->pmi, &r->m);
	for (int i = 0; i < exchanges.count; i++)
		/* Criu's names begin behind the first slash. */
		criu_inherit(&run, exchanges.list[i].was + 1, exchanges.list[i].fd);
	rc = session_run(&session, &run, &status, e);
	r->step->elsewhere |= session.elsewhere;
	criu_run_free(&run);
	exchange_close(&exchanges);
	if (rc == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) ||
			!r->recalled)) {
		criu_explain(&r->step->store, RESTORE_LOG, status, why, sizeof(why));
		rc = err_set(e, "%s", why);
	}
	return rc;
}

/* Criu kills what it had made of the tree, but waits for none of it; the next
 * try needs the same PIDs, and nothing else is in this PID namespace. */
static void clear_away(void)
{
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
}

/* Of the generation that was tried. */
struct tried {
	int calls;
	int64_t time;
	uint32_t origin;
};

static pid_t try_generation(struct step *step, struct generation g,
			    struct tried *tried, struct err *e)
{
	struct image_options options = { .buffer = 0 };
	struct restore r = { .step = step };
	struct image_reader *reader = NULL;
	int rc = -1;

	if (generation_load(&step->store, g, geteuid(), &step->spec, &r.m, e) == 0 &&
	    fits(&r.m, step, e) == 0) {
		options.buffer = memory_for_buffer(step->spec.limits.buffer,
						   (uint64_t)r.m.memory);
		reader = image_reader_open(step->store.dir, &r.m.set, &options, e);
		if (reader && (r.carried = carry_bring(step, &r.m, reader, e)) &&
		    (r.rewind = rewind_begin(step, &r.m, e)) &&
		    carry_finish(r.carried, e) == 0)
			rc = run_criu(&r, reader, e);
	}
	image_reader_close(reader);
	*tried = (struct tried){ r.m.calls, r.m.time, r.m.origin };
	if (rc == 0) {
		rc = r.m.root;
		rewind_done(r.rewind, step);
		carry_done(r.carried, step);
	} else {
		clear_away();
		if (r.rewind)
			rewind_undo(r.rewind);
		if (r.carried)
			carry_undo(r.carried);
	}
	rewind_free(r.rewind);
	carry_close(r.carried);
	manifest_free(&r.m);
	return rc;
}

static void tell(const struct step *step, const struct tried *tried,
		 int64_t start)
{
	struct status s = { .kind = STATUS_RUNNING,
			    .generation = step->restored,
			    .restore_us = (clock_ns(CLOCK_MONOTONIC) - start) /
					  1000 };
	struct event ev = { .kind = EVENT_RESTORE,
			    .time_us = clock_ns(CLOCK_REALTIME) / 1000,
			    .run = step->spec.restart,
			    .generation = step->restored,
			    .at_us = tried->time * 1000000,
			    .us = s.restore_us,
			    .origin = tried->origin };

	status_write(&step->store, &s);
	if (step->spec.part)
		return;
	memcpy(ev.node, step->spec.node, sizeof(ev.node));
	event_add(&step->store, &ev, true);
}

/* The others try the same one. */
static int choose(struct step *step, struct generation g, struct err *e)
{
	struct set_order o = { .word = SET_RESTORE, .generation = g, .resume = true };

	return step->spec.nodes > 1 ? set_say(step, &o, e) : 0;
}

static void restored(struct step *step, struct generation g,
		     const struct tried *tried, int64_t start)
{
	count_restore((clock_ns(CLOCK_MONOTONIC) - start) / 1000);
	step->restored = g;
	step->calls = tried->calls;
	step->restored_time = tried->time;
	tell(step, tried, start);
}

/* The first node says which one. */
static pid_t follow(struct step *step, struct err *e)
{
	for (;;) {
		int64_t start = clock_ns(CLOCK_MONOTONIC);
		struct set_answer answer = { .run = 0 };
		struct tried tried = { .calls = 0 };
		struct err reason = { "" };
		struct set_order o;
		pid_t root;
		int rc = set_await(&step->spec, step->spec.restart, step->order,
				   start + ALL_RESTORED_NS, &o, e);

		if (rc == 0)
			err_set(e, "the step's first node does not say what is to be restored");
		if (rc <= 0)
			return -1;
		step->order = o.number - is_past_begin(o.word);
		step->told_lost = o.word == SET_LOST;
		step->told_afresh = o.word == SET_AFRESH || is_past_begin(o.word);
		if (o.word != SET_RESTORE)
			return err_set(e, "%s", o.text);
		root = try_generation(step, o.generation, &tried, &reason);
		if (root > 0) {
			restored(step, o.generation, &tried, start);
			return root;
		}
		if (step->all_run)
			return err_set(e, "generation %d: %s",
				       o.generation.number, reason.text);
		answer.elsewhere = step->elsewhere;
		snprintf(answer.text, sizeof(answer.text), "%s", reason.text);
		/* It is the same one still, if this node was not told to leave it. */
		if (set_answer(step, SET_REFUSED, &answer, e) < 0)
			return -1;
	}
}

pid_t step_restore(struct step *step, struct err *e)
{
	int64_t start = clock_ns(CLOCK_MONOTONIC);
	cleanup_free struct generation *list = NULL;
	int count;
	struct err reason;

	if (step->spec.part)
		return follow(step, e);
	if ((count = store_generations(&step->store, &list, e)) < 0)
		return -1;
	err_set(e, "%s", count ? "" : "no generation is there any more");
	for (int i = 0; i < count; i++) {
		struct tried tried = { .calls = 0 };
		size_t n = strlen(e->text);
		pid_t root = choose(step, list[i], &reason) < 0 ?
				     -1 :
				     try_generation(step, list[i], &tried, &reason);

		if (root > 0) {
			/* What is wrong with the newer ones stays known. */
			if (i)
				count_refusal(REFUSED_OLDER);
			restored(step, list[i], &tried, start);
			return root;
		}
		snprintf(e->text + n, sizeof(e->text) - n,
			 "%sgeneration %d: %s", n ? "; " : "", list[i].number,
			 reason.text);
		/* An older one has less of the work; the newest will do on another node,
		 * or when the job has been given what it needs. Or the other nodes run
		 * already. */
		if (step->elsewhere || step->unfit || step->all_run)
			break;
	}
	return -1;
}
