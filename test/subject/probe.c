/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe [--plain|--all] [ARGS…]: what a program sees of how it was started, one
 * key=value a line. Plain, which is the default, it is without what two runs of a
 * job differ in anyway (PIDs, job numbers, times) and without what sckpt changes
 * on purpose (capabilities, no_new_privs): two such outputs can be compared.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int plain;

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A value stays on its line. */
static void show(const char *key, const char *value)
{
	printf("%s=", key);
	for (; *value; value++)
		if (isprint((unsigned char)*value) && *value != '\\')
			putchar(*value);
		else
			printf("\\%03o", (unsigned char)*value);
	putchar('\n');
}

/* Names whose value is another one in each run: that they are there is told. */
static int differs(const char *name, size_t n)
{
	static const char *const names[] = {
		"SLURM_JOB_ID",		"SLURM_JOBID",
		"SLURM_STEP_ID",	"SLURM_STEPID",
		"SLURM_TASK_PID",	"SLURM_JOB_START_TIME",
		"SLURM_JOB_END_TIME",	"SLURM_SRUN_COMM_PORT",
		"SLURM_LAUNCH_NODE_IPADDR", "SLURM_STEP_LAUNCHER_PORT",
		"SLURM_ARRAY_JOB_ID",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == n && !strncmp(names[i], name, n))
			return 1;
	return 0;
}

static void environment(void)
{
	size_t n = 0;

	while (environ[n])
		n++;
	qsort(environ, n, sizeof(*environ), by_text);
	for (size_t i = 0; i < n; i++) {
		char key[512];
		size_t len = strcspn(environ[i], "=");

		snprintf(key, sizeof(key), "env.%.*s", (int)len, environ[i]);
		if (plain && differs(environ[i], len))
			show(key, "(set)");
		else
			show(key, environ[i] + len + (environ[i][len] == '='));
	}
}

static void limit(const char *key, rlim_t value)
{
	if (value == RLIM_INFINITY)
		printf("%s=unlimited\n", key);
	else
		printf("%s=%llu\n", key, (unsigned long long)value);
}

static void limits(void)
{
	static const char *const names[] = {
		[RLIMIT_CPU] = "cpu",	       [RLIMIT_FSIZE] = "fsize",
		[RLIMIT_DATA] = "data",	       [RLIMIT_STACK] = "stack",
		[RLIMIT_CORE] = "core",	       [RLIMIT_RSS] = "rss",
		[RLIMIT_NPROC] = "nproc",      [RLIMIT_NOFILE] = "nofile",
		[RLIMIT_MEMLOCK] = "memlock",  [RLIMIT_AS] = "as",
		[RLIMIT_LOCKS] = "locks",      [RLIMIT_SIGPENDING] = "sigpending",
		[RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice",
		[RLIMIT_RTPRIO] = "rtprio",    [RLIMIT_RTTIME] = "rttime",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct rlimit r;
		char key[64];

		if (getrlimit((__rlimit_resource_t)i, &r) < 0)
			continue;
		snprintf(key, sizeof(key), "rlimit.%s.soft", names[i]);
		limit(key, r.rlim_cur);
		snprintf(key, sizeof(key), "rlimit.%s.hard", names[i]);
		limit(key, r.rlim_max);
	}
}

static void descriptor(int fd, const char *link)
{
	static const char *const modes[] = { "read", "write", "read-write",
					     "none" };
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	printf("fd.%d=", fd);
	/* The inode numbers of pipes and sockets are others in each run. */
	if (S_ISFIFO(st.st_mode))
		fputs("pipe", stdout);
	else if (S_ISSOCK(st.st_mode))
		fputs("socket", stdout);
	else
		printf("%s %s",
		       S_ISREG(st.st_mode) ? "file" :
		       S_ISDIR(st.st_mode) ? "directory" :
		       isatty(fd)	   ? "terminal" :
		       S_ISCHR(st.st_mode) ? "device" :
					     "other",
		       link);
	printf(" %s flags=%#o cloexec=%d\n", modes[flags & O_ACCMODE],
	       (unsigned)(flags & ~O_ACCMODE), fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int fds[4096];
	size_t n = 0;

	if (!dir)
		return;
	while ((entry = readdir(dir)) && n < sizeof(fds) / sizeof(fds[0]))
		if (isdigit((unsigned char)*entry->d_name) &&
		    atoi(entry->d_name) != dirfd(dir))
			fds[n++] = atoi(entry->d_name);
	qsort(fds, n, sizeof(*fds), by_number);
	for (size_t i = 0; i < n; i++) {
		char path[64], link[256];
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		len = readlink(path, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = '\0';
		descriptor(fds[i], link);
	}
	closedir(dir);
}

static void status(void)
{
	static const char *const always[] = {
		"Umask:",  "Uid:",    "Gid:",	      "Groups:",       "SigPnd:",
		"ShdPnd:", "SigBlk:", "SigIgn:",      "SigCgt:",       "Seccomp:",
		"Threads:", "Cpus_allowed:", "Mems_allowed:", "Speculation",
	};
	FILE *f = fopen("/proc/self/status", "r");
	char line[8192], key[128];

	while (f && fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ':');
		int wanted = !plain && (!strncmp(line, "Cap", 3) ||
					!strncmp(line, "NoNewPrivs", 10));

		for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
			wanted |= !strncmp(line, always[i], strlen(always[i]));
		if (!value || !wanted)
			continue;
		line[strcspn(line, "\n")] = '\0';
		*value++ = '\0';
		snprintf(key, sizeof(key), "status.%.100s", line);
		for (char *c = value; *c; c++)
			*c = *c == '\t' ? ' ' : *c;
		show(key, value + strspn(value, " "));
	}
	if (f)
		fclose(f);
}

static void content(const char *key, const char *path)
{
	char text[4096] = "";
	FILE *f = fopen(path, "r");

	if (!f || !fgets(text, sizeof(text), f))
		snprintf(text, sizeof(text), "(%s)", strerror(errno));
	if (f)
		fclose(f);
	text[strcspn(text, "\n")] = '\0';
	show(key, text);
}

static void number(const char *key, long value)
{
	printf("%s=%ld\n", key, value);
}

static long got(int what)
{
	int value = 0;

	return prctl(what, &value, 0, 0, 0) == 0 ? value : -1;
}

int main(int argc, char *argv[])
{
	struct sched_param param = { .sched_priority = 0 };
	char cwd[4096], key[64];
	int terminal;

	plain = argc < 2 || strcmp(argv[1], "--all") != 0;
	number("argc", argc);
	for (int i = 0; i < argc; i++) {
		snprintf(key, sizeof(key), "argv.%d", i);
		show(key, argv[i]);
	}
	show("cwd", getcwd(cwd, sizeof(cwd)) ? cwd : strerror(errno));
	environment();
	limits();
	descriptors();
	status();
	content("oom_score_adj", "/proc/self/oom_score_adj");
	number("nice", getpriority(PRIO_PROCESS, 0));
	number("scheduler", sched_getscheduler(0));
	sched_getparam(0, &param);
	number("priority", param.sched_priority);
	printf("personality=%#x\n", (unsigned)personality(0xffffffff));
	number("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	number("timerslack_ns", prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	number("keepcaps", prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0));
	number("thp_disable", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	number("parent_death_signal", got(PR_GET_PDEATHSIG));
	number("child_subreaper", got(PR_GET_CHILD_SUBREAPER));
	terminal = open("/dev/tty", O_RDWR | O_NOCTTY);
	show("controlling_terminal", terminal < 0 ? "none" : "yes");
	number("leads_process_group", getpgrp() == getpid());
	number("leads_session", getsid(0) == getpid());
	if (plain)
		return 0;
	printf("securebits=%#x\n", (unsigned)prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	number("pid", getpid());
	number("ppid", getppid());
	number("pgid", getpgrp());
	number("sid", getsid(0));
	return 0;
}
