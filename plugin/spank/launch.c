/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The task, between slurmstepd's change to the user and exec. One process
 * comes in, two go on:
 *
 *   parent   slurmstepd's own child; gives up every capability and becomes
 *            sckpt-supervise, which checks the store and says its verdict;
 *   child    first process of a private PID namespace; waits for the verdict,
 *            keeps CAP_CHECKPOINT_RESTORE alone, and lets slurmstepd go on to
 *            TaskProlog, limits and exec, of sckpt-agent instead of the program.
 *
 * Of several tasks that is the first one's part (tasks.c), in a third process: a
 * task that ends as its own program does comes before them.
 *
 * The user cannot reach any of them before exec: slurmstepd's memory is
 * not dumpable, and both hold capabilities that no process of the user has.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tasks.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080 /* linux/sched.h, since 5.6 */
#endif

#define NS_PER_S INT64_C(1000000000)

/* Permitted and effective become exactly these; the rest is gone for good. */
static int caps_only(const cap_value_t *caps, int n, bool inheritable,
		     struct err *e)
{
	cap_t set = cap_init();
	int rc = -1;

	if (!set)
		return err_sys(e, "cannot set capabilities");
	if ((n == 0 ||
	     (cap_set_flag(set, CAP_PERMITTED, n, caps, CAP_SET) == 0 &&
	      cap_set_flag(set, CAP_EFFECTIVE, n, caps, CAP_SET) == 0 &&
	      (!inheritable ||
	       cap_set_flag(set, CAP_INHERITABLE, n, caps, CAP_SET) == 0))) &&
	    cap_set_proc(set) == 0)
		rc = 0;
	if (rc < 0)
		err_sys(e, "cannot set capabilities");
	cap_free(set);
	return rc;
}

/* What the task needs until exec, in the order of need. */
static int caps_for_setup(struct err *e)
{
	static const cap_value_t caps[] = {
		CAP_SYS_ADMIN, /* unshare, mount */
		CAP_SYS_TIME, /* /proc/self/timens_offsets */
		CAP_DAC_OVERRIDE, /* that file is root's: we are not dumpable */
		CAP_CHECKPOINT_RESTORE
	};

	return caps_only(caps, sizeof(caps) / sizeof(caps[0]), false, e);
}

static int caps_granted(struct err *e)
{
	static const cap_value_t cap = CAP_CHECKPOINT_RESTORE;

	if (caps_only(&cap, 1, true, e) < 0)
		return -1;
	if (cap_set_ambient(cap, CAP_SET) < 0)
		return err_sys(e, "cannot make CAP_CHECKPOINT_RESTORE ambient");
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	return 0;
}

/* ---- the child --------------------------------------------------------- */

static int write_clock_offsets(const struct control *verdict, struct err *e)
{
	static const struct {
		const char *name;
		clockid_t id;
	} clocks[] = { { "monotonic", CLOCK_MONOTONIC },
		       { "boottime", CLOCK_BOOTTIME } };
	const int64_t last[] = { verdict->monotonic, verdict->boottime };
	char text[128];
	int n = 0;
	cleanup_fd int fd = -1;

	for (int i = 0; i < 2; i++) {
		struct timespec now;
		int64_t offset, s, ns;

		clock_gettime(clocks[i].id, &now);
		/* It comes from the user's store. */
		if (__builtin_sub_overflow(last[i],
					   now.tv_sec * NS_PER_S + now.tv_nsec,
					   &offset))
			return err_set(e, "the clocks of the checkpoint make no sense");
		s = offset / NS_PER_S;
		ns = offset % NS_PER_S;
		if (ns < 0) {
			s--;
			ns += NS_PER_S;
		}
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "%s %jd %jd\n", clocks[i].name, (intmax_t)s,
			      (intmax_t)ns);
	}
	if ((fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC)) < 0)
		return err_sys(e, "cannot open /proc/self/timens_offsets");
	if (write(fd, text, (size_t)n) != n)
		return err_sys(e, "cannot set the clock offsets of the step");
	return 0;
}

/* The program's clocks go on from where it saw them last (time_namespaces(7)). Only
 * children are in what was unshared; before Linux 6.3 exec does not go there either, and as
 * long as it is elsewhere the agent can have no thread (kernel/fork.c: EINVAL). */
static int continue_clocks(const struct control *verdict, struct err *e)
{
	cleanup_fd int space = -1;

	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(e, "cannot make a time namespace");
	if (write_clock_offsets(verdict, e) < 0)
		return -1;
	if ((space = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC)) < 0 ||
	    setns(space, CLONE_NEWTIME) < 0)
		return err_sys(e, "cannot enter the step's time namespace");
	return 0;
}

/* /proc of the new PID namespace, and a work directory that only this step
 * sees: sockets and logs of criu, on memory. */
static int private_mounts(uid_t uid, gid_t gid, struct err *e)
{
	cleanup_free char *found = NULL;
	ssize_t size = probe_read(&found);
	char options[64];

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(e, "cannot make the step's mounts its own");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  NULL) < 0)
		return err_sys(e, "cannot mount the step's /proc");
	snprintf(options, sizeof(options), "mode=0700,uid=%u,gid=%u,size=64m",
		 uid, gid);
	if (mount("sckpt", SCKPT_RUN_DIR, "tmpfs",
		  MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
		return err_sys(e, "cannot mount %s", SCKPT_RUN_DIR);
	probe_give(found, size);
	return 0;
}

/* What the agent must be told is put in front of the program's arguments. */
static int put_agent_first(spank_t sp, const struct spec *spec, struct err *e)
{
	char *args[SPEC_ARGS_MAX + 1];
	const char *argv[SPEC_ARGS_MAX + 3];
	int n = spec_args(spec, args, e);

	if (n < 0)
		return -1;
	argv[0] = AGENT_PATH;
	memcpy(&argv[1], args, (size_t)n * sizeof(argv[0]));
	argv[n + 1] = "--";
	n = prepend(sp, n + 2, argv, e);
	spec_args_free(args);
	return n;
}

static void caps_none(void)
{
	static const cap_value_t none[1];
	struct err e;

	if (caps_only(none, 0, false, &e) < 0)
		slurm_error(SAYS "%s", e.text);
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

/* Returns what task_init returns. Whatever fails here ends the task: the
 * parent is the supervisor already, and the step is not whole. */
static int become_agent(spank_t sp, struct spec *spec, int control,
			bool required)
{
	struct control verdict;
	struct err e = { "" };
	int rc;

	/* Nothing may outlive the supervisor; set after the last change of
	 * credentials, which clears it (prctl(2)). */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* While the supervisor looks at the store. */
	if (private_mounts(getuid(), getgid(), &e) < 0)
		goto fail;
	rc = control_receive(control, &verdict, verdict_timeout_ms(spec), &e);
	if (rc == 0 && spec->restart > 0) {
		/* There may be work to go on from: it must not start afresh. */
		slurm_error(SAYS "the store in %s does not answer; step %u.%s waits for it",
			    spec->base, spec->job, spec->step);
		if (control_receive(control, &verdict, -1, &e) <= 0)
			goto fail;
		rc = 1;
	}
	if (rc < 0 || (rc == 0 && !verdict.kind)) {
		struct control late = { .kind = CONTROL_VERDICT };

		verdict = late;
		snprintf(verdict.text, sizeof(verdict.text),
			 "the store in %.256s did not answer within %d s",
			 spec->base, verdict_timeout_ms(spec) / 1000);
	}
	if (verdict.value < 0) {
		/* The supervisor has told the user, and cares for the job: never
		 * to begin again unasked. */
		metrics_refused();
		err_set(&e, "step %u.%s does not start: %s", spec->job,
			spec->step, verdict.text);
		goto fail;
	}
	if (!verdict.value) {
		slurm_info(SAYS "step %u.%s is not protected: %s", spec->job,
			   spec->step, verdict.text);
		snprintf(spec->off, sizeof(spec->off), "%.*s",
			 (int)sizeof(spec->off) - 1, verdict.text);
		if (required)
			goto refused;
	}
	if (verdict.value && verdict.done)
		slurm_info(SAYS "step %u.%s: %s", spec->job, spec->step,
			   verdict.text);
	spec->done = verdict.value && verdict.done;
	spec->resume = verdict.value && verdict.resume;
	spec->restart = verdict.run;
	if (spec->resume && continue_clocks(&verdict, &e) < 0)
		goto fail;
	/* Where the admin wants it everywhere, what criu restores is not left out: it
	 * has what was dumped, or what its user has written into the image. And where there is
	 * a broker nobody in the step may get more rights than it looks at (plugin/broker). */
	if ((settings()->no_new_privs || spec->elevate) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		err_sys(&e, "cannot set no_new_privs");
		goto fail;
	}
	if (spec->elevate && broker_greet(spec, &e) < 0) {
		slurm_error(SAYS "step %u.%s has no more than CAP_CHECKPOINT_RESTORE for its checkpoints: %s",
			    spec->job, spec->step, e.text);
		spec->elevate = 0;
	}
	if (caps_granted(&e) < 0)
		goto fail;
	spec->control = control;
	fcntl(control, F_SETFD, 0);
	if (spec->counters >= 0)
		fcntl(spec->counters, F_SETFD, 0);
	spec->links = -1;
	if ((spec->joins = tasks_joins()) >= 0)
		fcntl(spec->joins, F_SETFD, 0);
	if (put_agent_first(sp, spec, &e) < 0)
		goto fail;
	return ESPANK_SUCCESS;
fail:
	slurm_error(SAYS "%s", e.text);
	return -1;
refused:
	slurm_error(SAYS "--checkpoint=required, and %s", spec->off);
	return -1;
}

/*
 * Of a job that was requeued something may be saved: then the step must not start from
 * its top, whatever the reason why it cannot be protected here. -1: it must not.
 */
static int look_for_work(const struct spec *spec, int task)
{
	struct helper looker;
	struct err e = { "" };
	int status = 0;
	pid_t pid;

	if (!spec->job || getuid() == 0 || (!spec->restart && !*spec->from))
		return 0;
	if (helper_prepare(&looker, SUPERVISE_PATH, NULL, 0, &e) < 0 ||
	    spec_args(spec, &looker.argv[2], &e) < 0)
		goto fail;
	if ((pid = fork()) == 0)
		helper_become(&looker, task ? SUPERVISE_PEEK : SUPERVISE_LOOK);
	spec_args_free(&looker.argv[2]);
	helper_drop(&looker);
	if (pid < 0) {
		err_sys(&e, "cannot fork");
		goto fail;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	err_set(&e, "step %u.%s does not start from its top: %s", spec->job, spec->step,
		spec->off);
fail:
	slurm_error(SAYS "%s", e.text);
	return -1;
}

/* The step runs as if nobody had asked, and that is said where it is read. */
static int unprotected(const struct spec *spec, int task, bool required)
{
	struct control plain = { .kind = CONTROL_VERDICT };
	int rc;

	caps_none();
	rc = look_for_work(spec, task);
	plain.value = rc < 0 || required ? -1 : 0;
	tasks_answer(spec->tasks, &plain);
	if (rc < 0)
		return -1;
	if (required) {
		slurm_error(SAYS "--checkpoint=required, and %s", spec->off);
		return -1;
	}
	slurm_info(SAYS "step %u.%s is not protected: %s", spec->job,
		   spec->step, spec->off);
	dprintf(STDERR_FILENO, SAYS "this step is not protected: %s\n",
		spec->off);
	return ESPANK_SUCCESS;
}

/* Slurm sets it for batch steps from the first requeue on (env.c, setup_env);
 * others inherit it, unless somebody emptied the environment. */
static int restart_count(spank_t sp, const struct spec *spec)
{
	char text[16];

	if (spank_getenv(sp, "SLURM_RESTART_COUNT", text, sizeof(text)) ==
	    ESPANK_SUCCESS)
		return atoi(text);
	return strcmp(spec->step, "batch") ? -1 : 0;
}

/* Does Slurm append to the output files? Of a batch step slurmctld says one letter; a longer word is
 * meant for srun alone (plugin.c, forget_job). */
static bool appends(spank_t sp, const struct spec *spec)
{
	char text[16];

	if (spank_getenv(sp, "SLURM_OPEN_MODE", text, sizeof(text)) != ESPANK_SUCCESS ||
	    (!strcmp(spec->step, "batch") && text[0] && text[1]))
		return spec->append;
	return text[0] == 'a';
}

/* What a store holds of a job that had the same number is not to be taken for this
 * launch's. srun's port is what its job has on all nodes (launch.c of srun). */
static uint32_t launch_id(spank_t sp)
{
	static const char *const names[] = { "SLURM_STEP_LAUNCHER_PORT",
					     "SLURM_SRUN_COMM_HOST",
					     "SLURM_JOB_START_TIME" };
	uint32_t id = UINT32_C(2166136261); /* FNV-1a */
	char text[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (spank_getenv(sp, names[i], text, sizeof(text)) == ESPANK_SUCCESS)
			for (const char *at = text; *at; at++)
				id = (id ^ (uint8_t)*at) * UINT32_C(16777619);
	return id;
}

/*
 * restart= that is another step's is not taken (step/from.c): that is said, and with `required`
 * who asked for it does not start. Not so the calls of a script, which know of theirs.
 */
static void look_at_from(struct spec *spec, bool required)
{
	bool batch = !strcmp(spec->step, "batch");
	char step[32], why[200];

	if (spec->restart > 0 || spec->part || is_call_step(spec->step) ||
	    sscanf(spec->from, "%*u.%31[^:]", step) != 1 || step_is_of(step, spec->step) ||
	    (spec->from_own && !step_is_of(step, "batch")))
		return;
	snprintf(why, sizeof(why),
		 "restart=%s is of another step: what was a step is gone on with by srun --checkpoint=restart=, a batch script by sckpt restart",
		 spec->from);
	if (required && (batch || spec->from_own))
		snprintf(spec->off, sizeof(spec->off), "%s", why);
	else
		snprintf(spec->note, sizeof(spec->note), "it starts from its top, for %s", why);
}

/* What srun noted; the program need not see it. */
static void take_notes(spank_t sp, struct spec *spec)
{
	char streams[8] = "", place[16] = "", text[8];

	spec->own_stderr = spank_getenv(sp, STDERR_VARIABLE, text, sizeof(text)) == ESPANK_SUCCESS;
	spec->from_own = spank_getenv(sp, FROM_VARIABLE, text, sizeof(text)) == ESPANK_SUCCESS;
	spank_getenv(sp, STREAMS_VARIABLE, streams, sizeof(streams));
	spec->script_out = strchr(streams, STREAMS_OUT);
	spec->script_err = strchr(streams, STREAMS_ERR);
	spec->labels = strchr(streams, STREAMS_LABELS);
	spec->append |= strchr(streams, STREAMS_APPEND) != NULL;
	spec->append &= !strchr(streams, STREAMS_TRUNCATE);
	if (!*spec->off && strchr(streams, STREAMS_OF_PARTS))
		snprintf(spec->off, sizeof(spec->off),
			 "it is of several parts of a heterogeneous job (srun … : …, or --het-group=)");
	spank_getenv(sp, PLACE_VARIABLE, place, sizeof(place));
	spec->place = (int)(strtol(place, NULL, 10) & INT32_MAX);
	spank_unsetenv(sp, STDERR_VARIABLE);
	spank_unsetenv(sp, PLACE_VARIABLE);
	spank_unsetenv(sp, FROM_VARIABLE);
	spank_unsetenv(sp, STREAMS_VARIABLE);
}

/* Why this task's step cannot be protected, though its node could. */
static void look_at_task(spank_t sp, struct spec *spec)
{
	char text[8];

	if (isatty(0) || isatty(1) || isatty(2))
		snprintf(spec->off, sizeof(spec->off),
			 "it runs on a terminal: leave out srun --pty or --unbuffered");
	else if (spank_getenv(sp, "SLURM_CONTAINER", text, sizeof(text)) !=
		 ESPANK_ENV_NOEXIST)
		snprintf(spec->off, sizeof(spec->off),
			 "its program is started by a container runtime (--container)");
	else if (!prepend_possible(sp))
		snprintf(spec->off, sizeof(spec->off),
			 "Slurm before 23.11 does not show plugins the programs of srun --multi-prog");
}

/* The supervisor's, before there is one. */
static int prepare(struct helper *supervisor, struct spec *spec, int control,
		   struct err *e)
{
	const int fds[] = { control, tasks_door() };
	bool several = spec->tasks > 1;

	if (helper_prepare(supervisor, SUPERVISE_PATH, fds, several ? 2 : 1, e) < 0)
		return -1;
	supervisor->own_pids = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (supervisor->own_pids < 0)
		return err_sys(e, "cannot open /proc/self/ns/pid");
	spec->control = HELPER_FD;
	spec->links = several ? HELPER_FD + 1 : -1;
	return spec_args(spec, &supervisor->argv[2], e) < 0 ? -1 : 0;
}

/* The supervisor of several is none of Slurm's tasks: the first one may end before
 * the others. Returns in a process of its own. */
static int leave_task(struct err *e)
{
	struct helper first;
	pid_t pid;

	if (tasks_helper(&first, 0, e) < 0)
		return -1;
	pid = fork();
	if (pid < 0)
		return err_sys(e, "cannot fork");
	if (pid > 0)
		helper_become(&first, 0);
	helper_drop(&first);
	return 0;
}

int launch(spank_t sp, struct spec *spec, bool required)
{
	struct helper supervisor;
	struct err e = { "" };
	int pair[2], task = 0, rc;
	pid_t pid;

	spank_get_item(sp, S_TASK_ID, &task);
	spank_getenv(sp, "SLURMD_NODENAME", spec->node, sizeof(spec->node));
	if (spec->tasks > 1 && task > 0 && !*spec->off) {
		caps_none();
		take_notes(sp, spec);
		rc = tasks_follow(sp, spec, task);
		return rc > 0 ? ESPANK_SUCCESS : rc;
	}
	spec->restart = restart_count(sp, spec);
	spec->launch = launch_id(sp);
	spec->append = appends(sp, spec);
	take_notes(sp, spec);
	if (!*spec->off)
		look_at_task(sp, spec);
	if (!*spec->off)
		look_at_from(spec, required);
	if (*spec->off)
		return unprotected(spec, task, required);

	if (tasks_limit_mpi(sp) && spec->restart <= 0 && !*spec->note)
		snprintf(spec->note, sizeof(spec->note),
			 "its MPI ranks talk through shared memory alone (UCX_TLS=posix,self), so that they can be checkpointed");
	if (caps_for_setup(&e) < 0 ||
	    (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 &&
	     err_sys(&e, "cannot make the control socket") < 0) ||
	    prepare(&supervisor, spec, pair[0], &e) < 0) {
		snprintf(spec->off, sizeof(spec->off), "%.300s", e.text);
		return unprotected(spec, task, required);
	}
	if ((spec->tasks > 1 && leave_task(&e) < 0) ||
	    (unshare(CLONE_NEWPID) < 0 &&
	     err_sys(&e, "cannot make a PID namespace") < 0) ||
	    ((pid = fork()) < 0 && err_sys(&e, "cannot fork") < 0)) {
		/* What this task forked from here on would be the namespace's
		 * first process. */
		slurm_error(SAYS "%s", e.text);
		return -1;
	}
	if (pid > 0)
		helper_become(&supervisor, pid);
	spec_args_free(&supervisor.argv[2]);
	helper_drop(&supervisor);
	close(pair[0]);
	return become_agent(sp, spec, pair[1], required);
}
