/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt doctor: what is wrong with this node, this Slurm and this store, and where
 * to change it. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "sckpt/policy.h"

#define MIB (UINT64_C(1) << 20)
#define PROBE (64 * MIB) /* bytes that are written to know how fast a store is */
/* What munge lets a credential be late, less what messages take (munge(7)). */
#define CLOCK_WARN 5
#define CLOCK_FAIL 240
/* A dump is given up so long before SIGKILL (policy/budget.c); with less there is
 * nothing to be done in. */
#define KILL_WAIT_LEAST 10

struct findings {
	bool json, fix;
	int warned, failed;
	json_object *list;
	char *fixes; /* lines for people to put into files, grouped as they came */
};

/* fix: "FILE: LINE" to be put there, or NULL. */
static void __attribute__((format(printf, 5, 6)))
tell(struct findings *f, enum health how, const char *what, const char *fix,
     const char *fmt, ...)
{
	static const char *const names[] = { "OK", "WARN", "FAIL" };
	static const char *const paint[] = { GREEN, YELLOW, RED };
	bool colour = colours(1);
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printable(text);
	f->warned += how == HEALTH_WARN;
	f->failed += how == HEALTH_FAIL;
	if (f->json) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "result", json_object_new_string(names[how]));
		json_object_object_add(o, "what", json_object_new_string(what));
		json_object_object_add(o, "text", json_object_new_string(text));
		json_object_object_add(o, "fix", fix ? json_object_new_string(fix) : NULL);
		json_object_array_add(f->list, o);
	} else if (!f->fix) {
		printf("%s%-4s%s  %-14s %s\n", colour ? paint[how] : "", names[how],
		       colour ? PLAIN : "", what, text);
	} else if (fix && how != HEALTH_OK) {
		printf("%s\n", fix);
	}
}

/* ---- this node -------------------------------------------------------------------- */

static bool take_node(enum health how, const char *what, const char *text, void *arg)
{
	const char *fix = NULL;

	if (how == HEALTH_FAIL && !strcmp(what, "yama"))
		fix = "/etc/sysctl.d/60-sckpt.conf: kernel.yama.ptrace_scope = 0";
	if (how == HEALTH_FAIL && !strcmp(what, "cgroup.conf"))
		fix = "cgroup.conf: SignalChildrenProcesses=no";
	if (how == HEALTH_FAIL && !strcmp(what, "capability"))
		fix = "slurmd.service: CapabilityBoundingSet=~ (or a list with CAP_CHECKPOINT_RESTORE)";
	tell(arg, how, what, fix, "%s", text);
	return true;
}

/* slurmd's name: Debian's file is slurmd-wlm, and a slurmd that was reconfigured
 * has executed itself by the file's own name (reconfigure in Slurm's
 * src/slurmd/slurmd/slurmd.c). */
static bool is_slurmd(const char *status)
{
	static const char *const names[] = { "Name:\tslurmd\n", "Name:\tslurmd-wlm\n" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(status, names[i], strlen(names[i])))
			return true;
	return false;
}

/* slurmd's, if it runs here. */
static bool slurmd_bounding(uint64_t *set)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir = opendir("/proc");

	while (dir && !found && (entry = readdir(dir))) {
		cleanup_free char *text = NULL;
		char path[300];
		const char *at;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		if (file_read(AT_FDCWD, path, 65536, &text, NULL) <= 0 ||
		    !is_slurmd(text) ||
		    /* Anybody may call a process so. */
		    !strstr(text, "\nUid:\t0\t") ||
		    !(at = strstr(text, "CapBnd:\t")))
			continue;
		*set = strtoull(at + 8, NULL, 16);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void look_at_node(struct findings *f, const struct conf *conf)
{
	struct stat st;
	struct err e;
	uint64_t set;
	int version;

	if (!slurmd_bounding(&set)) {
		tell(f, HEALTH_OK, "node", NULL,
		     "no slurmd runs here: what a compute node needs was not looked at");
		return;
	}
	node_look(set, conf->elevate, take_node, f);
	if (!node_look_at_criu_file(conf->criu, &st, take_node, f))
		return;
	if ((version = node_ask_criu(conf->criu, &e)) < 0)
		tell(f, HEALTH_FAIL, "criu", NULL, "%s", e.text);
	else
		node_look_at_criu(conf->criu, version, take_node, f);
}

/* ---- the plugin ----------------------------------------------------------------------- */

/* srun loads it as slurmstepd does, and says so in its help. */
static void look_at_plugin(struct findings *f, const struct site *site)
{
	char srun[512], *argv[] = { srun, "--help", NULL };
	const char *slash = strrchr(SQUEUE_PATH, '/');
	cleanup_free char *help = NULL;
	struct err e;

	if (!*site->file) {
		tell(f, HEALTH_FAIL, "plugin", "plugstack.conf: optional sckpt.so",
		     "no line of plugstack.conf names sckpt.so, so Slurm does not load it: optional sckpt.so, on all nodes");
		return;
	}
	snprintf(srun, sizeof(srun), "%.*s/srun", (int)(slash - SQUEUE_PATH), SQUEUE_PATH);
	if (run_collect(argv, environ, 20000, MIB, &help, &e) < 0)
		tell(f, HEALTH_FAIL, "plugin", NULL, "srun --help: %s", e.text);
	else if (!strstr(help, "--checkpoint"))
		tell(f, HEALTH_FAIL, "plugin", NULL,
		     "%s names %s, and srun does not load it: is it there, and built for this release of Slurm? srun --help says it",
		     site->file, site->plugin);
	else
		tell(f, HEALTH_OK, "plugin", NULL, "%s of %s is loaded", site->plugin,
		     site->file);
}

/* ---- Slurm's configuration ------------------------------------------------------------ */

static const char *value_of(const char *config, const char *name, char value[256])
{
	if (!config_find(config, name, value, 256))
		value[0] = '\0';
	return value;
}

/* "Configuration data as of 2026-11-27T17:48:23": slurmctld's clock, as local time. */
static void look_at_clock(struct findings *f, const char *config)
{
	static const char begin[] = "Configuration data as of ";
	const char *at = strstr(config, begin);
	struct tm tm = { .tm_isdst = -1 };
	long off;

	if (!at || !strptime(at + strlen(begin), "%Y-%m-%dT%H:%M:%S", &tm))
		return;
	off = labs((long)(time(NULL) - mktime(&tm)));
	if (off > CLOCK_WARN)
		tell(f, off > CLOCK_FAIL ? HEALTH_FAIL : HEALTH_WARN, "clock", NULL,
		     "this clock and slurmctld's are %ld s apart: munge refuses what is 300 s late; run an NTP service on both",
		     off);
	else
		tell(f, HEALTH_OK, "clock", NULL, "it is slurmctld's, to %d s", CLOCK_WARN);
}

static void look_at_config(struct findings *f, const char *config)
{
	char value[256];
	int seconds;

	if (strcmp(value_of(config, "ProctrackType", value), "proctrack/cgroup"))
		tell(f, HEALTH_FAIL, "ProctrackType", "slurm.conf: ProctrackType=proctrack/cgroup",
		     "%s signals a step's programs behind sckpt's back: set proctrack/cgroup in slurm.conf",
		     value);
	else
		tell(f, HEALTH_OK, "ProctrackType", NULL, "%s", value);
	seconds = atoi(value_of(config, "KillWait", value));
	if (seconds < KILL_WAIT_LEAST)
		tell(f, HEALTH_WARN, "KillWait", "slurm.conf: KillWait=60",
		     "a checkpoint must be taken within KillWait, and %d s are hardly enough for anything: 60 or more in slurm.conf, or GraceTime= of the partition",
		     seconds);
	else
		tell(f, HEALTH_OK, "KillWait", NULL,
		     "a checkpoint at a stop has %d s", seconds);
	if (atoi(value_of(config, "JobRequeue", value)) == 0)
		tell(f, HEALTH_WARN, "JobRequeue", "slurm.conf: JobRequeue=1",
		     "jobs are only requeued if they are submitted with --requeue: JobRequeue=1 in slurm.conf");
	else
		tell(f, HEALTH_OK, "JobRequeue", NULL, "jobs are requeued unless they say --no-requeue");
	value_of(config, "PreemptMode", value);
	if (strcasestr(value, "CANCEL") ||
	    (!strcasestr(value, "OFF") && !strcasestr(value, "REQUEUE")))
		tell(f, HEALTH_WARN, "PreemptMode", "slurm.conf: PreemptMode=REQUEUE",
		     "%s: what is preempted is not requeued, and would not go on: PreemptMode=REQUEUE in slurm.conf, or at the partition or QOS",
		     value);
	else
		tell(f, HEALTH_OK, "PreemptMode", NULL, "%s", value);
	tell(f, HEALTH_OK, "JobFileAppend", NULL, "%s: output is right either way",
	     value_of(config, "JobFileAppend", value));
	tell(f, HEALTH_OK, "requeue", NULL,
	     "by itself Slurm lets a requeued job wait for %d s; sckpt for requeue-wait=",
	     config_requeue_delay(config));
	look_at_clock(f, config);
}

/* ---- the store -------------------------------------------------------------------------- */

/* Of a few that people have; linux/magic.h. */
static const char *local_type(const char *path)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} types[] = {
		{ 0x01021994, "tmpfs" },  { 0xef53, "ext4" },
		{ 0x58465342, "xfs" },	  { 0x9123683e, "btrfs" },
		{ 0x794c7630, "overlay" }, { 0x858458f6, "ramfs" },
	};
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if ((uint32_t)fs.f_type == types[i].magic)
			return types[i].name;
	return NULL;
}

/* Writes to a file without a name; bytes a second, and the file system's clock. */
static double probe(const char *dir, time_t *clock, struct err *e)
{
	cleanup_free char *block = malloc(MIB);
	cleanup_fd int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char path[1100];
	int64_t begin;
	struct stat st;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		snprintf(path, sizeof(path), "%s/.sckpt-doctor.%d", dir, getpid());
		fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0)
			unlink(path);
	}
	if (fd < 0)
		return err_sys(e, "cannot write in %s", dir);
	if (!block)
		return err_set(e, "no memory");
	/* What compresses by itself would be no measure. */
	for (uint64_t i = 0, x = 88172645463325252; i < MIB / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(block + 8 * i, &x, 8);
	}
	begin = clock_ns(CLOCK_MONOTONIC);
	for (uint64_t done = 0; done < PROBE; done += MIB)
		if (file_write(fd, block, MIB, e) < 0)
			return err_context(e, "%s", dir);
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "%s", dir);
	*clock = st.st_mtime;
	return (double)PROBE * 1e9 / (double)(clock_ns(CLOCK_MONOTONIC) - begin + 1);
}

/* Is it a mount of NFS that gives up when the server is slow? */
static bool is_soft_nfs(const char *path)
{
	cleanup_free struct mount_line *lines = calloc(MOUNTS_MOST, sizeof(*lines));
	cleanup_free char *text = NULL;
	const struct mount_line *m = NULL;

	if (lines && file_read(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &text, NULL) >= 0)
		m = mount_of(lines, mountinfo_parse(text, lines, MOUNTS_MOST), path);
	return m && !strncmp(m->type, "nfs", 3) && strstr(m->options, ",soft");
}

static void look_at_speed(struct findings *f, const char *dir, const char *config)
{
	char speed[16], room[16], value[256];
	int seconds = config ? atoi(value_of(config, "KillWait", value)) : 0;
	time_t clock = 0;
	struct err e;
	double rate;
	long off;

	if ((rate = probe(dir, &clock, &e)) < 0) {
		tell(f, HEALTH_FAIL, "store", NULL,
		     "%s: no checkpoint can be written there; dir= of sckpt.conf, or the user's quota",
		     e.text);
		return;
	}
	size_print((uint64_t)rate, speed);
	size_print((uint64_t)(rate * seconds / 2), room);
	if (seconds)
		tell(f, HEALTH_OK, "store", NULL,
		     "%s takes %s a second: some %s of what is new to it fit into half of KillWait",
		     dir, speed, room);
	else
		tell(f, HEALTH_OK, "store", NULL, "%s takes %s a second", dir, speed);
	if ((off = labs((long)(time(NULL) - clock))) > CLOCK_WARN)
		tell(f, HEALTH_WARN, "store's clock", NULL,
		     "the file server's clock and this one are %ld s apart: ages are shown wrong, and make(1) will mind; run an NTP service on both",
		     off);
	if (is_soft_nfs(dir))
		tell(f, HEALTH_WARN, "store's mount", NULL,
		     "%s is mounted soft: when the server is slow writes fail, and checkpoints with them: mount it hard",
		     dir);
	if (local_type(dir))
		tell(f, HEALTH_WARN, "store's mount", "sckpt.conf: dir=/a/directory/that/every/node/sees/%u",
		     "%s is on %s, a file system of this machine: a job can go on elsewhere only if every node sees the same there",
		     dir, local_type(dir));
}

/* As the user from here on, when root asks for one. */
static void look_at_store(struct findings *f, const struct options *o, const char *config)
{
	struct place place;
	struct err e;

	if (geteuid() == 0 && !o->user && !o->dir) {
		tell(f, HEALTH_OK, "store", NULL,
		     "not looked at: it is each user's own; sckpt doctor --user NAME looks at NAME's");
		return;
	}
	if (place_find(o, &place, &e) < 0) {
		tell(f, HEALTH_FAIL, "store", NULL, "%s", e.text);
		return;
	}
	for (size_t i = 0; i < place.count; i++) {
		const struct spec *s = &place.stores[i];
		struct stat st;

		if (lstat(s->base, &st) < 0 && errno == ENOENT)
			look_at_speed(f, s->fixed, config);
		else if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
			tell(f, HEALTH_FAIL, "store", NULL,
			     "%s must be a directory of user id %u's, closed to all others (mode 0700): no checkpoint is written there",
			     s->base, geteuid());
		else
			look_at_speed(f, s->base, config);
	}
	place_free(&place);
	if (store_seal_works(&e) < 0)
		tell(f, HEALTH_FAIL, "munge", NULL,
		     "%s: no checkpoint can be sealed or believed; does munged run here, with the cluster's key?",
		     e.text);
	else
		tell(f, HEALTH_OK, "munge", NULL, "it vouches for what user id %u seals", geteuid());
}

/* ---- a trial ------------------------------------------------------------------------- */

/* Runs a command of ours or Slurm's and puts all that it says into *text; its exit status
 * is not told. */
static int said_by(char *const command[], char **text, struct err *e)
{
	char *argv[16] = { "/bin/sh", "-c", "\"$0\" \"$@\" 2>&1 || :" };
	size_t n = 3;

	for (size_t i = 0; command[i]; i++)
		argv[n++] = command[i];
	argv[n] = NULL;
	return run_collect(argv, environ, 120000, MIB, text, e) < 0 ? -1 : 0;
}

/* Looks so many times, 0.3 s apart, until it has ended, or runs, if that is enough. Has it
 * ended? */
static bool wait_for(const struct id *id, struct job *job, int looks, bool or_runs)
{
	const struct timespec moment = { 0, 300000000 };

	while (looks--) {
		if (job_of_id(id, job, NULL) == 0) {
			if (!job->active)
				return true;
			if (or_runs && !strcmp(job->state, "RUNNING"))
				return false;
		}
		if (looks)
			nanosleep(&moment, NULL);
	}
	return false;
}

/* 30 s; and 1 s, 30 times: a prolog may take its time. */
#define LOOKS_TO_RUN 100
#define LOOKS_BETWEEN 4
#define CHECKS 30

/* Slurm calls a job running before its prolog is through, and for a moment after its step has
 * failed to start. */
static int check_when_it_runs(char *const check[], const struct id *id, struct job *job,
			      char **found, struct err *e)
{
	for (int i = 0; i < CHECKS; i++) {
		free(*found);
		*found = NULL;
		if (said_by(check, found, e) < 0)
			return -1;
		if (!strstr(*found, "no protected step that runs") ||
		    wait_for(id, job, LOOKS_BETWEEN, false))
			break;
	}
	return 0;
}

/* A tiny job of the user's, of which a checkpoint is made and restored beside it. */
static void try_it(struct findings *f)
{
	char self[512], number[40], node[256], *rest;
	char *submit[] = { SBATCH_PATH, "--parsable", "--requeue", "-n1", "-t2",
			   "-Jsckpt-doctor", "-o/dev/null", "--checkpoint=required",
			   "--wrap=sleep 100", "-w", node, NULL };
	char *check[] = { self, "check", number, NULL };
	char *cancel[] = { SCANCEL_PATH, number, NULL };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	cleanup_free char *text = NULL, *found = NULL, *gone = NULL;
	struct id id = { .task = -1 };
	struct job job = { .active = true };
	struct err e = { "" };
	uint64_t set;

	self[n > 0 ? n : 0] = '\0';
	if (gethostname(node, sizeof(node)) < 0 || !slurmd_bounding(&set))
		submit[9] = NULL; /* anywhere */
	node[strcspn(node, ".")] = '\0';
	if (chdir("/") < 0 || said_by(submit, &text, &e) < 0) {
		tell(f, HEALTH_FAIL, "trial", NULL, "%s", e.text);
		return;
	}
	id.job = (uint32_t)strtoul(text, &rest, 10);
	if (rest == text || !id.job) {
		tell(f, HEALTH_FAIL, "trial", NULL, "sbatch: %s", text);
		return;
	}
	snprintf(number, sizeof(number), "%u", id.job);
	wait_for(&id, &job, LOOKS_TO_RUN, true);
	if (!strcmp(job.state, "RUNNING") &&
	    check_when_it_runs(check, &id, &job, &found, &e) < 0)
		tell(f, HEALTH_FAIL, "trial", NULL, "%s", e.text);
	else if (found && strstr(found, "it can be checkpointed, and restored"))
		tell(f, HEALTH_OK, "trial", NULL, "a program was checkpointed, and restored");
	else if (wait_for(&id, &job, 1, false))
		tell(f, HEALTH_FAIL, "trial", NULL,
		     "job %u, which was not to run unprotected, has ended as %s: slurmd's log says why",
		     id.job, job.state);
	else if (found)
		tell(f, HEALTH_FAIL, "trial", NULL, "%.*s", (int)strcspn(found, "\n"), found);
	else
		/* It waits for its turn, which is no fault of this node's. */
		tell(f, HEALTH_WARN, "trial", NULL,
		     "job %u did not run within 30 s: nothing was tried", id.job);
	said_by(cancel, &gone, NULL);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int conclude(struct findings *f)
{
	if (f->json) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "failed", json_object_new_int(f->failed));
		json_object_object_add(o, "warned", json_object_new_int(f->warned));
		json_object_object_add(o, "findings", f->list);
		json_out(o);
	} else if (!f->fix) {
		printf("%s: %d wrong, %d to think about\n",
		       f->failed ? "Steps here are not protected as they should be" :
				   "sckpt can work here",
		       f->failed, f->warned);
	}
	return f->failed ? EXIT_FAILED : EXIT_OK;
}

int cmd_doctor(const struct options *o)
{
	struct findings f = { .json = o->json, .fix = o->fix,
			      .list = o->json ? json_object_new_array() : NULL };
	cleanup_free char *config = NULL;
	struct site site;
	struct err e;

	if (site_read(&site, &e) < 0)
		tell(&f, HEALTH_FAIL, "sckpt.conf", NULL,
		     "%s: no step is protected until this is mended", e.text);
	else
		tell(&f, HEALTH_OK, "sckpt.conf", NULL, "%s",
		     site.conf.grant == GRANT_NEVER ?
			     "it is valid, and says that nobody is protected (grant=never)" :
			     "it is valid, or not there");
	look_at_node(&f, &site.conf);
	look_at_plugin(&f, &site);
	if (!(config = config_ask(&e)))
		tell(&f, HEALTH_FAIL, "slurmctld", NULL, "it does not tell its configuration: %s",
		     e.text);
	else
		look_at_config(&f, config);
	look_at_store(&f, o, config);
	if (o->try && geteuid() == 0)
		tell(&f, HEALTH_FAIL, "trial", NULL,
		     "root's steps are not checkpointed: say as whom, with --user NAME");
	else if (o->try)
		try_it(&f);
	return conclude(&f);
}
