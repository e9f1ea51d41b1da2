/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-record job ID[_TASK] | user UID | partition NAME: only with Slurm before 23.02, whose scontrol
 * knows no --json, and whose squeue says COMPLETING of a job that is to run again, is cancelled, or
 * had no more time, alike. What scontrol and squeue --json print with later releases, as far
 * as sckpt reads it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <json-c/json.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

#include "sckpt/base.h"

static const char *const base_states[] = {
	"PENDING", "RUNNING", "SUSPENDED", "COMPLETED", "CANCELLED", "FAILED",
	"TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY",
};

static const struct {
	uint32_t flag;
	const char *name;
} state_flags[] = {
	{ JOB_COMPLETING, "COMPLETING" }, { JOB_CONFIGURING, "CONFIGURING" },
	{ JOB_REQUEUE, "REQUEUED" }, { JOB_REQUEUE_HOLD, "REQUEUE_HOLD" },
	{ JOB_SPECIAL_EXIT, "SPECIAL_EXIT" }, { JOB_STOPPED, "STOPPED" },
	{ JOB_RESIZING, "RESIZING" }, { JOB_SIGNALING, "SIGNALING" },
	{ JOB_STAGE_OUT, "STAGE_OUT" }, { JOB_REQUEUE_FED, "REQUEUE_FED" },
};

static void put_text(json_object *to, const char *name, const char *text)
{
	json_object_object_add(to, name, json_object_new_string(text ? text : ""));
}

static json_object *number(bool set, int64_t value)
{
	json_object *n = json_object_new_object();

	json_object_object_add(n, "set", json_object_new_boolean(set));
	json_object_object_add(n, "infinite", json_object_new_boolean(false));
	json_object_object_add(n, "number", json_object_new_int64(set ? value : 0));
	return n;
}

static void put_number(json_object *to, const char *name, int64_t value)
{
	json_object_object_add(to, name, number(value != NO_VAL, value));
}

static json_object *states(uint32_t state)
{
	json_object *list = json_object_new_array();
	uint32_t base = state & JOB_STATE_BASE;

	if (base < sizeof(base_states) / sizeof(base_states[0]))
		json_object_array_add(list, json_object_new_string(base_states[base]));
	for (size_t i = 0; i < sizeof(state_flags) / sizeof(state_flags[0]); i++)
		if (state & state_flags[i].flag)
			json_object_array_add(list, json_object_new_string(state_flags[i].name));
	return list;
}

static json_object *exit_code(uint32_t status)
{
	json_object *code = json_object_new_object(), *signal = json_object_new_object();
	bool known = status != NO_VAL, killed = known && WIFSIGNALED((int)status);

	json_object_object_add(code, "return_code",
			       number(known && !killed, WEXITSTATUS((int)status)));
	json_object_object_add(signal, "id", number(killed, WTERMSIG((int)status)));
	json_object_object_add(code, "signal", signal);
	return code;
}

static json_object *job_record(const slurm_job_info_t *j)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "job_id", json_object_new_int64(j->job_id));
	json_object_object_add(o, "user_id", json_object_new_int64(j->user_id));
	json_object_object_add(o, "job_state", states(j->job_state));
	json_object_object_add(o, "exit_code", exit_code(j->exit_code));
	put_number(o, "array_job_id", j->array_job_id);
	put_number(o, "array_task_id", j->array_task_id);
	put_number(o, "priority", j->priority);
	json_object_object_add(o, "requeue", json_object_new_boolean(j->requeue));
	json_object_object_add(o, "batch_flag", json_object_new_boolean(j->batch_flag));
	json_object_object_add(o, "restart_cnt", json_object_new_int64(j->restart_cnt));
	put_number(o, "submit_time", j->submit_time);
	put_number(o, "eligible_time", j->eligible_time);
	put_number(o, "start_time", j->start_time);
	put_number(o, "end_time", j->end_time);
	put_number(o, "preempt_time", j->preempt_time);
	put_text(o, "partition", j->partition);
	put_text(o, "nodes", j->nodes);
	put_text(o, "required_nodes", j->req_nodes);
	put_text(o, "excluded_nodes", j->exc_nodes);
	put_text(o, "mail_user", j->mail_user);
	put_text(o, "comment", j->comment);
	return o;
}

/* task: "_3", of an array; "" all. */
static json_object *jobs(const job_info_msg_t *msg, const char *task)
{
	json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < msg->record_count; i++)
		if (*task != '_' ||
		    msg->job_array[i].array_task_id == strtoul(task + 1, NULL, 10))
			json_object_array_add(list, job_record(&msg->job_array[i]));
	return list;
}

static json_object *partitions(const partition_info_msg_t *msg, const char *name)
{
	json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < msg->record_count; i++) {
		const partition_info_t *p = &msg->partition_array[i];
		json_object *o;

		if (strcmp(p->name, name))
			continue;
		o = json_object_new_object();
		put_text(o, "name", p->name);
		put_number(o, "grace_time", p->grace_time);
		json_object_array_add(list, o);
	}
	return list;
}

/* Its own text where it has one: not all of Slurm's numbers are errno's. */
static int no_answer(void)
{
	fprintf(stderr, "sckpt-record: %s\n", slurm_strerror(slurm_get_errno()));
	return 1;
}

int main(int argc, char *argv[])
{
	json_object *top = json_object_new_object(), *list;
	partition_info_msg_t *parts = NULL;
	job_info_msg_t *msg = NULL;
	char *end;
	unsigned long id = argc == 3 ? strtoul(argv[2], &end, 10) : 0;

	if (argc != 3) {
		fprintf(stderr, "usage: sckpt-record job ID[_TASK] | user UID | partition NAME\n");
		return 2;
	}
	slurm_init(NULL);
	if (!strcmp(argv[1], "partition")) {
		if (slurm_load_partitions(0, &parts, SHOW_ALL) != SLURM_SUCCESS)
			return no_answer();
		list = partitions(parts, argv[2]);
	} else {
		int rc = !strcmp(argv[1], "user") ?
				 slurm_load_job_user(&msg, (uint32_t)id, SHOW_ALL) :
				 slurm_load_job(&msg, (uint32_t)id, SHOW_ALL);

		if (rc != SLURM_SUCCESS)
			return no_answer();
		list = jobs(msg, end);
	}
	json_object_object_add(top, parts ? "partitions" : "jobs", list);
	puts(json_object_to_json_string(top));
	return 0;
}
