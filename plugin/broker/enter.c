/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Into the step: its cgroups, CPUs, namespaces; and, in criu's case, its user. */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080 /* linux/sched.h, since 5.6 */
#endif
#define GROUPS_MOST 65536 /* NGROUPS_MAX */

/* ---- capabilities ------------------------------------------------------------------ */

static int caps_exactly(const cap_value_t *caps, int n, bool inheritable, struct err *e)
{
	cap_t set = cap_init();
	int rc = -1;

	if (set &&
	    (n == 0 || (cap_set_flag(set, CAP_PERMITTED, n, caps, CAP_SET) == 0 &&
			cap_set_flag(set, CAP_EFFECTIVE, n, caps, CAP_SET) == 0 &&
			(!inheritable || cap_set_flag(set, CAP_INHERITABLE, n, caps,
						      CAP_SET) == 0))) &&
	    cap_set_proc(set) == 0)
		rc = 0;
	cap_free(set);
	return rc < 0 ? err_sys(e, "cannot set capabilities") : 0;
}

int caps_cut(int allowed, struct err *e)
{
	static const cap_value_t caps[] = {
		CAP_SYS_ADMIN, /* setns; and criu's */
		CAP_SYS_CHROOT, /* setns of a mount namespace; and criu's */
		CAP_SYS_PTRACE, /* to look at the user's processes; and criu's */
		CAP_CHECKPOINT_RESTORE, /* criu's */
		CAP_SETUID, CAP_SETGID, /* to become the user */
		CAP_NET_ADMIN, /* criu's, where it is allowed */
	};

	return caps_exactly(caps, sizeof(caps) / sizeof(caps[0]) - !(allowed & ELEVATE_TCP), false, e);
}

int caps_none(struct err *e)
{
	return caps_exactly(NULL, 0, false, e);
}

/* The agent's, by the kernel's word. */
static int agent_groups(gid_t **list, int *count, gid_t *gid, struct err *e)
{
	cleanup_free char *status = NULL;
	char *at, *end;

	/* Seen from inside: it is the first process there. */
	if (file_read(AT_FDCWD, "/proc/1/status", 1 << 20, &status, e) < 0)
		return -1;
	if (!(at = strstr(status, "\nGid:\t")) ||
	    sscanf(at, "\nGid:\t%u", gid) != 1 ||
	    !(at = strstr(status, "\nGroups:\t")) ||
	    !(*list = calloc(GROUPS_MOST, sizeof(**list))))
		return err_set(e, "the groups of the step's agent are not known");
	at += strlen("\nGroups:\t");
	for (*count = 0; *count < GROUPS_MOST; (*count)++) {
		unsigned long n;

		if (*at < '0' || *at > '9')
			break;
		n = strtoul(at, &end, 10);
		(*list)[*count] = (gid_t)n;
		at = end + (*end == ' ');
	}
	return 0;
}

int files_as_user(const struct broker *b, struct err *e)
{
	cleanup_free gid_t *groups = NULL;
	gid_t gid = (gid_t)-1;
	int count = 0;

	if (agent_groups(&groups, &count, &gid, e) < 0)
		return -1;
	if (setgroups((size_t)count, groups) < 0)
		return err_sys(e, "cannot take the groups of user id %u", b->uid);
	setfsgid(gid);
	setfsuid(b->uid);
	if ((uid_t)setfsuid(b->uid) != b->uid || (gid_t)setfsgid(gid) != gid)
		return err_sys(e, "cannot take the rights of user id %u", b->uid);
	/* That has cleared it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return 0;
}

uint64_t caps_of_restored(int needs)
{
	/* NET_ADMIN until its sockets are restored (criu/in_tcp.c). */
	return UINT64_C(1) << CAP_CHECKPOINT_RESTORE | UINT64_C(1) << CRIU_MARK |
	       (needs & ELEVATE_TCP ? UINT64_C(1) << CAP_NET_ADMIN : 0);
}

int become_user(const struct broker *b, int needs, struct err *e)
{
	cap_value_t caps[5] = { CAP_CHECKPOINT_RESTORE, CRIU_MARK };
	cleanup_free gid_t *groups = NULL;
	int n = 2, count = 0;
	gid_t gid = (gid_t)-1;

	if (needs & ELEVATE_SECCOMP)
		caps[n++] = CAP_SYS_ADMIN; /* PTRACE_O_SUSPEND_SECCOMP, kernel/ptrace.c */
	if (needs & ELEVATE_TCP)
		/* TCP_REPAIR, net/ipv4/tcp.c, at a restore. At a dump it makes no use of that (repair.c), and
		 * has it so that nothing with CRIU_MARK alone may trace it, and have its images sealed. */
		caps[n++] = CAP_NET_ADMIN;
	if (needs & ELEVATE_PTRACE)
		caps[n++] = CAP_SYS_PTRACE; /* security/yama/yama_lsm.c */
	if (agent_groups(&groups, &count, &gid, e) < 0)
		return -1;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
	    setgroups((size_t)count, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(b->uid, b->uid, b->uid) < 0)
		return err_sys(e, "cannot become user id %u", b->uid);
	if (caps_exactly(caps, n, true, e) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (cap_set_ambient(caps[i], CAP_SET) < 0)
			return err_sys(e, "cannot make criu's capabilities ambient");
	return 0;
}

/* ---- cgroups ------------------------------------------------------------------------- */

/* Is each of the words of `all` ("cpu,cpuacct") in the list? */
static bool has_words(const char *list, const char *all)
{
	for (; *all; all += *all == ',') {
		size_t n = strcspn(all, ",");
		bool found = false;

		for (const char *at = list; !found && *at; at += *at == ',') {
			size_t m = strcspn(at, ",");

			found = m == n && !strncmp(at, all, n);
			at += m;
		}
		if (!found)
			return false;
		all += n;
	}
	return true;
}

static const struct mount_line *mount_of_group(const struct mount_line *lines,
					       size_t count, const char *controllers)
{
	for (size_t i = 0; i < count; i++)
		if (*controllers ? !strcmp(lines[i].type, "cgroup") &&
					   has_words(lines[i].options, controllers) :
				   !strcmp(lines[i].type, "cgroup2"))
			return &lines[i];
	return NULL;
}

static int join_group(const struct mount_line *mount, const char *path, struct err *e)
{
	char file[4096 + 64];
	cleanup_fd int fd = -1;

	snprintf(file, sizeof(file), "%s%s/cgroup.procs", mount->point, path);
	if ((fd = open(file, O_WRONLY | O_CLOEXEC)) < 0 || write(fd, "0", 1) != 1)
		return err_sys(e, "cannot enter the step's cgroup %s", file);
	return 0;
}

/* Its own line in the other text: it is there already. */
static bool is_there(const char *own, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = own; at && *at; at = strchr(at, '\n'), at += at != NULL)
		if (!strncmp(at, line, n) && at[n] == '\n')
			return true;
	return false;
}

static int join_groups(const struct broker *b, struct err *e)
{
	cleanup_free struct mount_line *lines = calloc(MOUNTS_MOST, sizeof(*lines));
	cleanup_free char *groups = NULL, *own = NULL, *mounts = NULL;
	char file[64], *rest, *line;
	size_t count;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", b->agent);
	if (!lines || file_read(AT_FDCWD, file, 1 << 16, &groups, e) < 0 ||
	    file_read(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &own, e) < 0 ||
	    file_read(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &mounts, e) < 0)
		return -1;
	count = mountinfo_parse(mounts, lines, MOUNTS_MOST);
	for (rest = groups; (line = strsep(&rest, "\n"));) {
		const struct mount_line *mount;
		char *controllers, *path;

		if (!*line || is_there(own, line))
			continue;
		if (!(controllers = strchr(line, ':')) ||
		    !(path = strchr(controllers + 1, ':')))
			return err_set(e, "the step's cgroups are not understood");
		controllers++;
		*path++ = '\0';
		if (!(mount = mount_of_group(lines, count, controllers)))
			return err_set(e, "the step's cgroup of %s is nowhere to be seen",
				       *controllers ? controllers : "version 2");
		if (join_group(mount, path, e) < 0)
			return -1;
	}
	return 0;
}

/* slurmstepd is spared where memory is short; criu is not to be. */
static void take_oom_score(const struct broker *b)
{
	cleanup_free char *score = NULL;
	cleanup_fd int fd = -1;
	char file[64];

	snprintf(file, sizeof(file), "/proc/%d/oom_score_adj", b->agent);
	if (file_read(AT_FDCWD, file, 64, &score, NULL) > 0 &&
	    (fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)) >= 0)
		file_write(fd, score, strlen(score), NULL);
}

int enter_groups(const struct broker *b, struct err *e)
{
	struct rlimit limit;
	cpu_set_t cpus;

	if (join_groups(b, e) < 0)
		return -1;
	take_oom_score(b);
	if (sched_getaffinity(b->agent, sizeof(cpus), &cpus) == 0)
		sched_setaffinity(0, sizeof(cpus), &cpus);
	/* As the agent does for its criu (agent.c). */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return 0;
}

/* ---- namespaces ------------------------------------------------------------------------ */

/*
 * What criu is loaded from is in the mount namespace. The user can have the agent enter one of
 * their own making, in a user namespace of theirs; so those count that the plugin made.
 */
static const struct {
	const char *name;
	int kind;
} spaces[SPACES] = {
	/* What its children are in, and it is itself (continue_clocks). */
	{ "time_for_children", CLONE_NEWTIME },
	{ "pid", CLONE_NEWPID },
	{ "ipc", CLONE_NEWIPC },
	{ "uts", CLONE_NEWUTS },
	{ "net", CLONE_NEWNET },
	{ "mnt", CLONE_NEWNS },
};

int keep_namespaces(struct broker *b, pid_t agent, struct err *e)
{
	for (int i = 0; i < SPACES; i++)
		b->spaces[i] = -1;
	for (int i = 0; i < SPACES; i++) {
		char file[64];

		snprintf(file, sizeof(file), "/proc/%d/ns/%s", agent, spaces[i].name);
		b->spaces[i] = open(file, O_RDONLY | O_CLOEXEC);
		if (b->spaces[i] < 0 && spaces[i].kind != CLONE_NEWTIME)
			return err_sys(e, "cannot open %s", file);
	}
	return 0;
}

int enter_namespaces(const struct broker *b, struct err *e)
{
	for (int i = 0; i < SPACES; i++)
		if (b->spaces[i] >= 0 && setns(b->spaces[i], spaces[i].kind) < 0)
			return err_sys(e, "cannot enter the step's namespaces");
	return chdir("/") < 0 ? err_sys(e, "cannot enter the step's namespaces") : 0;
}
