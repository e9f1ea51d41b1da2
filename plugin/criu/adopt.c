/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Criu restores PR_SET_CHILD_SUBREAPER among the last things. Before that it
 * has made, and ended, the stand-ins for session and group leaders that were
 * dead already at the dump (cr-restore.c, restore_one_helper); what was below
 * them, every daemon that did a double fork, falls to PID 1 instead of the
 * root, is not below the root any more, and the next dump would miss it.
 *
 * So the root becomes a subreaper the moment criu has made it: criu is traced
 * from its pre-restore point until it clones the root, and the newborn, which
 * has not run yet, is made to call prctl once.
 *
 * Of a criu with more capabilities than a program may have, the root gives those up then
 * that are only criu's own to use: all processes that criu makes descend from it. Each of their
 * threads gives up the rest by itself, when its memory is the user's to write to already, by
 * way of those that were quicker.
 */
#include <elf.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "sckpt/criu.h"

#if defined(__x86_64__)

typedef struct user_regs_struct regs_t;
#define SYSCALL_SIZE 2 /* the newborn stands behind clone's syscall */

static void set_call(regs_t *r, long call, unsigned long one, unsigned long two)
{
	r->rip -= SYSCALL_SIZE;
	r->rax = (unsigned long)call;
	r->orig_rax = (unsigned long long)-1; /* nothing to restart */
	r->rdi = one;
	r->rsi = two;
	r->rdx = r->r10 = r->r8 = 0;
}

static unsigned long stack_of(const regs_t *r)
{
	return r->rsp;
}

static long call_result(const regs_t *r)
{
	return (long)r->rax;
}

#elif defined(__aarch64__)

typedef struct user_regs_struct regs_t;
#define SYSCALL_SIZE 4

static void set_call(regs_t *r, long call, unsigned long one, unsigned long two)
{
	r->pc -= SYSCALL_SIZE;
	r->regs[8] = (unsigned long)call;
	r->regs[0] = one;
	r->regs[1] = two;
	r->regs[2] = r->regs[3] = r->regs[4] = 0;
}

static unsigned long stack_of(const regs_t *r)
{
	return r->sp;
}

static long call_result(const regs_t *r)
{
	return (long)r->regs[0];
}

#else
#error "write set_call() and call_result() for this architecture"
#endif

static int get_regs(pid_t pid, regs_t *r)
{
	struct iovec iov = { r, sizeof(*r) };

	return (int)ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov);
}

static int set_regs(pid_t pid, regs_t *r)
{
	struct iovec iov = { r, sizeof(*r) };

	return (int)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &iov);
}

/* Waits for a stop of a traced task; -1 when it ended instead. */
static int wait_stop(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSTOPPED(status) ? 0 : -1;
}

/* Has the newborn, whose registers these are, do a system call. */
static int call_in(pid_t root, const regs_t *saved, long call, unsigned long one,
		   unsigned long two)
{
	regs_t r = *saved;

	set_call(&r, call, one, two);
	return set_regs(root, &r) < 0 || ptrace(PTRACE_SINGLESTEP, root, 0, 0) < 0 ||
			       wait_stop(root) < 0 || get_regs(root, &r) < 0 || call_result(&r) ?
		       -1 :
		       0;
}

/* Below what its stack is in use for, and below any red zone. */
#define SCRATCH 1024

static int keep_only(pid_t root, const regs_t *saved, uint64_t keep)
{
	/* capset(2) */
	struct {
		struct __user_cap_header_struct header;
		struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	} arguments = { .header = { _LINUX_CAPABILITY_VERSION_3, 0 } };
	unsigned long words[sizeof(arguments) / sizeof(unsigned long)];
	unsigned long at = (stack_of(saved) - SCRATCH) & ~15UL;

	_Static_assert(sizeof(words) == sizeof(arguments), "whole words");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		arguments.data[i].effective = arguments.data[i].permitted =
			arguments.data[i].inheritable = (uint32_t)(keep >> (32 * i));
	memcpy(words, &arguments, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (ptrace(PTRACE_POKEDATA, root, at + i * sizeof(words[0]), words[i]) < 0)
			return -1;
	return call_in(root, saved, SYS_capset, at, at + sizeof(arguments.header));
}

static int prepare(pid_t root, uint64_t keep, struct err *e)
{
	regs_t saved;

	if (wait_stop(root) < 0 || get_regs(root, &saved) < 0 ||
	    call_in(root, &saved, SYS_prctl, PR_SET_CHILD_SUBREAPER, 1) < 0 ||
	    (keep && keep_only(root, &saved, keep) < 0) || set_regs(root, &saved) < 0)
		return err_sys(e, "cannot prepare the restored root");
	return 0;
}

int adopt_begin(pid_t criu, struct err *e)
{
	if (ptrace(PTRACE_SEIZE, criu, 0,
		   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			   PTRACE_O_TRACECLONE) < 0)
		return err_sys(e, "cannot watch criu");
	return 0;
}

/* The child of a fork or clone that criu stopped at; 0: it is another stop. */
static pid_t newborn(pid_t criu, int status)
{
	int event = status >> 16;
	unsigned long child = 0;

	if (event != PTRACE_EVENT_FORK && event != PTRACE_EVENT_VFORK &&
	    event != PTRACE_EVENT_CLONE)
		return 0;
	return ptrace(PTRACE_GETEVENTMSG, criu, 0, &child) < 0 ? -1 :
								 (pid_t)child;
}

/* The signal of a stop that is one's arrival, to be handed on. */
static long stop_signal(int status)
{
	return status >> 16 ? 0 : WSTOPSIG(status);
}

int adopt_event(pid_t criu, int status, uint64_t keep, struct err *e)
{
	pid_t child = newborn(criu, status);
	int rc = 0;

	if (child < 0)
		return err_sys(e, "cannot watch criu");
	if (child == ROOT_PID)
		rc = prepare(child, keep, e);
	else if (child)
		wait_stop(child);
	if (child)
		ptrace(PTRACE_DETACH, child, 0, 0);
	if (child == ROOT_PID) {
		ptrace(PTRACE_DETACH, criu, 0, 0);
		return rc < 0 ? -1 : 1;
	}
	ptrace(PTRACE_CONT, criu, 0, stop_signal(status));
	return 0;
}

void adopt_stop(pid_t criu)
{
	/* Only a task that is stopped can be let go. */
	ptrace(PTRACE_INTERRUPT, criu, 0, 0);
}

void adopt_let_go(pid_t criu, int status)
{
	pid_t child = newborn(criu, status);

	if (child > 0) {
		wait_stop(child);
		ptrace(PTRACE_DETACH, child, 0, 0);
	}
	ptrace(PTRACE_DETACH, criu, 0, stop_signal(status));
}
