/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plugin's entry points, in the order in which Slurm calls them. A step
 * without --checkpoint passes through all of them untouched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tasks.h"

SPANK_PLUGIN(sckpt, 1)

static struct spec spec;

/*
 * What Slurm sets for some jobs only (env.c, setup_env; job_scheduler.c, _set_job_env) those
 * that they submit inherit from them: a restart count, which is not theirs. Also a job of
 * srun's own, which runs in none. How output files were opened srun reads all the same: in
 * another spelling it is the same to srun, and launch.c knows that it is none of Slurm's.
 * This comes before sbatch of Slurm before 24.11 sets it.
 */
static void forget_job(void)
{
	const char *mode = getenv("SLURM_OPEN_MODE");

	if (spank_context() == S_CTX_ALLOCATOR && mode && !strcmp(mode, "a"))
		setenv("SLURM_OPEN_MODE", "append", 1);
	else if (spank_context() == S_CTX_ALLOCATOR && mode && !strcmp(mode, "t"))
		setenv("SLURM_OPEN_MODE", "truncate", 1);
	if (spank_context() == S_CTX_ALLOCATOR ||
	    (spank_context() == S_CTX_LOCAL && !getenv("SLURM_JOB_ID")))
		unsetenv("SLURM_RESTART_COUNT");
}

int slurm_spank_init(spank_t sp, int ac, char *argv[])
{
	forget_job();
	/* Only the first pass over plugstack.conf knows the words; nothing in
	 * them may fail here, where a failure can drain the node. What srun and
	 * sbatch do needs no settings, and their users may not read them. */
	if (spank_remote(sp) == 1)
		settings_load(ac, argv);
	return option_register(sp);
}

/* srun and sbatch: is what was said right? srun has its options read and nothing
 * connected yet. slurmstepd, root, once per step: everything that needs root to
 * be known. */
int slurm_spank_init_post_opt(spank_t sp, int ac, char *argv[])
{
	const char *wrong = settings_error();
	bool remote = spank_remote(sp) == 1;

	(void)ac;
	(void)argv;
	if (option_settle(sp) < 0) {
		if (!remote)
			return -1; /* no ESPANK_*: those are not < 0 */
		wrong = option_error();
	}
	if (spank_context() == S_CTX_LOCAL && !*option_call_step()->name)
		srun_stand_in();
	if (spank_context() == S_CTX_LOCAL && option_request()->on) {
		srun_note_stderr();
		srun_note_from();
		srun_note_streams();
		if (!*option_call_step()->name)
			srun_note_place();
	}
	if (!remote || !option_request()->on)
		return ESPANK_SUCCESS;
	spec = (struct spec){ .restart = -1, .control = -1, .tasks = 1,
			      .nodes = 1, .links = -1, .joins = -1, .broker = -1,
			      .counters = -1 };
	facts_step(sp, &spec, spec.off, sizeof(spec.off));
	if (*wrong) {
		snprintf(spec.off, sizeof(spec.off), "%.*s",
			 (int)sizeof(spec.off) - 1, wrong);
		/* It may say where the store is. */
		spec.base[0] = '\0';
	}
	if (!*spec.off)
		allow_check(sp, settings(), spec.job, spec.off, sizeof(spec.off));
	if (!*spec.off)
		spec.elevate = allow_elevate(sp, settings(), spec.job);
	if (!*spec.off)
		node_check(settings(), spec.elevate, &spec.criu_version, spec.off,
			   sizeof(spec.off));
	if (!*spec.off)
		tasks_prepare(&spec);
	if (!*spec.off && spec.elevate)
		broker_start(sp, &spec);
	if (!*spec.off)
		metrics_begin(&spec);
	return ESPANK_SUCCESS;
}

/* srun: its job's step is made, and nothing of it started. */
int slurm_spank_local_user_init(spank_t sp, int ac, char *argv[])
{
	(void)ac;
	(void)argv;
	if (!prepend_is_slurms() && option_request()->on)
		srun_note_multi_prog(sp);
	return ESPANK_SUCCESS;
}

/* The task, still root: capabilities must outlive the change to the user. */
int slurm_spank_task_init_privileged(spank_t sp, int ac, char *argv[])
{
	(void)sp;
	(void)ac;
	(void)argv;
	if (!option_request()->on || *spec.off || !spec.job)
		return ESPANK_SUCCESS;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		slurm_error(SAYS "cannot keep capabilities: %m");
	return ESPANK_SUCCESS;
}

/* slurmstepd, for each task, when all are forked. */
int slurm_spank_task_post_fork(spank_t sp, int ac, char *argv[])
{
	int task = 0;

	(void)ac;
	(void)argv;
	if (spank_get_item(sp, S_TASK_ID, &task) == ESPANK_SUCCESS &&
	    task == spec.tasks - 1) {
		tasks_forked();
		broker_forked();
	}
	return ESPANK_SUCCESS;
}

/* The task, as the user, in its cgroup. */
int slurm_spank_task_init(spank_t sp, int ac, char *argv[])
{
	(void)ac;
	(void)argv;
	if (!option_request()->on)
		return ESPANK_SUCCESS;
	return launch(sp, &spec, option_request()->required);
}

/* slurmstepd, root, when all of the step is gone. */
int slurm_spank_exit(spank_t sp, int ac, char *argv[])
{
	(void)ac;
	(void)argv;
	if (spank_remote(sp) == 1)
		metrics_end(&spec);
	return ESPANK_SUCCESS;
}
