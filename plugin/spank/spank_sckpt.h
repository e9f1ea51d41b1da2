/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spank: what slurmstepd, srun, sbatch and salloc load. It stays small, never
 * exits the process it lives in, and exports only slurm_spank_* and Slurm's
 * plugin symbols (sckpt.map).
 */
#ifndef SPANK_SCKPT_H
#define SPANK_SCKPT_H

#include <slurm/spank.h>

#include "sckpt/base.h"

/* The name of the plugin in messages. */
#define SAYS "sckpt: "

/* option.c: --checkpoint[=WORDS] in every context. */
int option_register(spank_t sp);
/* When all options are known: adds what the environment says. -1: something of
 * it is wrong, and option_error() says what. */
int option_settle(spank_t sp);
const char *option_error(void);
const struct request *option_request(void);
/* Does --checkpoint of this command line say restart=? What its job was given does not count. */
bool option_from_said(void);
/* --checkpoint-step, of srun and slurmstepd alone. */
const struct call_step *option_call_step(void);

/* srun.c: in a protected script, sckpt-srun takes srun's place. Returns when it
 * need not, or cannot. */
void srun_stand_in(void);

/* srun.c: what srun alone knows it notes in its environment, from where launch.c takes it away
 * again. The names begin as those do that --export=NONE leaves (src/srun/launch.c). */

/* Its standard error is a place of its own. */
#define STDERR_VARIABLE "SLURM_SCKPT_STDERR"
void srun_note_stderr(void);

/* This srun itself was told what to go on from. A job's restart= reaches all its steps, and
 * means the one of that name; srun's own means its step. */
#define FROM_VARIABLE "SLURM_SCKPT_FROM"
void srun_note_from(void);

/* Where it was called: its directory and its input, which tell steps with the same command and,
 * in another run of the script, the same number apart. Not of a script's call, which is known
 * by more (step/earlier.h). */
#define PLACE_VARIABLE "SLURM_SCKPT_PLACE"
void srun_note_place(void);

/* What becomes of the step's standard streams, as letters. */
#define STREAMS_VARIABLE "SLURM_SCKPT_STREAMS"
enum {
	/* These are srun's own, which are sckpt-srun's in a script's call, and no files. */
	STREAMS_OUT = 'o',
	STREAMS_ERR = 'e',
	STREAMS_LABELS = 'l', /* srun puts labels in front of lines */
	STREAMS_APPEND = 'a', /* how srun was told to open files; not told: neither */
	STREAMS_TRUNCATE = 't',
	STREAMS_OF_PARTS = 'p' /* they are those of other parts of the job, too */
};
void srun_note_streams(void);

/* For Slurm before 23.11: its tasks have programs of their own. */
#define MULTI_PROG_VARIABLE "SLURM_SCKPT_MULTI_PROG"
void srun_note_multi_prog(spank_t sp);

/* prepend.c: in the task, puts a helper's path and arguments in front of the program's. */
int prepend(spank_t sp, int argc, const char *argv[], struct err *e);
/* prepend.c: false: this step's programs are out of reach. */
bool prepend_possible(spank_t sp);
/* prepend.c: true: by Slurm's own call, in every step. */
bool prepend_is_slurms(void);

/* settings.c: plugstack.conf's words and sckpt.conf; the first error is kept
 * in settings_error() ("" when there is none). */
void settings_load(int ac, char *argv[]);
const struct conf *settings(void);
const char *settings_error(void);

/* node.c: may a step on this node be protected at all? As root, once per
 * step, in slurmstepd. Writes the reason against it, or "". Learns criu's
 * version (as version_parse). elevate: what its broker may have criu do. */
void node_check(const struct conf *conf, int elevate, int *criu_version, char *reason,
		size_t size);
/* The node's capability bounding set lacks something: criu would fail in
 * PR_CAPBSET_DROP at restore unless the program has no_new_privs. */
bool node_bounding_set_cut(void);

/* A directory into which nobody but root can have put anything: a descriptor, the caller's. -1 and
 * *others: it is not such; -1 and errno. */
int root_dir_open(const char *path, bool *others);
/* Root's own directory: where every step mounts its private work directory
 * (launch.c), and what is known of this node. A descriptor, the caller's. */
int run_dir_open(struct err *e);

/* metrics.c, where metrics-dir= is set: gives the step counters (spec->counters). */
void metrics_begin(struct spec *spec);
/* In the task: a step does not start, and there is no agent to count that. */
void metrics_refused(void);
/* When the step is over: they are added to the node's. */
void metrics_end(const struct spec *spec);

/* probe.c: has criu find out what this kernel can do, and keeps that in dir, the node's
 * SCKPT_RUN_DIR, as root. False: it cannot be had, and criu will do it each time. */
bool probe_make(int dir, const char *criu);
/* probe.c: that, before the step's own SCKPT_RUN_DIR hides it: its size; the caller's to free. */
ssize_t probe_read(char **found);
/* probe.c: puts it into that, as the user. */
void probe_give(const char *found, ssize_t size);

/* allow.c: may this job have it at all? As root, in slurmstepd. Writes the reason against
 * it, or leaves `reason` as it is. */
void allow_check(spank_t sp, const struct conf *conf, uint32_t job, char *reason,
		 size_t size);

/* allow.c: what of elevate= this job may have (enum elevate). */
int allow_elevate(spank_t sp, const struct conf *conf, uint32_t job);

/* broker.c: starts the step's broker, for spec->elevate; without one the step is
 * protected as without elevate=. */
void broker_start(spank_t sp, struct spec *spec);
/* broker.c: slurmstepd, when all tasks are forked. */
void broker_forked(void);
/* broker.c: the task that becomes the agent: the broker is to hear it from here on. Sets
 * spec->broker, and spec->elevate to what it has. */
int broker_greet(struct spec *spec, struct err *e);

/* facts.c: what Slurm itself says of this step. */
void facts_step(spank_t sp, struct spec *spec, char *reason, size_t size);

/* launch.c: in the task, as the user: namespaces, supervisor, capability. */
int launch(spank_t sp, struct spec *spec, bool required);

#endif
