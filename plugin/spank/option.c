/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --checkpoint and its two companions: checked where they are typed, believed
 * nowhere else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank_sckpt.h"

static struct request request; /* the words, then all that was said */
static bool given; /* --checkpoint was */
static bool from_said; /* with restart=, on the command line */

/* Where salloc and sbatch leave --checkpoint of theirs to srun, which hands it to words_taken()
 * as it stands there (spank.c, spank_process_env_options). */
#define JOBS_OWN "SLURM_SPANK__SLURM_SPANK_OPTION_sckpt_checkpoint"
static char dir[sizeof(request.dir)], restart_dir[sizeof(request.from_dir)];
static struct err problem;

static bool own_variable(const char *name, char *value, size_t size, void *arg)
{
	const char *own = getenv(name);

	(void)arg;
	if (own)
		snprintf(value, size, "%s", own);
	return own;
}

/* Called once or several times, with NULL, "", "(null)" or the words. */
static int words_taken(int val, const char *optarg, int remote)
{
	struct request probe;
	struct err e;

	(void)val;
	given = true;
	if (request_parse(optarg, &request, &e) == 0) {
		from_said = *request.from && optarg != getenv(JOBS_OWN);
		/* Here an error stops srun and sbatch also where the plugin is
		 * optional. */
		probe = request;
		if (remote || request_environment(&probe, true, own_variable,
						  NULL, &e) == 0)
			return 0;
	}
	slurm_error(SAYS "%s", e.text);
	/* In slurmstepd the words were checked before; forged ones leave the
	 * step as it would be without the option. */
	return remote ? 0 : -1;
}

/* As the words dir= and restart-dir=. */
static int dir_taken(int val, const char *optarg, int remote)
{
	char *to = val ? restart_dir : dir, word[sizeof(dir) + 16];
	struct request probe;
	struct err e;

	snprintf(word, sizeof(word), "%s=%s", val ? "restart-dir" : "dir",
		 optarg ? optarg : "");
	if (optarg && strchr(optarg, ','))
		err_set(&e, "--%s-dir: no comma can be in it",
			val ? "restart" : "checkpoint");
	else if (request_parse(word, &probe, &e) == 0) {
		snprintf(to, sizeof(dir), "%s", optarg);
		return 0;
	}
	slurm_error(SAYS "%s", e.text);
	return remote ? 0 : -1;
}

static struct spank_option options[] = {
	{ .name = "checkpoint",
	  .arginfo = "[words]",
	  .usage = "[sckpt] checkpoint on preemption, go on elsewhere (words: "
		   "every=TIME|auto, timelimit, cancel, keep=N, dir=PATH, carry=DIR, "
		   "required, notify, check, steps=skip-done, grant=agent, restart=ID, off: man sckpt)",
	  .has_arg = 2,
	  .val = 0,
	  .cb = words_taken },
	{ .name = "checkpoint-dir",
	  .arginfo = "dir",
	  .usage = "[sckpt] where checkpoints go, as --checkpoint=dir=",
	  .has_arg = 1,
	  .val = 0,
	  .cb = dir_taken },
	{ .name = "restart-dir",
	  .arginfo = "dir",
	  .usage = "[sckpt] where the checkpoint of --checkpoint=restart= lies",
	  .has_arg = 1,
	  .val = 1,
	  .cb = dir_taken },
};

static struct call_step call_step;

static int call_step_taken(int val, const char *optarg, int remote)
{
	struct err e;

	(void)val;
	if (call_step_parse(optarg, &call_step, &e) == 0)
		return 0;
	slurm_error(SAYS "%s", e.text);
	return remote ? 0 : -1;
}

static struct spank_option checkpoint_step = {
	.name = "checkpoint-step",
	.arginfo = "name",
	.usage = "[sckpt] its own, for the srun calls of a protected script",
	.has_arg = 1,
	.val = 1,
	.cb = call_step_taken,
};

int option_register(spank_t sp)
{
	switch (spank_context()) {
	case S_CTX_LOCAL:
	case S_CTX_REMOTE:
		if (spank_option_register(sp, &checkpoint_step) != ESPANK_SUCCESS)
			slurm_error(SAYS "cannot register --checkpoint-step");
		/* fall through */
	case S_CTX_ALLOCATOR:
		for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
			if (spank_option_register(sp, &options[i]) != ESPANK_SUCCESS)
				slurm_error(SAYS "cannot register --%s",
					    options[i].name);
		break;
	default:
		break;
	}
	/* A plugin that fails here can drain a node. */
	return ESPANK_SUCCESS;
}

static bool variable(const char *name, char *value, size_t size, void *arg)
{
	if (spank_remote(arg) != 1)
		return own_variable(name, value, size, NULL);
	return spank_getenv(arg, name, value, (int)size) == ESPANK_SUCCESS;
}

int option_settle(spank_t sp)
{
	if (!*request.dir)
		memcpy(request.dir, dir, sizeof(dir));
	if (!*request.from_dir)
		memcpy(request.from_dir, restart_dir, sizeof(restart_dir));
	if (request_environment(&request, given, variable, sp, &problem) == 0 &&
	    (!request.on || !*request.from_dir || *request.from ||
	     err_set(&problem, "--restart-dir says where a checkpoint lies; which one says --checkpoint=restart=JOB.STEP:GENERATION") == 0))
		return 0;
	if (spank_remote(sp) != 1)
		slurm_error(SAYS "%s", problem.text);
	request.on = true; /* it was asked for, and why not will be told */
	return -1;
}

const char *option_error(void)
{
	return problem.text;
}

const struct request *option_request(void)
{
	return &request;
}

bool option_from_said(void)
{
	return from_said;
}

const struct call_step *option_call_step(void)
{
	return &call_step;
}
