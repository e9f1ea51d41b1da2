/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking a running step for a checkpoint. The request is laid into the step's
 * directory, where only its user can put it, and Slurm's SIGURG, which Slurm
 * delivers for the user alone, wakes the step; it answers in status.json.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* A step that runs takes a request at once; one whose node is slow may take
 * its time. */
#define TAKEN_MS 15000
#define JOB_CHECK_MS 5000
/* Another node of the step has heard by then what the first one has ordered. */
#define PART_MS 6000

struct asking {
	const struct options *o;
	const struct spec *step;
	const struct job *job;
	struct store store;
	char name[ID_TEXT_MAX], id[40];
	json_object *list;
	enum ask what;
	bool bar;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* ---- the bar --------------------------------------------------------------------- */

#define BAR_WIDTH 30

static void draw(struct asking *a, const struct status *s)
{
	char done[16], total[16];
	double part = s->total ? (double)s->done / (double)s->total : 0;
	int full;

	if (!a->bar)
		return;
	if (part > 1)
		part = 1;
	full = (int)(part * BAR_WIDTH);
	size_print(s->done, done);
	size_print(s->total, total);
	fprintf(stderr, "\r%s %-8s [%.*s%*s] %s of %s\033[K", a->name,
		s->kind == STATUS_FREEZING ? "frozen" : "writing", full,
		"##############################", BAR_WIDTH - full, "", done,
		total);
}

static void wipe(const struct asking *a)
{
	if (a->bar)
		fputs("\r\033[K", stderr);
}

/* ---- waiting for the answer --------------------------------------------------------- */

/* Takes the request away again; false when the step has it already. */
static bool withdraw(struct asking *a)
{
	char id[40];

	if (request_take(&a->store, id, NULL) <= 0)
		return false;
	/* Somebody else's, laid there since: back with it. */
	if (strcmp(id, a->id)) {
		request_put(&a->store, id, NULL);
		return false;
	}
	return true;
}

static bool still_runs(const struct asking *a, struct job *now)
{
	const struct id id = { .job = a->job->number, .task = -1 };

	/* A slurmctld that is away says nothing about the job. */
	return job_of_id(&id, now, NULL) != 0 ||
	       (!strcmp(now->state, "RUNNING") &&
		now->restarts == a->job->restarts && step_runs(now, a->step));
}

static int not_taken(const struct asking *a)
{
	return complain(EXIT_TIMED_OUT,
			"step %s does not take the request, though Slurm has signalled it: it is not protected (its first lines of output and slurmd's log on its node say why), or its node hangs",
			a->name);
}

/* 0: the step has answered; else an exit status, complained. */
static int await(struct asking *a, struct status *s)
{
	int64_t start = now_ms(), check = start + JOB_CHECK_MS, now;
	bool taken = false, begun = false;
	struct job job;

	for (;;) {
		struct err e = { "" };
		struct stat st;
		int rc = status_read(&a->store, s, &e);

		now = now_ms();
		if (rc > 0 && !strcmp(s->request, a->id)) {
			begun = taken = true;
			if (s->kind == STATUS_CHECKED ||
			    (a->what != ASK_CHECK && (s->kind == STATUS_SAVED ||
						      s->kind == STATUS_REFUSED)))
				return EXIT_OK;
			draw(a, s);
		}
		if (!taken && fstatat(a->store.dir, "request", &st,
				      AT_SYMLINK_NOFOLLOW) < 0 &&
		    errno == ENOENT)
			taken = true;
		if (interrupted && withdraw(a))
			return complain(EXIT_FAILED, "interrupted: step %s is not asked any more",
					a->name);
		if (interrupted)
			return complain(EXIT_FAILED, "interrupted: step %s makes the checkpoint all the same; sckpt list %u shows it",
					a->name, a->job->number);
		if (now > check) {
			if (!still_runs(a, &job)) {
				withdraw(a);
				return complain(EXIT_FAILED, "step %s ended before it had made a checkpoint",
						a->name);
			}
			check = now_ms() + JOB_CHECK_MS;
		}
		/* Taken and never begun: another request was laid over ours. */
		if (!begun && now > start + TAKEN_MS) {
			if (!taken && withdraw(a))
				return not_taken(a);
			return complain(EXIT_FAILED, "another request to step %s came in between; ask again",
					a->name);
		}
		if (now > start + INT64_C(1000) * a->o->timeout) {
			if (withdraw(a))
				return not_taken(a);
			return complain(EXIT_TIMED_OUT, "step %s has not finished its checkpoint within %ld s; it goes on, and sckpt list %u will show it (--timeout waits longer)",
					a->name, a->o->timeout, a->job->number);
		}
		poll(NULL, 0, now < start + 5000 ? 50 : 200);
	}
}

/* ---- one step ------------------------------------------------------------------------- */

static int lay_request(struct asking *a)
{
	struct err e = { "" };
	struct stat st;
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return complain(EXIT_FAILED, "no random numbers");
	snprintf(a->id, sizeof(a->id), "%s%016jx%016jx",
		 a->what == ASK_CHECK ? CHECK_REQUEST : "", (uintmax_t)random[0],
		 (uintmax_t)random[1]);
	/* One that is old was left by a sckpt create that was killed. */
	if (fstatat(a->store.dir, "request", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    time(NULL) - st.st_mtime < TAKEN_MS / 1000)
		return complain(EXIT_FAILED, "another sckpt create is asking step %s this moment; try again when it is done",
				a->name);
	if (request_put(&a->store, a->id, &e) < 0)
		return complain(EXIT_FAILED, "step %s: %s", a->name, e.text);
	return EXIT_OK;
}

static int wake(const struct asking *a)
{
	bool batch = !strcmp(a->step->step, "batch");
	char target[64], slurm_id[32], *argv[6] = { SCANCEL_PATH, "--signal=URG" };
	const char *id = step_slurm_id(a->step, slurm_id);
	struct err e = { "" };
	int n = 2, rc;

	if (!id)
		return complain(EXIT_FAILED, "step %s has just ended", a->name);
	if (batch)
		argv[n++] = "--batch";
	snprintf(target, sizeof(target), batch ? "%s" : "%s.%s", a->job->name,
		 id);
	argv[n] = target;
	rc = slurm_run(argv, NULL, 0, &e);
	if (rc == 0)
		return EXIT_OK;
	return complain(EXIT_FAILED, "step %s cannot be signalled: %s", a->name,
			rc < 0 ? e.text : "scancel refuses, see above");
}

static void report(struct asking *a, const struct status *s,
		   const struct manifest *m)
{
	cleanup_free char *text = NULL;
	char stored[16], resident[16], frozen[16], took[16];
	json_object *o;

	if (a->o->json) {
		if ((text = manifest_text(m, NULL)) &&
		    (o = json_tokener_parse(text)))
			json_object_array_add(a->list, o);
		return;
	}
	size_print(m->set.stored, stored);
	size_print((uint64_t)m->resident, resident);
	span_print(m->frozen_us, frozen);
	span_print(m->dump_us, took);
	printf("step %s: generation %d on %s: %s stored of %s resident, frozen for %s, durable after %s\n",
	       a->name, s->generation.number, a->store.path, stored, resident,
	       frozen, took);
}

/* ---- a rehearsal on several nodes ----------------------------------------------------- */

/* 1: that node has answered; 0 it will; -1 it has not begun, as far as can be seen. */
static int part_answered(const struct asking *a, int part, char **text,
			 struct err *e)
{
	struct store at;
	struct status s;
	int rc = -1;

	if (part_open(&a->store, part, false, &at, NULL) < 0)
		return -1;
	if (status_read(&at, &s, NULL) > 0 && !strcmp(s.request, a->id)) {
		rc = s.kind == STATUS_CHECKED;
		if (rc && check_get(&at, text, e) < 0) {
			free(*text);
			*text = NULL;
		}
	}
	store_close(&at);
	return rc;
}

/*
 * What another node says of its part. One that did not take part in the checkpoint says
 * nothing, and the first one has said so. 0, or an exit status, complained.
 */
static int await_part(const struct asking *a, int part, int64_t start, char **text)
{
	int64_t begin = now_ms(), check = begin + JOB_CHECK_MS, now;
	struct err e = { "" };
	struct job job;
	int rc;

	while ((rc = part_answered(a, part, text, &e)) <= 0) {
		now = now_ms();
		if (interrupted)
			return complain(EXIT_FAILED, "interrupted: what the other nodes of step %s find is not waited for",
					a->name);
		if (rc < 0 && now > start + PART_MS) {
			rc = asprintf(text, "node node %d\nnote its part was not rehearsed: it was not asked, or says nothing\n",
				      part);
			return rc < 0 ? complain(EXIT_FAILED, "no memory") : EXIT_OK;
		}
		if (now > start + INT64_C(1000) * a->o->timeout)
			return complain(EXIT_TIMED_OUT, "node %d of step %s has not finished its rehearsal within %ld s (--timeout waits longer)",
					part, a->name, a->o->timeout);
		if (now > check && !still_runs(a, &job))
			return complain(EXIT_FAILED, "step %s ended before node %d of it had rehearsed its part",
					a->name, part);
		if (now > check)
			check = now_ms() + JOB_CHECK_MS;
		poll(NULL, 0, now < begin + 2000 ? 50 : 200);
	}
	return *text ? EXIT_OK :
		       complain(EXIT_FAILED, "what the rehearsal of node %d of step %s found cannot be read: %s",
				part, a->name, e.text);
}

static int found(struct asking *a, const struct status *s)
{
	int nodes = store_nodes(&a->store), rc = EXIT_OK;
	char **texts = nodes < 0 ? NULL : calloc((size_t)nodes, sizeof(*texts));
	int64_t start = now_ms();
	struct err e = { "" };
	char why[sizeof(s->text)];

	if (nodes < 0)
		return complain(EXIT_FAILED, "cannot tell how many nodes %s is of: %m", a->store.path);
	if (!texts)
		return complain(EXIT_FAILED, "no memory");
	snprintf(why, sizeof(why), "%s", s->text);
	if (*why)
		rc = complain(EXIT_FAILED, "no rehearsal of step %s: %s", a->name,
			      printable(why));
	else if (check_get(&a->store, &texts[0], &e) < 0)
		rc = complain(EXIT_FAILED, "what the rehearsal of step %s found cannot be read: %s",
			      a->name, e.text);
	for (int i = 1; !rc && i < nodes; i++)
		rc = await_part(a, i, start, &texts[i]);
	if (!rc)
		rc = check_report(a->name, texts, nodes,
				  a->o->json ? a->list : NULL);
	for (int i = 0; i < nodes; i++)
		free(texts[i]);
	free(texts);
	return rc;
}

/* ---- one step's answer ---------------------------------------------------------------- */

static int outcome(struct asking *a, const struct status *s)
{
	struct err e = { "" };
	struct manifest m;
	char text[sizeof(s->text)];

	if (s->kind == STATUS_CHECKED)
		return found(a, s);
	snprintf(text, sizeof(text), "%s", s->text);
	if (s->kind == STATUS_REFUSED)
		return complain(EXIT_FAILED, "no checkpoint of step %s: %s; it runs on",
				a->name, printable(text));
	if (step_load(a->step, &a->store, s->generation, &m, &e) < 0)
		return complain(EXIT_FAILED, "step %s says it has saved generation %d, and it cannot be read: %s",
				a->name, s->generation.number, e.text);
	if (!a->o->json) /* there it is the manifest */
		set_sum(&a->store, s->generation, &m, NULL);
	report(a, s, &m);
	manifest_free(&m);
	return EXIT_OK;
}

static int ask_step(struct asking *a)
{
	struct err e = { "" };
	struct status s;
	int rc = store_open(a->step, false, &a->store, &e);

	id_print(a->step, 0, a->name);
	if (rc)
		return complain(EXIT_FAILED, "step %s: %s", a->name,
				rc < 0 ? e.text : "its directory has gone");
	if ((rc = lay_request(a)) == EXIT_OK) {
		rc = wake(a);
		if (rc == EXIT_OK)
			rc = await(a, &s);
		else
			withdraw(a);
		wipe(a);
		if (rc == EXIT_OK)
			rc = outcome(a, &s);
	}
	store_close(&a->store);
	return rc;
}

/* ---- all steps of a job ------------------------------------------------------------------ */

static int may_be_asked(const char *text, const struct job *job, enum ask what)
{
	if (job->uid != geteuid())
		return complain(EXIT_FAILED, "job %s belongs to user id %u: only they can have it checkpointed",
				text, job->uid);
	if (strcmp(job->state, "RUNNING"))
		return complain(EXIT_FAILED, "job %s is %s: only a running job can be checkpointed",
				text, job->state);
	if (what == ASK_VACATE && !job->batch)
		return complain(EXIT_FAILED, "job %s has no batch script, so that Slurm cannot requeue it; sckpt create %s makes a checkpoint",
				text, text);
	if (what == ASK_VACATE && !job->requeue)
		return complain(EXIT_FAILED, "job %s may not be requeued: scontrol update jobid=%s requeue=1 allows it, sbatch --requeue does from the start",
				text, job->name);
	return EXIT_OK;
}

static int ask_all(const struct options *o, const char *text,
		   const struct steps *steps, const struct job *job, enum ask what)
{
	json_object *list = json_object_new_array();
	int rc = EXIT_OK, asked = 0;

	for (size_t i = 0; i < steps->count && !interrupted; i++) {
		struct asking a = { .o = o, .step = &steps->list[i], .job = job,
				    .list = list, .what = what, .bar = isatty(2) && !o->json };
		int one;

		if (step_is_old(a.step) || !step_runs(job, a.step))
			continue;
		asked++;
		one = ask_step(&a);
		rc = rc ? rc : one;
	}
	if (o->json)
		json_out(list);
	else
		json_object_put(list);
	if (!asked)
		return complain(EXIT_NOT_FOUND, "%s has no protected step that runs: was it submitted with --checkpoint? Its first lines of output say whether, and why not, it is protected",
				text);
	return rc;
}

int ask_steps(const struct options *o, enum ask what, struct job *job)
{
	struct sigaction action = { .sa_handler = on_interrupt };
	struct err e = { "" };
	struct steps steps;
	bool vacate = what == ASK_VACATE;
	struct place p;
	char name[64];
	struct id id;
	int rc;

	if (id_parse(o->argv[0], &id, &e) < 0)
		return complain(EXIT_USAGE, "%s", e.text);
	if (id.generation || (vacate && *id.step))
		return complain(EXIT_USAGE, vacate ? "a whole job is vacated: sckpt vacate %u" :
						     "a job or step is checkpointed, not a generation: sckpt create %u",
				id.job);
	id_job(&id, name);
	if (place_find(o, &p, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	if ((rc = job_of_id(&id, job, &e)) < 0)
		return complain(EXIT_FAILED, "job %s: %s", name, e.text);
	if (rc == 1)
		return complain(EXIT_NOT_FOUND, "Slurm knows no job %s; squeue --me shows yours",
				name);
	if ((rc = may_be_asked(name, job, what)))
		return rc;
	id.job = job->number;
	if (steps_find(&p, &id, &steps, &e) < 0)
		return complain(EXIT_FAILED, "%s", e.text);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	snprintf(name, sizeof(name), "%s %s", *id.step ? "step" : "job",
		 o->argv[0]);
	rc = ask_all(o, name, &steps, job, what);
	steps_free(&steps);
	place_free(&p);
	return rc;
}
