/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * captest [-n] [PROGRAM…]: tries to get, from inside a step, any capability but
 * CAP_CHECKPOINT_RESTORE, and tells of each attempt what came of it. A PROGRAM is
 * set-user-id or has file capabilities and acts as cat (a copy of cat, chmod u+s). With -n
 * the step is to be under no_new_privs: that it is not is a gain, too.
 * Exit 0: nothing else was ever gained; 1: something was.
 *
 * Attempts are made in children of their own, so that none helps or hinders the
 * next. What is "gained" are capabilities neither held before nor
 * CAP_CHECKPOINT_RESTORE: in one's own sets, or in those of a process that may be
 * controlled.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OURS (UINT64_C(1) << CAP_CHECKPOINT_RESTORE)

/* Inheritable, permitted, effective and ambient together. */
static uint64_t before;

static uint64_t caps_in(const char *text)
{
	static const char *const sets[] = { "CapInh:", "CapPrm:", "CapEff:",
					    "CapAmb:" };
	uint64_t caps = 0;

	for (int i = 0; i < 4; i++) {
		const char *at = strstr(text, sets[i]);

		caps |= at ? strtoull(at + 7, NULL, 16) : 0;
	}
	return caps;
}

static uint64_t caps_of(const char *pid)
{
	char path[64], text[8192] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return caps_in(text);
}

/* Prints the line of an attempt, with what was gained as a mask; returns whether
 * anything was. */
static int told(const char *what, int allowed, int error, uint64_t after)
{
	uint64_t more = after & ~before & ~OURS;

	if (!allowed) {
		printf("%s: denied (%s)\n", what, strerrorname_np(error));
		return 0;
	}
	printf("%s: allowed, gained %llx\n", what, (unsigned long long)more);
	return more != 0;
}

/* First the call, then errno, then what the sets are: in this order. */
#define ATTEMPT(what, call, whose) \
	do { \
		int allowed_ = (call), error_ = errno; \
\
		gained |= told(what, allowed_, error_, whose); \
	} while (0)

/* Runs one attempt in a child; what returns 0 says so in its exit status. */
static int in_child(int (*attempt)(const char *), const char *arg)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int gained = attempt(arg);

		fflush(stdout);
		_exit(gained);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
		printf("an attempt ended with status %#x\n", (unsigned)status);
		return 1;
	}
	return WEXITSTATUS(status);
}

/* ---- other processes -------------------------------------------------------- */

static int try_process(const char *pid)
{
	uint64_t its = caps_of(pid);
	struct iovec here = { "", 1 }, there = { NULL, 1 };
	int number = atoi(pid), gained = 0, fd, pidfd;
	char what[64];

	snprintf(what, sizeof(what), "ptrace of %s", pid);
	ATTEMPT(what, ptrace(PTRACE_SEIZE, number, 0, 0) == 0, its);

	snprintf(what, sizeof(what), "/proc/%s/mem", pid);
	ATTEMPT(what, (fd = open(what, O_RDWR | O_CLOEXEC)) >= 0, its);
	if (fd >= 0)
		close(fd);

	/* To address 0, where nothing is: EFAULT comes after the permission. */
	snprintf(what, sizeof(what), "process_vm_writev to %s", pid);
	errno = 0;
	ATTEMPT(what,
		process_vm_writev(number, &here, 1, &there, 1, 0) >= 0 ||
			errno == EFAULT,
		its);

	pidfd = (int)syscall(SYS_pidfd_open, number, 0);
	for (int n = 0, taken = -1, error = errno; pidfd >= 0; n++) {
		taken = (int)syscall(SYS_pidfd_getfd, pidfd, n, 0);
		error = errno;
		if (taken < 0 && error == EBADF && n < 64)
			continue;
		snprintf(what, sizeof(what), "pidfd_getfd of %d from %s", n, pid);
		gained |= told(what, taken >= 0, error, its);
		if (taken < 0 || n == 64)
			break;
	}
	snprintf(what, sizeof(what), "/proc/%s/fd", pid);
	ATTEMPT(what, open(what, O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0, its);
	return gained;
}

static int try_processes(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int gained = 0;

	while (proc && (entry = readdir(proc)))
		if (isdigit((unsigned char)*entry->d_name) &&
		    atoi(entry->d_name) != getpid())
			gained |= in_child(try_process, entry->d_name);
	if (proc)
		closedir(proc);
	return gained;
}

/* ---- one's own sets ------------------------------------------------------------ */

static int set_caps(int cap, int permitted)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	uint32_t bit = UINT32_C(1) << cap % 32;

	if (syscall(SYS_capget, &h, d) < 0)
		return -1;
	if (permitted) {
		d[cap / 32].permitted |= bit;
		d[cap / 32].effective |= bit;
	} else
		d[cap / 32].inheritable |= bit;
	if (syscall(SYS_capset, &h, d) < 0 || syscall(SYS_capget, &h, d) < 0)
		return -1;
	/* Bits the kernel does not know are dropped in silence. */
	if ((permitted ? d[cap / 32].permitted : d[cap / 32].inheritable) & bit)
		return 0;
	errno = EINVAL;
	return -1;
}

static int try_capability(const char *text)
{
	int cap = atoi(text), gained = 0;
	char what[64];

	snprintf(what, sizeof(what), "capset, permitted %d", cap);
	ATTEMPT(what, set_caps(cap, 1) == 0, caps_of("self"));
	snprintf(what, sizeof(what), "capset, inheritable %d", cap);
	ATTEMPT(what, set_caps(cap, 0) == 0, caps_of("self"));
	snprintf(what, sizeof(what), "ambient %d", cap);
	ATTEMPT(what, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) == 0,
		caps_of("self"));
	return gained;
}

static int try_self(const char *unused)
{
	int gained = 0;

	(void)unused;
	/* Root's meaning changed for what is executed later; keepcaps alone, at
	 * the end, anybody may set. */
	ATTEMPT("securebits", prctl(PR_SET_SECUREBITS, 0x2f, 0, 0, 0) == 0,
		caps_of("self"));
	ATTEMPT("dropping from the bounding set",
		prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) == 0,
		caps_of("self"));
	ATTEMPT("setuid to 0", setresuid(0, 0, 0) == 0, caps_of("self"));
	ATTEMPT("setgid to 0", setresgid(0, 0, 0) == 0, caps_of("self"));
	ATTEMPT("keepcaps", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0,
		caps_of("self"));
	return gained;
}

/* ---- a user namespace: everything inside, and outside? --------------------------- */

static int try_namespace(const char *unused)
{
	struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };
	struct { const char *what; int ok, error; } tries[5];
	char host[65] = "";
	int gained = 0, fd, n = 0;

	(void)unused;
	/* Opened before: these belong to the namespace around this one. */
	fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	gethostname(host, sizeof(host) - 1);
	if (unshare(CLONE_NEWUSER) < 0)
		return told("unshare of the user namespace", 0, errno, 0);
	/* All of them, but only over what belongs to it. */
	printf("unshare of the user namespace: allowed, gained 0 outside it\n");
#define TRY(text, call) \
	do { \
		tries[n].what = "in a user namespace, " text; \
		tries[n].ok = (call) >= 0; \
		tries[n++].error = errno; \
	} while (0)
	TRY("sethostname outside it", sethostname(host, strlen(host)));
	TRY("setns to the mounts of 1", setns(fd, CLONE_NEWNS));
	TRY("a raised hard limit", getrlimit(RLIMIT_NPROC, &r) ||
		    r.rlim_max == RLIM_INFINITY ?
		    (errno = ERANGE, -1) :
		    setrlimit(RLIMIT_NPROC, &(struct rlimit){
						    r.rlim_cur, RLIM_INFINITY }));
	TRY("a mount outside it", mount("none", "/proc", "tmpfs", 0, NULL));
	TRY("writing to /proc/1/mem", open("/proc/1/mem", O_RDWR | O_CLOEXEC));
	for (int i = 0; i < n; i++) {
		printf("%s: %s", tries[i].what, tries[i].ok ? "allowed" : "denied");
		if (tries[i].ok)
			puts(", gained power over what is outside");
		else
			printf(" (%s)\n", strerrorname_np(tries[i].error));
		gained |= tries[i].ok;
	}
	return gained;
}

/* ---- programs that give more by themselves ----------------------------------------- */

/* -n was given. */
static int bound;

/* Where nothing forbids it, a set-user-id program is root, with sckpt or without.
 * Under no_new_privs it must not be, nor where that has to be set. */
static int try_program(const char *program)
{
	char text[8192] = "", what[512];
	const char *uid;
	int p[2], euid = -1, forbidden;
	size_t size = 0;
	ssize_t n;
	uint64_t its;

	if (pipe(p) < 0)
		return 1;
	if (fork() == 0) {
		dup2(p[1], 1);
		execl(program, program, "/proc/self/status", (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	while ((n = read(p[0], text + size, sizeof(text) - 1 - size)) > 0)
		size += (size_t)n;
	wait(NULL);
	its = caps_in(text);
	uid = strstr(text, "Uid:");
	if (!uid || sscanf(uid, "Uid: %*d %d", &euid) != 1) {
		snprintf(what, sizeof(what), "exec of %s", program);
		return told(what, 0, EACCES, 0);
	}
	forbidden = strstr(text, "NoNewPrivs:\t1") != NULL;
	its &= ~before & ~OURS;
	printf("exec of %s: gained %llx, %s\n", program, (unsigned long long)its,
	       forbidden ? "no_new_privs" : "as setuid programs do");
	printf("exec of %s: euid %d\n", program, euid);
	return (forbidden || bound) && (its || euid != (int)geteuid());
}

int main(int argc, char *argv[])
{
	int gained = 0, first = 1;
	char text[16];

	if (argc > 1 && !strcmp(argv[1], "-n"))
		bound = first++;
	/* What it should not have had to begin with counts as gained, always. */
	gained = told("as started", 1, 0, caps_of("self"));
	before = gained ? 0 : caps_of("self");
	gained |= try_processes();
	for (int cap = 0; cap < 64; cap++) {
		snprintf(text, sizeof(text), "%d", cap);
		gained |= in_child(try_capability, text);
	}
	gained |= in_child(try_self, "");
	gained |= in_child(try_namespace, "");
	if (bound && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
		puts("no_new_privs is not set, gained what set-user-id programs give");
		gained = 1;
	}
	for (int i = first; i < argc; i++)
		gained |= in_child(try_program, argv[i]);
	gained |= told("in the end", 1, 0, caps_of("self"));
	return gained;
}
