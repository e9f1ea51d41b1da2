/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Slurm knows of jobs, asked through its own commands and their JSON. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "sckpt/policy.h"

#define ASK_TIMEOUT_MS 20000
#define ANSWER_MAX (256 << 20)

/* A number of Slurm's JSON: plain up to 22.05, then {set, infinite, number}. */
static int64_t number(json_object *job, const char *name)
{
	json_object *v, *set;

	if (!json_object_object_get_ex(job, name, &v))
		return 0;
	if (!json_object_is_type(v, json_type_object))
		return json_object_get_int64(v);
	if (json_object_object_get_ex(v, "set", &set) &&
	    !json_object_get_boolean(set))
		return 0;
	return json_object_object_get_ex(v, "number", &v) ?
		       json_object_get_int64(v) :
		       0;
}

static bool is_active(const char *state)
{
	static const char *const active[] = { "RUNNING", "PENDING", "SUSPENDED",
					      "CONFIGURING", "COMPLETING",
					      "REQUEUED", "REQUEUE_HOLD",
					      "REQUEUE_FED", "SPECIAL_EXIT",
					      "RESIZING", "SIGNALING",
					      "STAGE_OUT", "STOPPED" };

	for (size_t i = 0; i < sizeof(active) / sizeof(active[0]); i++)
		if (!strcmp(active[i], state))
			return true;
	return false;
}

static void take_state(struct job *job, const char *state)
{
	if (!state)
		return;
	if (!*job->state)
		snprintf(job->state, sizeof(job->state), "%s", state);
	if (is_active(state))
		job->active = true;
	if (!strcmp(state, "COMPLETING"))
		job->completing = true;
}

static int take_job(json_object *o, struct job *job)
{
	json_object *state;

	*job = (struct job){ .number = (uint32_t)number(o, "job_id"),
			     .uid = (uid_t)number(o, "user_id"),
			     .requeue = number(o, "requeue") != 0,
			     .batch = number(o, "batch_flag") != 0,
			     .restarts = (int)number(o, "restart_cnt"),
			     .task = -1 };
	snprintf(job->name, sizeof(job->name), "%u", job->number);
	if (number(o, "array_job_id")) {
		job->task = number(o, "array_task_id");
		/* One task has the array's number, which would mean all of them. */
		snprintf(job->name, sizeof(job->name), "%u_%u",
			 (uint32_t)number(o, "array_job_id"), (uint32_t)job->task);
	}
	if (!json_object_object_get_ex(o, "job_state", &state))
		return -1;
	/* One word up to 23.02, then a list. */
	if (!json_object_is_type(state, json_type_array))
		take_state(job, json_object_get_string(state));
	else
		for (size_t i = 0; i < json_object_array_length(state); i++)
			take_state(job, json_object_get_string(
						json_object_array_get_idx(state, i)));
	return job->number && *job->state ? 0 : -1;
}

/* The list of jobs in an answer; *top is to be freed. */
static json_object *ask(char *const argv[], json_object **top, struct err *e)
{
	cleanup_free char *answer = NULL;
	json_object *jobs = NULL;

	*top = NULL;
	if (run_collect(argv, environ, ASK_TIMEOUT_MS, ANSWER_MAX, &answer, e) < 0)
		return NULL;
	job_trim(answer);
	*top = json_tokener_parse(answer);
	if (!json_object_object_get_ex(*top, "jobs", &jobs) ||
	    !json_object_is_type(jobs, json_type_array)) {
		err_set(e, "%s gave an answer without jobs", argv[0]);
		return NULL;
	}
	return jobs;
}

static void take_cluster(json_object *top, struct jobs *jobs)
{
	json_object *at;

	if (json_object_object_get_ex(top, "meta", &at) &&
	    (json_object_object_get_ex(at, "slurm", &at) ||
	     json_object_object_get_ex(at, "Slurm", &at)) &&
	    json_object_object_get_ex(at, "cluster", &at))
		snprintf(jobs->cluster, sizeof(jobs->cluster), "%s",
			 json_object_get_string(at));
}

/* Slurm before 23.11 does not say with its jobs whose they are; sckpt-record does not, either. */
static void ask_cluster(struct jobs *jobs)
{
	cleanup_free char *config = config_ask(NULL);

	if (config)
		config_find(config, "ClusterName", jobs->cluster, sizeof(jobs->cluster));
}

void jobs_ask(struct jobs *jobs, struct err *e)
{
	char user[16], *argv[] = SHOW_JOBS_OF(user);
	json_object *top, *list;

	*jobs = (struct jobs){ .known = false };
	snprintf(user, sizeof(user), "%u", geteuid());
	if ((list = ask(argv, &top, e))) {
		size_t n = json_object_array_length(list);

		take_cluster(top, jobs);
		if (!*jobs->cluster)
			ask_cluster(jobs);
		jobs->list = calloc(n + 1, sizeof(*jobs->list));
		jobs->known = jobs->list != NULL;
		for (size_t i = 0; jobs->list && i < n; i++)
			if (take_job(json_object_array_get_idx(list, i),
				     &jobs->list[jobs->count]) == 0)
				jobs->count++;
	}
	json_object_put(top);
}

void jobs_free(struct jobs *jobs)
{
	free(jobs->list);
	*jobs = (struct jobs){ .known = false };
}

/* For the number of an array Slurm shows all its tasks, of which one has that number. */
static int take_own(json_object *list, uint32_t own, struct job *job)
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (take_job(json_object_array_get_idx(list, i), job) == 0 &&
		    job->number == own)
			return 0;
	return take_job(json_object_array_get_idx(list, 0), job);
}

int job_of_id(const struct id *id, struct job *job, struct err *e)
{
	char name[40], *argv[] = SHOW_JOB(name);
	char *ping[] = { SCONTROL_PATH, "ping", NULL };
	cleanup_free char *answer = NULL;
	json_object *top, *list;
	int rc = 1;

	id_job(id, name);
	if ((list = ask(argv, &top, e)) && json_object_array_length(list))
		rc = take_own(list, id->job, job) < 0 ?
			     err_set(e, "Slurm's answer about job %s makes no sense",
				     name) :
			     /* Of a job that is no array any task is shown. */
			     id->task >= 0 && id->task != job->task;
	/* It fails for an unknown job and for an absent slurmctld alike. */
	else if (run_collect(ping, environ, ASK_TIMEOUT_MS, 65536, &answer,
			     NULL) < 0)
		rc = err_set(e, "slurmctld does not answer: is it running, and is this host part of the cluster?");
	json_object_put(top);
	return rc;
}

/* Of another cluster's job, or when it is not known whose jobs these are, nothing can be told. */
static bool is_here(const struct jobs *jobs, const struct spec *step)
{
	return jobs->known && *jobs->cluster && !strcmp(jobs->cluster, step->cluster);
}

const struct job *jobs_find(const struct jobs *jobs, const struct spec *step)
{
	for (size_t i = 0; is_here(jobs, step) && i < jobs->count; i++)
		if (jobs->list[i].number == step->job)
			return &jobs->list[i];
	return NULL;
}

const char *jobs_state(const struct jobs *jobs, const struct spec *step)
{
	const struct job *job;

	if (step_is_old(step))
		return "gone";
	if (!is_here(jobs, step))
		return "unknown";
	job = jobs_find(jobs, step);
	return job ? job->state : "gone";
}

bool jobs_active(const struct jobs *jobs, const struct spec *step)
{
	const struct job *job;

	if (step_is_old(step))
		return false;
	if (!is_here(jobs, step))
		return true;
	job = jobs_find(jobs, step);
	return job && job->active;
}

/* ---- new jobs that wait for it ------------------------------------------------------- */

struct waiting {
	const struct jobs *jobs;
	const struct spec *step;
};

static bool may_begin(uint32_t number, void *arg)
{
	const struct waiting *w = arg;
	struct spec job = *w->step;

	job.job = number;
	strcpy(job.step, "batch");
	return jobs_active(w->jobs, &job);
}

uint32_t step_wanted(const struct jobs *jobs, const struct spec *step)
{
	struct waiting w = { jobs, step };
	struct store store;
	uint32_t job;

	if (store_open(step, false, &store, NULL))
		return 0;
	job = wanted_by(&store, may_begin, &w);
	store_close(&store);
	return job;
}

void wanted_drop_stale(const struct jobs *jobs, const struct spec *step, const struct store *store)
{
	struct waiting w = { jobs, step };

	wanted_sweep(store, may_begin, &w);
}

/* ---- steps ----------------------------------------------------------------------------- */

const char *step_slurm_id(const struct spec *step, char id[32])
{
	struct store store;
	struct status s;

	if (!is_call_step(step->step))
		return step->step;
	if (store_open(step, false, &store, NULL))
		return NULL;
	/* Of one that is over the id may be another's now. */
	if (status_read(&store, &s, NULL) < 0 || s.kind == STATUS_STOPPED ||
	    s.kind == STATUS_ENDED || slurm_id_read(&store, id) < 0)
		id = NULL;
	store_close(&store);
	return id;
}

bool step_runs(const struct job *job, const struct spec *step_spec)
{
	char slurm_id[32];
	const char *step = step_slurm_id(step_spec, slurm_id);

	char id[32], want[64],
		*argv[] = { SQUEUE_PATH, "--noheader", "--all", "--steps", "--format=%i",
			    id, NULL };
	cleanup_free char *answer = NULL;
	char *rest, *line;

	if (!step)
		return false;
	if (!strcmp(step, "batch"))
		return job->batch;
	snprintf(id, sizeof(id), "--jobs=%u", job->number);
	/* Of an array task Slurm prints ARRAY_TASK.STEP: only that of this job
	 * is asked for, so that the step's number is enough. */
	snprintf(want, sizeof(want), ".%s", step);
	if (run_collect(argv, environ, ASK_TIMEOUT_MS, ANSWER_MAX, &answer,
			NULL) < 0)
		return false;
	for (rest = answer; (line = strsep(&rest, "\n"));) {
		char *dot = strrchr(line, '.');

		if (dot) {
			dot[strcspn(dot, " ")] = '\0';
			if (!strcmp(dot, want))
				return true;
		}
	}
	return false;
}

struct heard {
	char *text;
	size_t size, length;
};

/* The last of it, if it is too much. */
static void hear(struct heard *h, const char *data, size_t n)
{
	size_t most = h->size ? h->size - 1 : 0, over;

	if (n > most) {
		data += n - most;
		n = most;
	}
	over = h->length + n > most ? h->length + n - most : 0;
	if (!most)
		return;
	memmove(h->text, h->text + over, h->length - over);
	memcpy(h->text + h->length - over, data, n);
	h->length += n - over;
	h->text[h->length] = '\0';
}

/* What it writes, without what could steer a terminal: whose process it is, that user
 * may have a hand in it. */
static void pass_on(const int from[2], struct heard *heard)
{
	FILE *const to[2] = { stdout, stderr };
	struct pollfd p[2] = { { from[0], POLLIN, 0 }, { from[1], POLLIN, 0 } };
	char buf[4096];

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(p[i].fd, buf, sizeof(buf) - 1) : -1;

			if (p[i].revents && n <= 0)
				p[i].fd = -1;
			if (!i && n > 0)
				hear(heard, buf, (size_t)n);
			for (ssize_t k = 0; k < n; k++)
				fputc(buf[k] == '\n' || buf[k] == '\t' || (buf[k] >= ' ' && buf[k] <= '~') ?
					      buf[k] :
					      '?',
				      to[i]);
			fflush(to[i]);
		}
	}
}

int slurm_run(char *const argv[], char *said, size_t size, struct err *e)
{
	struct heard heard = { said, size, 0 };
	int out[2], errors[2], status, rc;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(e, "cannot run %s", argv[0]);
	if (pipe2(errors, O_CLOEXEC) < 0) {
		err_sys(e, "cannot run %s", argv[0]);
		close(out[0]);
		close(out[1]);
		return -1;
	}
	rc = run_apart(argv, environ, out[1], errors[1], &pid, e);
	close(out[1]);
	close(errors[1]);
	if (rc == 0)
		pass_on((int[]){ out[0], errors[0] }, &heard);
	close(out[0]);
	close(errors[0]);
	if (rc < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, "cannot wait for %s", argv[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
