/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A dump. Criu streams, image_writer takes, and at criu's post-dump point, with
 * the tree still frozen, it is decided whether the tree may go:
 *
 *   the step ends    everything is made durable and published there; only
 *                    then does criu kill the tree;
 *   it goes on       criu lets it go as soon as its memory is copied, and the
 *                    rest is written and published by a thread (saving_*).
 *
 * If anything fails before, criu resumes the program; and if there is no more time
 * before Slurm kills the step.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"
#include "needs.h"
#include "sckpt/policy.h"
#include "session.h"
#include "set.h"
#include "shape.h"

struct saving {
	struct step *step;
	struct order order; /* a copy: the caller's is gone when it is done */
	struct image_writer *writer;
	struct manifest m;
	struct manifest before; /* the one it leans on; zeros when there is none */
	struct files_held files;
	uint64_t limit; /* bytes that may be added to the store; 0 none */
	int64_t start, still; /* ns; the second: when criu began to freeze it */
	int64_t at_us; /* the same, since 1970 */
	bool committed, published;
	bool superseded; /* what is in the store is a later run's: nothing is written there */
	int settled; /* whether the program ends with it: what writes it has said so, or
		      * the deadline that not; of two threads the first; atomic */
	/* Of a set: */
	bool ordered; /* the first node has told the others, or this one was told */
	int word; /* this node has given its word, that it has its part or not: of two
		   * threads the first has it; atomic */
	bool kept; /* this part is there, and whether it counts was not heard */
	int64_t all_resident, all_stored;
	int64_t own; /* bytes that the dump will take, about */
	int64_t job_start, job_end; /* s since 1970, where the environment does not tell */
	int broker; /* it runs criu; -1: nobody does but this agent */
	bool traced; /* criu met the program's own criu in the moment of freezing */
	bool late; /* it was given up, and the thread may end it all the same */
	struct deadline deadline;
	/* When it goes on in a thread: */
	pthread_t thread;
	int done; /* eventfd, readable when the thread is through */
	int result;
	struct err e;
};

/* ---- what is told meanwhile -------------------------------------------------- */

static void tell(const struct saving *s, enum status_kind kind, const char *text)
{
	struct status status = { .kind = kind,
				 .generation = { s->m.generation, s->m.run },
				 .total = (uint64_t)s->m.resident };
	uint64_t stored;

	if (s->superseded)
		return;
	if (s->writer)
		image_writer_progress(s->writer, &status.done, &stored);
	snprintf(status.request, sizeof(status.request), "%s",
		 s->order.request);
	snprintf(status.text, sizeof(status.text), "%s", text);
	status_write(&s->step->store, &status);
}

static int tick(void *arg, struct err *e)
{
	struct saving *s = arg;

	tell(s, STATUS_FREEZING, "");
	return deadline_passed(&s->deadline) ?
		       err_set(e, "the time is over") :
		       0;
}

/* ---- before -------------------------------------------------------------------- */

/* A run that was only thought dead must not cut the logs of the one that goes on. */
static int may_save(struct saving *s, struct err *e)
{
	int rc = store_may_save(&s->step->store, s->step->spec.restart, e);

	s->superseded = rc > 0;
	return rc ? -1 : 0;
}

static int describe(struct saving *s, struct err *e)
{
	const struct spec *spec = &s->step->spec;
	cleanup_free pid_t *pids = NULL;
	struct manifest *m = &s->m;
	struct utsname uts;
	struct blockers silent;
	char blocker[400];
	int count = program_tree(s->step->root, &pids, e);

	if (count < 0)
		return -1;
	blockers_silent(pids, count, &silent);
	if (silent.count) {
		blocker_print(&silent.list[0], blocker, sizeof(blocker));
		return err_set(e, "%s", blocker);
	}
	uname(&uts);
	s->own = program_own(pids, count);
	*m = (struct manifest){ .job = spec->job,
				.uid = geteuid(),
				.run = spec->restart,
				.criu_version = spec->criu_version,
				.root = s->step->root,
				.calls = s->step->calls,
				.place = spec->place,
				.time = time(NULL),
				.frozen_us = -1,
				.resident = program_resident(pids, count) };
	snprintf(m->cluster, sizeof(m->cluster), "%s", spec->cluster);
	snprintf(m->step, sizeof(m->step), "%s", spec->step);
	snprintf(m->node, sizeof(m->node), "%s", spec->node);
	snprintf(m->kernel, sizeof(m->kernel), "%s", uts.release);
	snprintf(m->command, sizeof(m->command), "%s", s->step->command);
	snprintf(m->reason, sizeof(m->reason), "%s", s->order.reason);
	if (program_describe(pids, count, m, e) < 0)
		return -1;
	return needs_find(s->step, pids, count, m, e);
}

/* The generation whose packs can be leaned on: the newest of this run, or the
 * one it went on from; what could not be restored is not trusted with more. */
static bool find_parent(const struct step *step, struct manifest *parent)
{
	cleanup_free struct generation *list = NULL;
	int count = store_published(&step->store, &list, NULL);

	for (int i = 0; i < count; i++) {
		bool ours = list[i].run == step->spec.restart ||
			    (list[i].number == step->restored.number &&
			     list[i].run == step->restored.run);

		if (ours)
			return generation_load(&step->store, list[i], geteuid(),
					       &step->spec, parent, NULL) == 0;
	}
	return false;
}

/* ---- the other nodes of the step ------------------------------------------------- */

static bool is_set(const struct saving *s)
{
	return s->step->spec.nodes > 1;
}

/* Of two threads the first may. */
static bool is_first(int *word)
{
	int none = 0;

	return __atomic_compare_exchange_n(word, &none, 1, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool give_word(struct saving *s)
{
	return is_first(&s->word);
}

/* The program ends with it, and is not let go any more. */
static bool settle_end(struct saving *s)
{
	return s->order.end && is_first(&s->settled);
}

/* Which generation it is: the first node says so to all. */
static int begin_set(struct saving *s, struct err *e)
{
	struct set_order o = { .word = SET_DUMP, .end = s->order.end };

	s->m.nodes = s->step->spec.nodes;
	s->m.part = s->step->spec.part;
	s->ordered = true;
	if (s->step->spec.part) {
		s->m.generation = s->order.set.number;
		return set_answer(s->step, SET_BEGUN, NULL, e);
	}
	o.generation = (struct generation){ s->m.generation, s->m.run };
	memcpy(o.reason, s->order.reason, sizeof(o.reason));
	memcpy(o.request, s->order.request, sizeof(o.request));
	return set_say(s->step, &o, e);
}

/* The others hear of it, or the first does. */
static void refuse_set(struct saving *s, const struct err *why)
{
	struct set_answer answer = { .run = 0 };
	struct set_order o = { .word = SET_FAILED };

	if (s->superseded || !is_set(s) || !give_word(s))
		return;
	snprintf(answer.text, sizeof(answer.text), "%s", why->text);
	snprintf(o.text, sizeof(o.text), "%.600s", why->text);
	memcpy(o.request, s->order.request, sizeof(o.request));
	if (s->step->spec.part)
		set_answer(s->step, SET_REFUSED, &answer, NULL);
	else if (s->ordered)
		set_say_again(s->step, SET_FAILED, o.text, o.request, NULL);
	else
		set_say(s->step, &o, NULL);
}

/* Where the program goes on: a node that is gone must not be waited for until the job ends. */
#define OTHERS_NS (INT64_C(1800) * 1000000000)
#define OTHERS_TIMES 20 /* what this one took */

/* A little before the time is over: somebody has to hear of it. */
static int64_t set_until(const struct saving *s, int ms)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);

	return s->order.us ? s->start + s->order.us * 1000 - ms * INT64_C(1000000) :
			     now + OTHERS_NS + OTHERS_TIMES * (now - s->start);
}

/* What does not count goes first of all; what is kept beside it, after that. */
static int lead_set(struct saving *s, struct err *e)
{
	const struct generation g = { s->m.generation, s->m.run };
	struct step *step = s->step;
	struct set_answer sum;
	struct err why = { "" };
	bool good = set_gather(step, true, set_until(s, 500), &sum, &why) == 0;

	if (!give_word(s)) {
		generation_withdraw(&step->store, g, NULL);
		return err_set(e, "the time is over");
	}
	if (!good) {
		generation_withdraw(&step->store, g, NULL);
		set_say_again(step, SET_FAILED, why.text, s->order.request, NULL);
		step->others_fault = sum.state == SET_REFUSED;
		return err_set(e, "%s", why.text);
	}
	s->all_resident = sum.resident;
	s->all_stored = sum.stored;
	store_retain(&step->store, step->spec.limits.keep, s->m.run,
		     &step->restored, NULL);
	store_retain_parts(&step->store, NULL);
	/* If it cannot be said, the others do not end with it; it counts. */
	set_say_again(step, SET_WHOLE, "", s->order.request, NULL);
	return 0;
}

static int follow_set(struct saving *s, struct err *e)
{
	const struct generation g = { s->m.generation, s->m.run };
	struct set_answer answer = { .resident = s->m.resident,
				     .stored = (int64_t)s->m.set.stored };
	struct step *step = s->step;
	struct spec first_spec = step->spec;
	struct store first;
	int rc;

	if (!give_word(s)) {
		generation_withdraw(&step->store, g, NULL);
		return err_set(e, "the time is over");
	}
	if (set_answer(step, SET_DONE, &answer, e) < 0)
		return generation_withdraw(&step->store, g, NULL), -1;
	if ((rc = set_hear(step, set_until(s, 100), e)) < 0)
		generation_withdraw(&step->store, g, NULL);
	if (rc) {
		s->kept = rc > 0;
		step->others_fault = rc < 0;
		return -1;
	}
	first_spec.part = 0;
	if (store_open(&first_spec, false, &first, NULL) == 0) {
		part_retain(&step->store, &first, NULL);
		store_close(&first);
	}
	return 0;
}

/* The digests of its pages, 1/256 of it, are the least a first dump writes. */
#define LEAST(resident, parent) \
	((parent) ? (1 << 20) : (resident) / 256 + (1 << 20))

/* Bytes of memory for each page of the program's, besides the buffer: its digest and slot, and those
 * of the generation that is leaned on (image/known.c, image/pack.c). */
#define PER_PAGE 48

static int begin(struct saving *s, struct err *e)
{
	const struct limits *limits = &s->step->spec.limits;
	struct image_options options = { .level = limits->compress,
					 .criu_first = !s->order.end,
					 .verbatim = s->broker >= 0 };
	char prefix[GENERATION_NAME_MAX + 1];
	bool leans;

	if (may_save(s, e) < 0 || describe(s, e) < 0 || carry_check(s->step, e) < 0 ||
	    (s->m.generation = store_next(&s->step->store, s->m.run, e)) < 0 ||
	    (is_set(s) && begin_set(s, e) < 0))
		return -1;
	options.buffer = memory_for_buffer(limits->buffer, (uint64_t)s->own / IMAGE_PAGE * PER_PAGE);
	generation_name((struct generation){ s->m.generation, s->m.run }, prefix);
	leans = find_parent(s->step, &s->before);
	s->m.parent = leans ? s->before.generation : 0;
	if (store_room(&s->step->spec, &s->step->store,
		       (uint64_t)LEAST(s->m.resident, leans), &options.limit,
		       e) == 0)
		s->writer = image_writer_open(s->step->store.dir, prefix,
					      &options,
					      leans ? &s->before.set : NULL,
					      (uint64_t)(s->own + s->step->carried),
					      e);
	s->limit = options.limit;
	return s->writer ? 0 : -1;
}

/* ---- when everything has been copied -------------------------------------------- */

/* What files=copy took along is of the quota, too. */
static int count_files(struct saving *s, struct err *e)
{
	s->m.set.stored += s->files.copied;
	if (!s->limit || s->m.set.stored <= s->limit)
		return 0;
	return err_set(e, "with the files that files=copy takes along your checkpoints would exceed the quota: remove some with sckpt remove or sckpt prune");
}

static int publish(struct saving *s, struct err *e)
{
	/* Of a set that is known when it is whole. */
	s->m.ended = !is_set(s) && settle_end(s);
	s->m.dump_us = (clock_ns(CLOCK_MONOTONIC) - s->start) / 1000;
	if (generation_publish(&s->step->store, &s->m, e) == 0)
		return 0;
	/* The other may have begun meanwhile. */
	s->superseded = store_superseded(&s->step->store, s->m.run, NULL, NULL) > 0;
	return -1;
}

/* In the step's log. At the end no time is left to wait for the disk. */
static void note(const struct saving *s)
{
	struct event ev = { .kind = EVENT_CHECKPOINT,
			    .time_us = clock_ns(CLOCK_REALTIME) / 1000,
			    .run = s->m.run,
			    .generation = { s->m.generation, s->m.run },
			    .at_us = s->at_us,
			    .us = s->m.dump_us,
			    .frozen_us = s->m.frozen_us,
			    .resident = s->m.resident + s->all_resident,
			    .stored = (int64_t)s->m.set.stored + s->all_stored,
			    .end = s->m.ended,
			    .count = 1 };
	uint64_t taken, stored;

	image_writer_progress(s->writer, &taken, &stored);
	count_checkpoint(&s->m, taken);
	if (s->m.part)
		return;
	memcpy(ev.node, s->m.node, sizeof(ev.node));
	snprintf(ev.text, sizeof(ev.text), "%s", s->m.reason);
	event_add(&s->step->store, &ev, !s->order.end);
}

/* Waits for the threads, publishes, and removes what is not kept. */
static int finish(struct saving *s, struct err *e)
{
	if (image_writer_finish(s->writer, &s->m.set, e) < 0)
		return -1;
	/* From here on its files are whole, and stay unless they are discarded. */
	if (stdio_sync(s->step->io, e) < 0 ||
	    files_settle(s->step, &s->m, &s->files, e) < 0 ||
	    count_files(s, e) < 0 || publish(s, e) < 0 ||
	    (is_set(s) && (s->m.part ? follow_set(s, e) : lead_set(s, e)) < 0)) {
		if (!s->kept)
			image_writer_discard(s->writer);
		return -1;
	}
	s->published = true;
	if (is_set(s) && settle_end(s)) {
		s->m.ended = true;
		generation_mark_ended(&s->step->store,
				      (struct generation){ s->m.generation, s->m.run });
	}
	s->step->last = (struct cost){ .us = s->m.dump_us,
				       .resident = s->m.resident + s->all_resident,
				       .carried = s->step->carried,
				       .whole = !s->m.parent,
				       .generation = s->m.generation,
				       .frozen_us = s->m.frozen_us };
	note(s);
	if (s->step->last.whole && s->m.resident >= ESTIMATE_LEAST &&
	    !is_set(s))
		store_speed_note(&s->step->store,
				 (double)(s->m.resident + s->step->carried) * 1e6 /
					 (double)s->m.dump_us);
	if (!strcmp(s->step->spec.step, "batch"))
		origin_keep(&s->step->store, s->step->program, environ,
			    s->job_start, s->job_end);
	/* The next dump tries again if this fails; a set's is done. */
	if (!is_set(s))
		store_retain(&s->step->store, s->step->spec.limits.keep,
			     s->m.run, &s->step->restored, NULL);
	return 0;
}

static void *finish_beside(void *arg)
{
	struct saving *s = arg;
	const uint64_t one = 1;

	s->result = finish(s, &s->e);
	while (write(s->done, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static int start_beside(struct saving *s, struct err *e)
{
	if ((s->done = eventfd(0, EFD_CLOEXEC)) < 0)
		return err_sys(e, "cannot watch the dump");
	errno = pthread_create(&s->thread, NULL, finish_beside, s);
	if (!errno)
		return 0;
	err_sys(e, "cannot start a thread");
	close(s->done);
	s->done = -1;
	return -1;
}

static int join_beside(struct saving *s, struct err *e)
{
	pthread_join(s->thread, NULL);
	close(s->done);
	s->done = -1;
	*e = s->e;
	return s->result;
}

/* A store may hang, in fsync most of all: then the program goes on, and so does
 * the thread, as long as Slurm lets it. But not when what is published this moment
 * says that the program wrote nothing after it. */
static int finish_in_time(struct saving *s, struct err *e)
{
	int64_t left;

	if (!s->order.us)
		return finish(s, e);
	if (start_beside(s, e) < 0)
		return -1;
	while ((left = deadline_left(&s->deadline)) > 0) {
		struct pollfd p = { .fd = s->done, .events = POLLIN };

		if (poll(&p, 1, (int)((left + 999999) / 1000000)) > 0)
			return join_beside(s, e);
	}
	if (!settle_end(s))
		return join_beside(s, e);
	s->late = true;
	return err_set(e, "the time is over");
}

static int note_shape(const struct saving *s, struct err *e)
{
	cleanup_free pid_t *pids = NULL;
	int count = program_tree(s->step->root, &pids, e);

	return count < 0 ? -1 : shape_of(pids, count, s->order.shape, e);
}

/* At the end Slurm sets the time, and the dump needs some of it. */
static int wait_for_own_criu(const struct saving *s, struct err *e)
{
	return own_criu_wait(s->step->root, s->order.end ? s->order.us / 2 : 0, e);
}

/*
 * Criu's pre-dump point: it is about to freeze the tree. A program that starts its own criu
 * again and again has done so since the look before this one was started, and rests for a
 * moment when that ends.
 */
static int ready(void *arg, struct err *e)
{
	struct saving *s = arg;

	if (wait_for_own_criu(s, e) < 0)
		return -1;
	s->still = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

/* Criu's post-dump point: the tree is frozen, criu has sent everything. */
static int commit(void *arg, struct stream *stream, struct err *e)
{
	struct saving *s = arg;

	if (own_criu_absent(s->step->root, e) < 0) {
		s->traced = true;
		return -1;
	}
	if (s->order.shape && note_shape(s, e) < 0)
		return -1;
	s->m.ended = s->order.end;
	if (stream_drain(stream, e) < 0 ||
	    files_record(s->step, &s->m, &s->before, &s->files, e) < 0 ||
	    carry_record(s->step, &s->m, s->writer, e) < 0 ||
	    stdio_settle(s->step->io, &s->m, e) < 0 ||
	    pmi_settle(s->step->pmi, &s->m, e) < 0)
		return -1;
	s->m.monotonic = clock_ns(CLOCK_MONOTONIC);
	s->m.boottime = clock_ns(CLOCK_BOOTTIME);
	s->committed = true;
	if (!s->order.end)
		return 0;
	/* It will not run again here: so long it stood still. */
	s->m.frozen_us = (clock_ns(CLOCK_MONOTONIC) - s->still) / 1000;
	tell(s, STATUS_WRITING, "");
	/* From here on it is not cancelled any more. */
	deadline_end(&s->deadline);
	return finish_in_time(s, e);
}

static void look_for_blockers(const struct step *step, struct blockers *found)
{
	cleanup_free pid_t *pids = NULL;
	int count = program_tree(step->root, &pids, NULL);

	*found = (struct blockers){ .count = 0 };
	if (count > 0)
		blockers_find(pids, count, step->spec.elevate, found);
}

static int refuse(struct saving *s, int status, struct err *e)
{
	const struct step *step = s->step;
	struct blockers found, later;
	char why[600], blocker[400];
	bool known = criu_explain(&step->store, DUMP_LOG, status, why,
				  sizeof(why));

	look_for_blockers(step, &found);
	s->traced = own_criu_met(step->root, found.count > 0);
	if (found.count && !s->traced) {
		/* It may have gone just then. */
		look_for_blockers(step, &later);
		s->traced = !later.count && own_criu_met(step->root, false);
	}
	if (!found.count)
		return err_set(e, "%s", why);
	/* It knows the name, too. */
	blocker_print(&found.list[0], blocker, sizeof(blocker));
	return known ? err_set(e, "%s", blocker) :
		       err_set(e, "%s (%.200s)", blocker, why);
}

static int go_on_beside(struct saving *s, struct err *e)
{
	s->m.frozen_us = criu_frozen_us();
	tell(s, STATUS_WRITING, "");
	return start_beside(s, e);
}

/* Nothing of what was not finished stays. */
static void drop_files(struct saving *s)
{
	image_writer_close(s->writer);
	s->writer = NULL;
	if (!s->published && !s->kept)
		generation_drop_files(&s->step->store, &s->m);
	files_release(&s->files, &s->m);
	manifest_free(&s->before);
}

/* The last word, once they are gone. */
static void conclude(struct saving *s, int rc, const struct err *e)
{
	if (rc < 0)
		refuse_set(s, e);
	drop_files(s);
	tell(s, rc < 0 ? STATUS_REFUSED :
	     s->order.end ? STATUS_STOPPED : STATUS_SAVED, rc < 0 ? e->text : "");
	manifest_free(&s->m);
	if (s->done >= 0)
		close(s->done);
	free(s);
}

/* In place of what the cancelled parts say. */
static int given_up(struct saving *s, struct err *e)
{
	uint64_t taken, stored;
	char all[16], copied[16], wait[16];

	image_writer_progress(s->writer, &taken, &stored);
	size_print((uint64_t)s->m.resident, all);
	size_print(taken, copied);
	span_print(s->order.us, wait);
	return err_set(e, "it would not have been whole when Slurm kills the job (KillWait=%d s): of %s of memory %s were copied and the rest could not be written in %s; the checkpoint before stays",
		       s->step->spec.kill_wait, all, copied, wait);
}

/* Before 23.02 Slurm does not tell a script when its job began and is to end. Not in the thread
 * that finishes: the agent's loop takes the ends of all children. */
static void ask_limit(struct saving *s)
{
	struct job_facts facts;

	if (strcmp(s->step->spec.step, "batch") || getenv(ORIGIN_END) ||
	    origin_kept(&s->step->store))
		return;
	job_ask(s->step->spec.job, &facts, NULL);
	s->job_start = facts.start;
	s->job_end = facts.end;
}

/* What went by since s->start is not of order.us any more. */
static void use_time(struct saving *s)
{
	int64_t gone = (clock_ns(CLOCK_MONOTONIC) - s->start) / 1000;

	if (s->order.us)
		s->order.us = s->order.us > gone ? s->order.us - gone : 1;
}

/* The program has ended, or it runs on; -1: it runs on, and e says why. */
static int dump(struct saving *s, struct err *e)
{
	struct image_sink sink;
	struct session session = { .program = s->step->spec.criu,
				   .sink = &sink,
				   .ready = ready,
				   .commit = commit,
				   .tick = tick,
				   .arg = s };
	struct criu_run run;
	int status, rc;

	s->start = clock_ns(CLOCK_MONOTONIC);
	session.broker = s->broker = elevate_broker(s->step);
	if (wait_for_own_criu(s, e) < 0)
		return -1;
	ask_limit(s);
	/* What that took is not of order.us any more. */
	use_time(s);
	s->start = clock_ns(CLOCK_MONOTONIC);
	s->at_us = clock_ns(CLOCK_REALTIME) / 1000;
	if (begin(s, e) < 0)
		return -1;
	tell(s, STATUS_FREEZING, "");
	sink = image_writer_sink(s->writer);
	if (deadline_begin(&s->deadline, s->order.us, s->writer, e) < 0)
		return -1;
	criu_dump_run(&run, s->step->io, s->step->pmi, s->order.end);
	rc = session_run(&session, &run, &status, e);
	criu_run_free(&run);
	deadline_end(&s->deadline);
	/* Whatever happened to criu since: this is what the job goes on from. */
	if (!s->late && s->published)
		return 0;
	if (s->late || deadline_passed(&s->deadline))
		return given_up(s, e);
	if (rc == 0 && (!WIFEXITED(status) || WEXITSTATUS(status)))
		rc = refuse(s, status, e);
	if (rc == 0 && (s->order.end || !s->committed))
		rc = err_set(e, "criu ended without having asked whether it may");
	return rc == 0 ? go_on_beside(s, e) : -1;
}

/* Each meets it in the few ms between the pre-dump point and the freezing, or does not. */
#define TRIES 25

/* Its own criu had a process in the moment of freezing, between the look for it and criu's:
 * that has passed, or is waited for. Several nodes begin together, and only once. */
static bool dump_again(struct saving *s)
{
	if (!s->traced || s->late || is_set(s))
		return false;
	use_time(s);
	if (s->order.us == 1)
		return false;
	drop_files(s);
	manifest_free(&s->m);
	s->traced = s->committed = false;
	return true;
}

int step_dump(struct step *step, const struct order *order,
	      struct saving **saving, struct err *e)
{
	struct saving *s = calloc(1, sizeof(*s));
	int rc;

	*saving = NULL;
	if (!s)
		return err_set(e, "no memory for a dump");
	s->step = step;
	s->order = *order;
	s->done = s->deadline.over = -1;
	step->others_fault = false;
	rc = dump(s, e);
	for (int i = 1; i < TRIES && rc < 0 && dump_again(s); i++)
		rc = dump(s, e);
	deadline_end(&s->deadline);
	if (s->late)
		refuse_set(s, e);
	if (rc < 0)
		count_failure(order->reason);
	if (s->late || (rc == 0 && !s->published)) {
		*saving = s;
		return rc;
	}
	conclude(s, rc, e);
	return rc;
}

/* ---- the rest of it, while the program runs ------------------------------------- */

int saving_fd(const struct saving *s)
{
	return s->done;
}

void saving_tell(const struct saving *s)
{
	tell(s, STATUS_WRITING, "");
}

bool saving_late(const struct saving *s)
{
	return s->late;
}

void saving_cancel(struct saving *s)
{
	image_writer_cancel(s->writer);
}

int saving_end(struct saving *s, struct err *e)
{
	int rc;

	pthread_join(s->thread, NULL);
	rc = s->result;
	*e = s->e;
	/* One that was late was counted so. */
	if (rc < 0 && !s->late)
		count_failure(s->order.reason);
	conclude(s, rc, e);
	return rc;
}
