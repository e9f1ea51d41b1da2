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
 */
#include <elf.h>
#include <errno.h>
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

static void set_call(regs_t *r)
{
	r->rip -= SYSCALL_SIZE;
	r->rax = SYS_prctl;
	r->orig_rax = (unsigned long long)-1; /* nothing to restart */
	r->rdi = PR_SET_CHILD_SUBREAPER;
	r->rsi = 1;
	r->rdx = r->r10 = r->r8 = 0;
}

static long call_result(const regs_t *r)
{
	return (long)r->rax;
}

#elif defined(__aarch64__)

typedef struct user_regs_struct regs_t;
#define SYSCALL_SIZE 4

static void set_call(regs_t *r)
{
	r->pc -= SYSCALL_SIZE;
	r->regs[8] = SYS_prctl;
	r->regs[0] = PR_SET_CHILD_SUBREAPER;
	r->regs[1] = 1;
	r->regs[2] = r->regs[3] = r->regs[4] = 0;
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

static int become_subreaper(pid_t root, struct err *e)
{
	regs_t saved, call;

	if (wait_stop(root) < 0 || get_regs(root, &saved) < 0)
		return err_sys(e, "cannot prepare the restored root");
	call = saved;
	set_call(&call);
	if (set_regs(root, &call) < 0 ||
	    ptrace(PTRACE_SINGLESTEP, root, 0, 0) < 0 || wait_stop(root) < 0 ||
	    get_regs(root, &call) < 0 || call_result(&call) != 0 ||
	    set_regs(root, &saved) < 0)
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

int adopt_event(pid_t criu, int status, struct err *e)
{
	pid_t child = newborn(criu, status);
	int rc = 0;

	if (child < 0)
		return err_sys(e, "cannot watch criu");
	if (child == ROOT_PID)
		rc = become_subreaper(child, e);
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
