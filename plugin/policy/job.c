/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The job's record, asked through Slurm's own command and its JSON. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "sckpt/policy.h"

/* Well inside any KillWait (at least 5 s); a dump has to fit after it. */
#define ASK_TIMEOUT_MS 3000
#define ANSWER_MAX (256 << 20)

static void take_state(const char *state, struct job_facts *f)
{
	if (!strcmp(state, "RUNNING"))
		f->running = true;
	else if (!strcmp(state, "PENDING"))
		f->pending = true;
	else if (!strcmp(state, "COMPLETING"))
		f->completing = true;
	else if (!strcmp(state, "CANCELLED"))
		f->cancelled = true;
	else if (!strcmp(state, "TIMEOUT"))
		f->timeout = true;
	else if (!strcmp(state, "PREEMPTED"))
		f->evicted = true;
}

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

static void take_text(json_object *job, const char *name, char *to, size_t size)
{
	json_object *v;
	const char *text = json_object_object_get_ex(job, name, &v) ?
				   json_object_get_string(v) :
				   NULL;

	snprintf(to, size, "%s", text ? text : "");
}

/* One task of an array has the array's number, and is shown with all others. */
static json_object *find_job(json_object *jobs, uint32_t number_wanted)
{
	for (size_t i = 0; i < json_object_array_length(jobs); i++) {
		json_object *job = json_object_array_get_idx(jobs, i);

		if (number(job, "job_id") == number_wanted)
			return job;
	}
	return NULL;
}

static bool has_flag(json_object *job, const char *flag)
{
	json_object *flags;

	if (!json_object_object_get_ex(job, "flags", &flags) ||
	    !json_object_is_type(flags, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(flags); i++)
		if (!strcmp(json_object_get_string(
				    json_object_array_get_idx(flags, i)), flag))
			return true;
	return false;
}

/* In commands, the array's number alone would mean all of its tasks. */
static void take_name(json_object *job, uint32_t id, struct job_facts *f)
{
	int64_t array = number(job, "array_job_id");

	if (array)
		snprintf(f->name, sizeof(f->name), "%u_%u", (uint32_t)array,
			 (uint32_t)number(job, "array_task_id"));
	else
		snprintf(f->name, sizeof(f->name), "%u", id);
}

int job_parse(const char *json, uint32_t id, struct job_facts *f,
	      struct err *e)
{
	json_object *top = json_tokener_parse(json), *jobs, *job, *state;
	int rc = -1;

	*f = (struct job_facts){ .answered = false };
	if (!json_object_object_get_ex(top, "jobs", &jobs) ||
	    !json_object_is_type(jobs, json_type_array) ||
	    !(job = find_job(jobs, id)) ||
	    !json_object_object_get_ex(job, "job_state", &state)) {
		err_set(e, "slurmctld's answer does not name job %u", id);
		goto out;
	}
	/* One word up to 23.02, then a list. */
	if (json_object_is_type(state, json_type_array))
		for (size_t i = 0; i < json_object_array_length(state); i++)
			take_state(json_object_get_string(
					   json_object_array_get_idx(state, i)),
				   f);
	else
		take_state(json_object_get_string(state), f);
	take_name(job, id, f);
	f->preempt_time = number(job, "preempt_time");
	f->preempted = f->preempt_time > 0;
	f->held = number(job, "priority") == 0;
	f->expedited = has_flag(job, "EXPEDITED_REQUEUE");
	f->restarts = (int)number(job, "restart_cnt");
	f->batch = number(job, "batch_flag") > 0;
	f->requeue = number(job, "requeue") > 0;
	f->start = number(job, "start_time");
	f->end = number(job, "end_time");
	f->begin = number(job, "eligible_time");
	take_text(job, "mail_user", f->mail_user, sizeof(f->mail_user));
	take_text(job, "partition", f->partition, sizeof(f->partition));
	take_text(job, "comment", f->comment, sizeof(f->comment));
	take_text(job, "required_nodes", f->required, sizeof(f->required));
	take_text(job, "excluded_nodes", f->excluded, sizeof(f->excluded));
	f->submitted = number(job, "submit_time");
	f->answered = true;
	rc = 0;
out:
	json_object_put(top);
	return rc;
}

/* Where a value ends: an object, a list, or a word. */
static const char *value_end(const char *at)
{
	int depth = 0;

	for (; *at; at++)
		if (*at == '"') {
			while (*++at && *at != '"')
				at += *at == '\\' && at[1];
			if (!*at)
				break;
		} else if (*at == '{' || *at == '[') {
			depth++;
		} else if (*at == '}' || *at == ']') {
			if (depth <= 1)
				return at + depth;
			depth--;
		} else if (*at == ',' && depth == 0) {
			break;
		}
	return at;
}

void job_trim(char *json)
{
	static const char name[] = "\"job_resources\":";
	const char *from = json, *at;
	char *to = json;

	while ((at = strstr(from, name))) {
		at += strlen(name);
		memmove(to, from, (size_t)(at - from));
		to += at - from;
		from = value_end(at);
		/* It had at least one character. */
		if (from > at)
			*to++ = '0';
	}
	memmove(to, from, strlen(from) + 1);
}

void job_ask(uint32_t job, struct job_facts *facts, struct err *why_not)
{
	cleanup_free char *answer = NULL;
	char id[16], *argv[] = SHOW_JOB(id);

	*facts = (struct job_facts){ .answered = false };
	snprintf(id, sizeof(id), "%u", job);
	if (run_collect(argv, environ, ASK_TIMEOUT_MS, ANSWER_MAX, &answer,
			why_not) == 0) {
		job_trim(answer);
		job_parse(answer, job, facts, why_not);
	}
}

/* A word "name=…" of a line. */
static const char *word(const char *line, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = line; (at = strstr(at, name)); at += n)
		if ((at == line || at[-1] == ' ') && at[n] == '=')
			return at + n + 1;
	return NULL;
}

int batch_flag_parse(char *text, uint32_t job)
{
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		const char *id = word(line, "JobId");
		const char *flag = word(line, "BatchFlag");

		if (id && flag && strtoul(id, NULL, 10) == job)
			return atoi(flag);
	}
	return -1;
}

int job_batch_flag(uint32_t job, struct err *e)
{
	cleanup_free char *answer = NULL;
	/* In its JSON it is a truth value. */
	char id[16], *argv[] = { SCONTROL_PATH, "show", "job", id, "--oneliner",
				 NULL };
	int flag;

	snprintf(id, sizeof(id), "%u", job);
	if (run_collect(argv, environ, ASK_TIMEOUT_MS, ANSWER_MAX, &answer,
			e) < 0)
		return -1;
	flag = batch_flag_parse(answer, job);
	return flag < 0 ? err_set(e, "slurmctld's answer does not name job %u",
				  job) :
			  flag;
}

int jobs_queued(uint32_t **jobs, struct err *e)
{
	char user[32], *argv[] = { SQUEUE_PATH, "--noheader", "--all", "--format=%A",
				   user, NULL };
	cleanup_free char *answer = NULL;
	char *rest, *line;
	int n = 0;

	snprintf(user, sizeof(user), "--user=%u", geteuid());
	if (run_collect(argv, environ, ASK_TIMEOUT_MS, ANSWER_MAX, &answer,
			e) < 0)
		return -1;
	/* A number and its newline are two bytes at the least. */
	if (!(*jobs = calloc(strlen(answer) / 2 + 1, sizeof(**jobs))))
		return err_sys(e, "cannot list jobs");
	for (rest = answer; (line = strsep(&rest, "\n"));)
		if (*line)
			(*jobs)[n++] = (uint32_t)strtoul(line, NULL, 10);
	return n;
}

int partition_grace(const char *name)
{
	char *argv[] = SHOW_PARTITION((char *)name);
	cleanup_free char *answer = NULL;
	json_object *top = NULL, *list, *partition;
	int64_t grace = 0;

	if (!*name || run_collect(argv, environ, ASK_TIMEOUT_MS, ANSWER_MAX,
				  &answer, NULL) < 0)
		return 0;
	top = json_tokener_parse(answer);
	if (json_object_object_get_ex(top, "partitions", &list) &&
	    json_object_is_type(list, json_type_array) &&
	    (partition = json_object_array_get_idx(list, 0)))
		grace = number(partition, "grace_time");
	json_object_put(top);
	return grace > 0 && grace < 1000000 ? (int)grace : 0;
}

static int scontrol(char *const argv[], struct err *e)
{
	cleanup_free char *answer = NULL;

	return run_collect(argv, environ, 10000, 65536, &answer, e);
}

static int requeue(const char *how, uint32_t job, struct err *e)
{
	struct job_facts facts;
	char *argv[] = { SCONTROL_PATH, (char *)how, facts.name, NULL };

	job_ask(job, &facts, e);
	return facts.answered ? scontrol(argv, e) : -1;
}

int job_requeue(uint32_t job, struct err *e)
{
	return requeue("requeue", job, e);
}

int job_requeue_hold(uint32_t job, struct err *e)
{
	return requeue("requeuehold", job, e);
}

int job_release_elsewhere(const struct job_facts *facts, const char *node,
			  struct err *e)
{
	char job[48], nodes[1300];
	char *exclude[] = { SCONTROL_PATH, "update", job, nodes, NULL };
	char *release[] = { SCONTROL_PATH, "release", (char *)facts->name, NULL };
	int count = *facts->excluded ? 1 : 0;

	for (const char *at = facts->excluded; (at = strchr(at, ',')); at++)
		count++;
	if (count >= EXCLUDED_MOST || strlen(facts->excluded) >= sizeof(facts->excluded) - 1)
		return err_set(e, "it was tried on %d others before", count);
	snprintf(job, sizeof(job), "JobId=%s", facts->name);
	snprintf(nodes, sizeof(nodes), "ExcNodeList=%s%s%s", facts->excluded,
		 count ? "," : "", node);
	return scontrol(exclude, e) < 0 ? -1 : scontrol(release, e);
}

int job_start_in(const struct job_facts *facts, int seconds, struct err *e)
{
	char job[48], start[40];
	char *argv[] = { SCONTROL_PATH, "update", job, start, NULL };

	snprintf(job, sizeof(job), "JobId=%s", facts->name);
	snprintf(start, sizeof(start), "StartTime=now+%d", seconds);
	return scontrol(argv, e);
}
