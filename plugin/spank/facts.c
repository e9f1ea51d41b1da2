/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Slurm says of the step. All that depends on the Slurm release is here
 * and in prepend.c.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "spank_sckpt.h"

/*
 * The configuration inside slurmstepd. Its type is public (slurm/slurm.h),
 * the variable is libslurmfull's (src/common/read_config.h); a plugin is only
 * loaded by the release it was built for (src/common/plugin.c), so that the
 * layout agrees. Weak: where it is missing the plugin still loads.
 */
extern slurm_conf_t slurm_conf __attribute__((weak));

#define no(...) snprintf(reason, size, __VA_ARGS__)

/* Where the user's own directory is not wanted, the admin's is taken. */
static bool user_dir_allowed(const struct conf *conf)
{
	return conf->user_dir == USER_DIR_YES ||
	       (conf->user_dir == USER_DIR_AUTO && !conf->limits.quota);
}

static int expand_stores(struct spec *spec, const struct request *req,
			 const struct text_vars *vars, struct err *e)
{
	if (conf_store(settings(), vars, spec->base, sizeof(spec->base),
		       spec->fixed, sizeof(spec->fixed), e) < 0)
		return -1;
	if (*req->dir && !user_dir_allowed(settings()))
		snprintf(spec->note, sizeof(spec->note),
			 "dir=%.100s is not taken: the administrator keeps checkpoints in %.200s",
			 req->dir, spec->base);
	else if (*req->dir &&
		 conf_user_store(req->dir, vars, spec->base, sizeof(spec->base),
				 spec->fixed, sizeof(spec->fixed), e) < 0)
		return -1;
	if (text_expand(req->carry, vars, spec->carry, sizeof(spec->carry), e) < 0)
		return err_context(e, "carry=");
	return *req->from_dir ?
		       conf_user_store(req->from_dir, vars, spec->from_base,
				       sizeof(spec->from_base), spec->from_fixed,
				       sizeof(spec->from_fixed), e) :
		       0;
}

/* %u, %h of the store: asked of the account data base, not of the job's
 * environment. */
static int find_stores(struct spec *spec, uid_t uid, char *reason, size_t size)
{
	struct passwd pw, *found = NULL;
	char buf[16384];
	struct text_vars vars = { .cluster = spec->cluster,
				  .uid = uid,
				  .job = spec->job };
	struct err e;

	if (getpwuid_r(uid, &pw, buf, sizeof(buf), &found) || !found)
		return no("user id %u has no account on this node", uid);
	vars.user = pw.pw_name;
	vars.home = pw.pw_dir;
	if (expand_stores(spec, option_request(), &vars, &e) < 0)
		return no("%s", e.text);
	return 0;
}

/* What the user asked for, within what the admin allows. */
static void take_wishes(struct spec *spec, const struct request *req)
{
	const struct conf *conf = settings();
	int most = conf->keep_max > conf->limits.keep ? conf->keep_max :
							conf->limits.keep;

	spec->grant = req->grant ? req->grant : conf->grant;
	if (conf->grant != GRANT_STEP)
		spec->grant = GRANT_AGENT;
	snprintf(spec->from, sizeof(spec->from), "%s", req->from);
	spec->every = req->every;
	spec->timelimit = req->timelimit;
	spec->cancel = req->cancel;
	spec->notify = req->notify;
	spec->skip_done = req->skip_done;
	spec->check = req->check;
	if (req->keep > most)
		snprintf(spec->note, sizeof(spec->note),
			 "keep=%d is more than the administrator allows: %d checkpoints are kept",
			 req->keep, most);
	if (req->keep)
		spec->limits.keep = req->keep < most ? req->keep : most;
}

void facts_step(spank_t sp, struct spec *spec, char *reason, size_t size)
{
	const struct call_step *call = option_call_step();
	uint32_t step = 0, nodes = 1, part = 0, tasks = 1;
	uid_t uid = 0;

	reason[0] = '\0';
	spank_get_item(sp, S_JOB_ID, &spec->job);
	spank_get_item(sp, S_JOB_UID, &uid);
	spank_get_item(sp, S_JOB_STEPID, &step);
	spank_get_item(sp, S_JOB_NNODES, &nodes);
	spank_get_item(sp, S_JOB_NODEID, &part);
	spank_get_item(sp, S_JOB_LOCAL_TASK_COUNT, &tasks);
	if (step == SLURM_BATCH_SCRIPT)
		snprintf(spec->id, sizeof(spec->id), "batch");
	else
		snprintf(spec->id, sizeof(spec->id), "%u", step);
	snprintf(spec->step, sizeof(spec->step), "%s",
		 *call->name && step != SLURM_BATCH_SCRIPT ? call->name :
							     spec->id);
	spec->token = call->token;
	memcpy(spec->call, call->call, sizeof(spec->call));
	spec->tasks = step == SLURM_BATCH_SCRIPT ? 1 : (int)tasks;
	if (step != SLURM_BATCH_SCRIPT) {
		spec->nodes = (int)nodes;
		spec->part = (int)part;
	}
	snprintf(spec->criu, sizeof(spec->criu), "%s", settings()->criu);
	spec->limits = settings()->limits;
	take_wishes(spec, option_request());
	if (call->afresh)
		spec->limits.on_failure = ON_FAILURE_FRESH;
	spec->no_new_privs = settings()->no_new_privs ||
			     node_bounding_set_cut();
	if (uid == 0)
		no("steps of root are not checkpointed: submit as an ordinary user");
	else if (spec->nodes > NODES_MAX)
		no("the step runs on %u nodes, and those of at most %d can be checkpointed",
		   nodes, NODES_MAX);
	else if (spec->tasks > TASKS_MAX)
		no("the step has %u tasks on this node, and %d can be checkpointed",
		   tasks, TASKS_MAX);
	else if (!&slurm_conf || !slurm_conf.proctrack_type ||
		 !slurm_conf.cluster_name)
		no("this Slurm does not tell plugins its configuration");
	else if (strcmp(slurm_conf.proctrack_type, "proctrack/cgroup"))
		no("ProctrackType=%s signals a step's programs behind sckpt's back: set ProctrackType=proctrack/cgroup in slurm.conf",
		   slurm_conf.proctrack_type);
	if (uid == 0 || !&slurm_conf || !slurm_conf.cluster_name)
		return;
	snprintf(spec->cluster, sizeof(spec->cluster), "%s",
		 slurm_conf.cluster_name);
	spec->append = slurm_conf.job_file_append;
	spec->kill_wait = slurm_conf.kill_wait;
	/* Also of one that cannot be protected here: something may be saved of it. */
	find_stores(spec, uid, reason, size);
}
