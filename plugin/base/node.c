/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a node must have so that its steps can be checkpointed. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/capability.h>

#include "sckpt/base.h"

struct looking {
	node_tell *tell;
	void *arg;
};

static bool __attribute__((format(printf, 4, 5)))
tell(const struct looking *l, enum health how, const char *what, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return l->tell(how, what, text, l->arg);
}

static bool look_for_helpers(const struct looking *l)
{
	const char *const helpers[] = { SUPERVISE_PATH, AGENT_PATH, ROOT_PATH, BROKER_PATH,
					HOOK_PATH, SRUN_PATH, CLIENT_PATH,
					TASK_PATH, JOIN_PATH };

	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++)
		if (access(helpers[i], X_OK) < 0)
			return tell(l, HEALTH_FAIL, "helpers",
				    "%s: %m; install sckpt on this node", helpers[i]);
	/* A library is not executed; packages install it so. */
	if (access(IN_CRIU_PATH, R_OK) < 0)
		return tell(l, HEALTH_FAIL, "helpers",
			    "%s: %m; install sckpt on this node", IN_CRIU_PATH);
	return tell(l, HEALTH_OK, "helpers", "all are there");
}

static bool look_at_kernel(const struct looking *l)
{
	struct utsname name = { .release = "" };

	if (access("/proc/sys/kernel/ns_last_pid", F_OK) < 0)
		return tell(l, HEALTH_FAIL, "kernel",
			    "this kernel was built without CONFIG_CHECKPOINT_RESTORE: use one with it");
	/* Without one a restored program would see its clocks jump, back too. */
	if (access("/proc/self/ns/time_for_children", F_OK) < 0)
		return tell(l, HEALTH_FAIL, "kernel",
			    "this kernel was built without CONFIG_TIME_NS: use one with it");
	uname(&name);
	return tell(l, HEALTH_OK, "kernel", "Linux %s", name.release);
}

static bool look_at_yama(const struct looking *l, int elevate)
{
	cleanup_free char *yama = NULL;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 16, &yama,
		      NULL) > 0 &&
	    atoi(yama) > 0) {
		/* 3: nobody any more (Documentation/admin-guide/LSM/Yama.rst). */
		if (elevate & ELEVATE_PTRACE && atoi(yama) < 3)
			return tell(l, HEALTH_OK, "yama",
				    "kernel.yama.ptrace_scope is %d, and the broker may trace (elevate=ptrace)",
				    atoi(yama));
		return tell(l, HEALTH_FAIL, "yama",
			    "kernel.yama.ptrace_scope is %d on this node and keeps criu from its work: sysctl kernel.yama.ptrace_scope=0, or elevate=ptrace in sckpt.conf",
			    atoi(yama));
	}
	return tell(l, HEALTH_OK, "yama", "processes of one user may trace each other");
}

/* As Slurm reads a line (parse_config.c; parse_value.c, s_p_handle_boolean). */
static bool says_yes(char *line, const char *name)
{
	static const char *const yes[] = { "yes", "true", "up", "1" };
	const char *at;
	size_t n;

	line[strcspn(line, "#")] = '\0';
	if (!(at = strcasestr(line, name)))
		return false;
	at += strlen(name);
	at += strspn(at, " \t=\"");
	n = strcspn(at, " \t\r\"");
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (n == strlen(yes[i]) && !strncasecmp(at, yes[i], n))
			return true;
	return false;
}

/* Slurm's configuration directory: slurmd's own, which slurmstepd has of it; what sckpt was built
 * for; and where slurmd keeps what slurmctld gave it. */
static bool look_at_signals(const struct looking *l)
{
	const char *own = getenv("SLURM_CONF");
	const char *const beside[] = { own ? own : SCKPT_CONF, CONFIGLESS "/slurm.conf" };
	cleanup_free char *text = NULL;
	char path[4096], *rest, *line;

	for (size_t i = 0; !text && i < sizeof(beside) / sizeof(beside[0]); i++) {
		const char *slash = strrchr(beside[i], '/');

		snprintf(path, sizeof(path), "%.*s/cgroup.conf",
			 slash ? (int)(slash - beside[i]) : 0, beside[i]);
		file_read(AT_FDCWD, path, 1 << 20, &text, NULL);
	}
	for (rest = text; rest && (line = strsep(&rest, "\n"));)
		if (says_yes(line, "SignalChildrenProcesses"))
			return tell(l, HEALTH_FAIL, "cgroup.conf",
				    "%s: SignalChildrenProcesses=yes signals a step's programs behind sckpt's back: leave it out there",
				    path);
	return tell(l, HEALTH_OK, "cgroup.conf", "a step's programs have their signals from sckpt alone");
}

/* What the broker could not give criu. */
static bool look_at_elevate(const struct looking *l, uint64_t bounding, int elevate)
{
	static const struct {
		int what, cap;
		const char *word, *name;
	} needs[] = { { ELEVATE_SECCOMP, CAP_SYS_ADMIN, "seccomp", "CAP_SYS_ADMIN" },
		      { ELEVATE_TCP, CAP_NET_ADMIN, "tcp", "CAP_NET_ADMIN" },
		      { ELEVATE_PTRACE, CAP_SYS_PTRACE, "ptrace", "CAP_SYS_PTRACE" } };

	if (!elevate)
		return true;
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (elevate & needs[i].what && !(bounding >> needs[i].cap & 1) &&
		    !tell(l, HEALTH_WARN, "elevate",
			  "elevate=%s needs %s, which slurmd may not have here: leave it in its unit's CapabilityBoundingSet",
			  needs[i].word, needs[i].name))
			return false;
	return tell(l, HEALTH_OK, "elevate", "the broker is used where a job may have it");
}

bool node_look(uint64_t bounding, int elevate, node_tell *say, void *arg)
{
	const struct looking l = { say, arg };

	if (!look_for_helpers(&l))
		return false;
	if (!(bounding >> CAP_CHECKPOINT_RESTORE & 1) &&
	    !tell(&l, HEALTH_FAIL, "capability",
		  "slurmd may not have CAP_CHECKPOINT_RESTORE here: Linux 5.9 or later is needed, and a unit that leaves it in CapabilityBoundingSet"))
		return false;
	if (bounding >> CAP_CHECKPOINT_RESTORE & 1 &&
	    !tell(&l, HEALTH_OK, "capability", "slurmd may grant CAP_CHECKPOINT_RESTORE"))
		return false;
	return look_at_kernel(&l) && look_at_signals(&l) && look_at_yama(&l, elevate) &&
	       look_at_elevate(&l, bounding, elevate);
}

/* ---- criu --------------------------------------------------------------------------- */

/* Root runs it, if only for --version: nobody else may have a hand in it. */
bool node_look_at_criu_file(const char *criu, struct stat *st, node_tell *say, void *arg)
{
	const struct looking l = { say, arg };

	if (stat(criu, st) < 0) {
		tell(&l, HEALTH_FAIL, "criu",
		     "%s: %m; install criu 3.19 or later on this node, or set criu= in sckpt.conf",
		     criu);
		return false;
	}
	if (!S_ISREG(st->st_mode) || st->st_uid != 0 || (st->st_mode & 022)) {
		tell(&l, HEALTH_FAIL, "criu",
		     "%s is not root's alone: chown root, chmod go-w", criu);
		return false;
	}
	return true;
}

/* "Version: 4.1.1" (criu --version, 3.x and 4.x). */
int node_ask_criu(const char *criu, struct err *e)
{
	char *argv[] = { (char *)criu, "--version", NULL };
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
			 NULL };
	cleanup_free char *out = NULL;
	const char *number;
	int version;

	if (run_collect(argv, envp, 10000, 4096, &out, e) < 0)
		return -1;
	number = strstr(out, "Version: ");
	version = number ? version_parse(number + strlen("Version: ")) : -1;
	return version < 0 ? err_set(e, "%s does not tell its version", criu) :
			     version;
}

/* criu before 4.2 asks inet sockets for SO_PASSCRED, which Linux 6.16 and later has for
 * unix ones alone ("Can't get 1:16 opt"). */
static bool sockets_fail(int version)
{
	struct utsname name = { .release = "" };

	uname(&name);
	return version < version_parse("4.2") &&
	       version_parse(name.release) >= version_parse("6.16");
}

bool node_look_at_criu(const char *criu, int version, node_tell *say, void *arg)
{
	const struct looking l = { say, arg };
	char have[16], want[16];

	version_print(version, have);
	version_print(CRIU_VERSION_LEAST, want);
	if (version < CRIU_VERSION_LEAST)
		return tell(&l, HEALTH_FAIL, "criu",
			    "%s is criu %s and cannot work unprivileged: install %s or later",
			    criu, have, want);
	if (sockets_fail(version))
		return tell(&l, HEALTH_WARN, "criu",
			    "criu %s cannot dump a program that has an inet socket on a kernel like this (6.16 or later): install 4.2 or later",
			    have);
	return tell(&l, HEALTH_OK, "criu", "%s is criu %s", criu, have);
}
