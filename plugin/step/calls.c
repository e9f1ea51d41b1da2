/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's side of a script's srun calls (calls.h): it hears of them, starts a
 * sckpt-client for each, and knows which of them are under way. It is the one that
 * removes the directories of their steps: a checkpoint of the script, taken while a
 * step ran, needs that step's own, though it may have ended since.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "earlier.h"
#include "step.h"

struct running {
	pid_t client, srun;
	int number;
};

#define NOT_YET (-1)
/* A step that has ended, and whose script has checkpoints from before. */
struct past {
	int number;
	int newest; /* generation of the script then; NOT_YET: the one that is being written */
};

struct calls {
	struct step *step;
	int fifo;
	struct running *running;
	size_t count;
	struct past *past;
	size_t pasts;
	/* With steps=skip-done. */
	struct done *done;
	int done_count, last_record;
	struct earlier earlier;
	bool stopping;
	bool saving; /* a checkpoint of the script, with the calls of that moment, is being written */
	int64_t touched; /* when the last one ended that may have been told to */
};

static void know_done(struct calls *c)
{
	struct err e = { "" };

	if (!c->step->spec.skip_done)
		return;
	c->done_count = done_list(&c->step->spec, &c->done, &e);
	if (c->done_count > 0)
		c->last_record = c->done[c->done_count - 1].record;
	if (c->done_count < 0)
		step_tell(c->step, CONTROL_NOTE, "steps=skip-done: %s; no step is skipped or remembered",
		     e.text);
}

struct calls *calls_open(struct step *step, struct err *e)
{
	struct calls *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, "no memory for calls of srun");
		return NULL;
	}
	c->step = step;
	/* The directory is this step's alone, made with its mounts; both ends
	 * open, so that it never ends. */
	if ((mkfifo(CALLS_FIFO, 0600) < 0 && errno != EEXIST) ||
	    (c->fifo = open(CALLS_FIFO, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0) {
		err_sys(e, "cannot make %s", CALLS_FIFO);
		free(c);
		return NULL;
	}
	know_done(c);
	if (earlier_open(&c->earlier, &step->spec, e) < 0)
		step_tell(step, CONTROL_NOTE, "what earlier runs of the script left cannot be looked at, and its new steps start afresh: %s",
			  e->text);
	return c;
}

int calls_fd(const struct calls *c)
{
	return c && !c->stopping ? c->fifo : -1;
}

static struct spec call_spec(const struct calls *c, int number)
{
	struct spec spec = c->step->spec;

	snprintf(spec.step, sizeof(spec.step), CALL_STEP "%d", number);
	return spec;
}

/* ---- beginning -------------------------------------------------------------- */

static bool is_known(const struct calls *c, const struct call *call)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->running[i].srun == call->pid ||
		    c->running[i].number == call->number)
			return true;
	return false;
}

/*
 * The record of an earlier run for the call, made this run's; NULL: the step is to
 * run. Of equal calls the first one that the script has not come to yet.
 */
static struct done *find_done(struct calls *c, const struct call *call,
			      bool is_new, const uint8_t command[IMAGE_SHA256])
{
	struct err e = { "" };

	for (int i = 0; i < c->done_count; i++) {
		struct done *d = &c->done[i];

		if (memcmp(d->command, command, IMAGE_SHA256) ||
		    (is_new ? d->had : d->call != call->number))
			continue;
		d->had = true;
		d->call = call->number;
		if (!is_new || done_write(&c->step->spec, d, &e) == 0)
			return d;
		step_tell(c->step, CONTROL_NOTE, "%s%d runs again: %s", CALL_STEP, call->number, e.text);
		return NULL;
	}
	return NULL;
}

/* Which record is for the call, and whether it is done. */
static int take_record(struct calls *c, const struct call *call, bool is_new,
		       bool *done)
{
	uint8_t command[IMAGE_SHA256];
	const struct done *d;

	*done = false;
	if (!c->step->spec.skip_done || c->done_count < 0 ||
	    call_command(call->pid, command, NULL) < 0)
		return 0;
	d = find_done(c, call, is_new, command);
	*done = d;
	if (d && is_new)
		step_tell(c->step, CONTROL_EVENT, "srun call %d of the script was done in an earlier run: it is not run again",
		     call->number);
	/* What a restored call says again is not all there was. */
	return d ? d->record : is_new ? ++c->last_record : 0;
}

/* what: of a new call; "" of one that was made before. */
static pid_t start_client(struct calls *c, const struct call *call, bool is_new,
			  char *what, struct err *e)
{
	char numbers[9][16], *argv[SPEC_ARGS_MAX + 13] = { CLIENT_PATH };
	bool done;
	int record = take_record(c, call, is_new, &done);
	const int values[9] = { call->pid,    call->number, is_new,
				call->fds[0], call->fds[1], call->fds[2],
				call->words,  record,	    done };
	pid_t pid = -1;
	sigset_t all;
	int n = spec_args(&c->step->spec, &argv[1], e);

	if (n < 0)
		return -1;
	argv[n + 1] = "--";
	for (int i = 0; i < 9; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%d", values[i]);
		argv[n + 2 + i] = numbers[i];
	}
	argv[n + 2 + 9] = what;
	/* It may be told of a stop before it is ready to hear of it. */
	sigfillset(&all);
	if (run_spawn(argv, environ, NULL, &all, &pid, e) < 0)
		pid = -1;
	argv[n + 1] = NULL;
	spec_args_free(&argv[1]);
	return pid;
}

/* Of a new call: that of an earlier run's, if it is the same, and else one that nobody has. */
static int new_number(struct calls *c, const struct call *call, char what[CALL_TEXT_MAX + 1])
{
	struct earlier_step *before;
	int *count = &c->step->calls;

	earlier_describe(&c->earlier, call->pid, *count, what);
	if ((before = earlier_find(&c->earlier, what))) {
		before->taken = true;
		if (*count < before->number)
			*count = before->number;
		return before->number;
	}
	while (earlier_is_other(&c->earlier, ++*count))
		step_tell(c->step, CONTROL_NOTE, "what %s%d goes on from is not used: its srun was called with other arguments, files or variables than this one, or is one of several equal ones, and which is not known",
			  CALL_STEP, *count);
	return *count;
}

static void begin(struct calls *c, struct call *call)
{
	char what[CALL_TEXT_MAX + 1] = "";
	struct running *more;
	struct err e;
	pid_t client;
	bool is_new = call->number == 0;

	if (!call->pid)
		c->touched = time(NULL);
	/* What cannot be is not from sckpt-srun. */
	if (call->number < 0 || call->number > c->step->calls || call->pid <= 0)
		return;
	if (is_new)
		call->number = new_number(c, call, what);
	if (is_known(c, call))
		return;
	more = realloc(c->running, (c->count + 1) * sizeof(*more));
	if (more)
		c->running = more;
	else
		err_set(&e, "no memory for it");
	if (!more || (client = start_client(c, call, is_new, what, &e)) < 0) {
		/* It would wait for ever. */
		step_tell(c->step, CONTROL_NOTE, "srun call %d of the script cannot be started: %s", call->number,
			  e.text);
		kill(call->pid, SIGKILL);
		return;
	}
	more[c->count++] = (struct running){ client, call->pid, call->number };
}

void calls_take(struct calls *c)
{
	struct call call;

	while (read(c->fifo, &call, sizeof(call)) == sizeof(call))
		begin(c, &call);
}

/* ---- ending ------------------------------------------------------------------- */

static void forget(const struct calls *c, int number)
{
	struct spec spec = call_spec(c, number);

	events_retire(&spec);
	store_forget(&spec, NULL);
}

/* Or may have. */
static bool has_saved(const struct calls *c, int number)
{
	struct spec spec = call_spec(c, number);

	return step_is_saved(&spec, NULL) != 0;
}

/* Its agent says so, and that nobody had told the program to end. */
static bool is_done(const struct calls *c, int number)
{
	struct spec spec = call_spec(c, number);
	struct store store;
	struct status s = { .kind = STATUS_RUNNING };

	if (store_open(&spec, false, &store, NULL) == 0) {
		status_read(&store, &s, NULL);
		store_close(&store);
	}
	return s.kind == STATUS_ENDED && s.ended == 0 && !*s.text;
}

/* Not needed any more, unless a checkpoint of the script is from when it ran, or it may yet
 * be gone on with: a script without one begins at its top. */
static void ended(struct calls *c, int number)
{
	cleanup_free struct generation *list = NULL;
	int count = store_generations(&c->step->store, &list, NULL);
	struct past *more;

	if (store_superseded(&c->step->store, c->step->spec.restart, NULL, NULL))
		return; /* another run has it */
	if ((count == 0 && !c->saving && is_done(c, number)) || !has_saved(c, number)) {
		forget(c, number);
		return;
	}
	if (!(more = realloc(c->past, (c->pasts + 1) * sizeof(*more))))
		return; /* it goes with the job */
	c->past = more;
	more[c->pasts++] = (struct past){ number, c->saving ? NOT_YET :
						  count > 0 ? list[0].number :
						  count < 0 ? INT_MAX : 0 };
}

void calls_leave_saved(const struct calls *c)
{
	cleanup_free int *numbers = NULL;
	int count = store_steps(&c->step->spec, CALL_STEP, &numbers, NULL);

	for (int i = 0; i < count; i++)
		if (!has_saved(c, numbers[i]))
			forget(c, numbers[i]);
}

void calls_saving(struct calls *c, bool saving)
{
	if (c)
		c->saving = saving;
}

void calls_published(struct calls *c)
{
	cleanup_free struct generation *list = NULL;
	int count = c ? store_generations(&c->step->store, &list, NULL) : 0;

	if (count <= 0)
		return;
	for (size_t i = 0; i < c->pasts; i++)
		if (c->past[i].newest == NOT_YET)
			c->past[i].newest = list[0].number;
	for (size_t i = 0; i < c->pasts;)
		if (c->past[i].newest < list[count - 1].number) {
			forget(c, c->past[i].number);
			c->past[i] = c->past[--c->pasts];
		} else {
			i++;
		}
}

/* Its client was killed: nobody would tell it any more. */
static void lost(struct calls *c, const struct running *r)
{
	c->touched = time(NULL);
	kill(r->srun, SIGKILL);
}

bool calls_reap(struct calls *c, pid_t pid, int status)
{
	for (size_t i = 0; c && i < c->count; i++) {
		struct running r = c->running[i];

		if (r.client != pid)
			continue;
		c->running[i] = c->running[--c->count];
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			ended(c, r.number);
		else if (!WIFEXITED(status) ||
			 (WEXITSTATUS(status) != CALL_GOES_ON &&
			  WEXITSTATUS(status) != CALL_WAS_DONE))
			lost(c, &r);
		return true;
	}
	return false;
}

int64_t calls_touched(struct calls *c)
{
	struct call call;

	/* No call is begun any more. */
	while (c && read(c->fifo, &call, sizeof(call)) == sizeof(call))
		if (!call.pid)
			c->touched = time(NULL);
	return c ? c->touched : 0;
}

/* ---- a stop, and what follows ---------------------------------------------------- */

bool calls_stop(struct calls *c)
{
	if (!c)
		return true;
	if (!c->stopping)
		for (size_t i = 0; i < c->count; i++)
			kill(c->running[i].client, SIGTERM);
	c->stopping = true;
	return c->count == 0;
}

void calls_leave(const struct calls *c)
{
	for (size_t i = 0; i < c->count; i++)
		kill(c->running[i].client, SIGALRM);
}

static void kick(const struct calls *c, int how)
{
	cleanup_free pid_t *pids = NULL;
	int count = program_tree(c->step->root, &pids, NULL);

	for (int i = 0; i < count; i++)
		if (call_is_srun(pids[i]))
			sigqueue(pids[i], SIGURG, (union sigval){ .sival_int = how });
}

void calls_not_stopped(struct calls *c)
{
	if (!c || !c->stopping)
		return;
	c->stopping = false;
	kick(c, KICK_END);
}

void calls_restored(struct calls *c)
{
	if (!c)
		return;
	for (int i = 0; i < c->done_count; i++)
		c->done[i].had = c->done[i].call <= c->step->calls;
	kick(c, KICK_AGAIN);
}
