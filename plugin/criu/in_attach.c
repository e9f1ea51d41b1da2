/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore, where it has more capabilities than its user.
 *
 * When all is restored but credentials and seccomp filters, criu attaches to its tasks one after
 * the other (attach_to_tasks(), criu/cr-restore.c), and goes on also where it could not: the user, who
 * may kill one of them, could have the others get the program's filters and credentials with
 * nobody holding the filters off. One that lets capset do nothing leaves its thread what criu
 * had, in memory that the user can write to by way of its mates.
 *
 * So before it attaches to the first one, all tasks that it has made are seized here, die with
 * criu, and stand still until it comes to them; and it ends if one is not as it should be. They
 * are known by what they are permitted, and no process of the user's is (broker/enter.c). What
 * tells them from the user's they lose then, before any of them goes on: with that, code of the user's
 * in one of them could write to what the others have in common with criu.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call_in.h"
#include "in_attach.h"
#include "in_tcp.h"
#include "sckpt/criu.h"

#define BIT(cap) (UINT64_C(1) << (cap))
/* caps_of_restored(), broker/enter.c */
#define RESTORED (BIT(CAP_CHECKPOINT_RESTORE) | BIT(CRIU_MARK))

struct task {
	pid_t tid, pid;
	bool stands;
};

static struct task *tasks; /* by tid */
static size_t count;
static bool done;

static void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(errno));
	_exit(1);
}

/* Not in_trace.c's. */
static long trace(int request, pid_t tid, unsigned long data)
{
	return syscall(SYS_ptrace, request, tid, NULL, data);
}

/* ---- all tasks ------------------------------------------------------------------------------ */

static void hold(pid_t pid, pid_t tid)
{
	static size_t room;

	if (count == room) {
		struct task *more = realloc(tasks, (room = room ? room * 2 : 64) * sizeof(*more));

		if (!more)
			give_up("cannot attach to %d", (int)tid);
		tasks = more;
	}
	if (trace(PTRACE_SEIZE, tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0 ||
	    trace(PTRACE_INTERRUPT, tid, 0) < 0 || wait_stop(tid) < 0)
		give_up("cannot attach to %d", (int)tid);
	tasks[count++] = (struct task){ tid, pid, true };
}

/* Its threads wait for criu, and make no others. */
static void hold_process(pid_t pid)
{
	const size_t first = count;
	char path[32];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if (!(dir = opendir(path)))
		give_up("cannot attach to %d", (int)pid);
	while ((errno = 0, d = readdir(dir)))
		if (*d->d_name != '.')
			hold(pid, atoi(d->d_name));
	if (errno)
		give_up("cannot attach to %d", (int)pid);
	closedir(dir);
	if (tcp_go_on(pid) < 0)
		give_up("cannot restore the connections of %d", (int)pid);
	errno = EPERM;
	for (size_t i = first; i < count; i++)
		if (caps_of(tasks[i].tid) != RESTORED)
			give_up("%d has more than it should", (int)tasks[i].tid);
}

/* Zombies are restored as that, and criu attaches to none. */
static bool is_zombie(pid_t pid)
{
	char path[32], stat[512], *at;
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((f = fopen(path, "re"))) {
		n = fread(stat, 1, sizeof(stat) - 1, f);
		fclose(f);
	}
	stat[n] = '\0';
	return (at = strrchr(stat, ')')) && at[1] == ' ' && at[2] == 'Z';
}

static int by_tid(const void *a, const void *b)
{
	const struct task *one = a, *other = b;

	return (one->tid > other->tid) - (one->tid < other->tid);
}

void attach_all(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;

	if (!dir)
		give_up("cannot look for what was restored");
	while ((errno = 0, d = readdir(dir))) {
		const pid_t pid = atoi(d->d_name);

		if (pid > 0 && pid != getpid() && (caps_of(pid) & ~NET_ADMIN) == RESTORED &&
		    !is_zombie(pid))
			hold_process(pid);
	}
	if (errno)
		give_up("cannot look for what was restored");
	closedir(dir);
	for (size_t i = 0; i < count; i++)
		if (caps_keep(tasks[i].tid, BIT(CAP_CHECKPOINT_RESTORE)) < 0)
			give_up("%d keeps what it has", (int)tasks[i].tid);
	errno = EPERM;
	for (size_t i = 0; i < count; i++)
		if (caps_of(tasks[i].tid) != BIT(CAP_CHECKPOINT_RESTORE))
			give_up("%d has more than it should", (int)tasks[i].tid);
	qsort(tasks, count, sizeof(*tasks), by_tid);
	done = true;
}

bool attach_done(void)
{
	return done;
}

/* ---- criu ------------------------------------------------------------------------------------- */

static struct task *find(pid_t tid)
{
	const struct task key = { .tid = tid };
	struct task *task = bsearch(&key, tasks, count, sizeof(*tasks), by_tid);

	errno = ESRCH;
	if (!task)
		attach_failed(tid);
	return task;
}

void attach_failed(pid_t tid)
{
	give_up("cannot attach to %d, which was restored", (int)tid);
}

void attach_seize(pid_t tid)
{
	find(tid);
}

/* It waits for a stop that comes now. */
void attach_interrupt(pid_t tid)
{
	struct task *task = find(tid);

	if (task->stands && trace(PTRACE_CONT, tid, 0) < 0)
		attach_failed(tid);
	task->stands = false;
	if (trace(PTRACE_INTERRUPT, tid, 0) < 0)
		attach_failed(tid);
}

size_t attach_threads(pid_t pid)
{
	size_t n = 0;

	find(pid);
	for (size_t i = 0; i < count; i++)
		n += tasks[i].pid == pid;
	return n;
}
