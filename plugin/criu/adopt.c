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
 * has not run yet, is made to call prctl once. It inherits what is set for criu (ptrace(2)).
 *
 * Of a criu with more capabilities than a program may have, the root gives those up then
 * that are only criu's own to use: all processes that criu makes descend from it, which is the first
 * of them, or none goes on. (Those that they need until their sockets are restored: in_tcp.c.) Each of their threads gives up
 * the rest by itself, when its memory is the user's to write to already, by way of those that
 * were quicker.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "call_in.h"
#include "sckpt/criu.h"

static int prepare(pid_t root, uint64_t keep, struct err *e)
{
	if (wait_stop(root) < 0 || call_in(root, SYS_prctl, PR_SET_CHILD_SUBREAPER, 1) < 0 ||
	    (keep && caps_keep(root, keep) < 0))
		return err_sys(e, "cannot prepare the restored root");
	return 0;
}

int adopt_begin(pid_t criu, struct err *e)
{
	if (ptrace(PTRACE_SEIZE, criu, 0,
		   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			   PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
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
		rc = wait_stop(child) == 0 && keep ? err_set(e, "criu has made process %d before the root", child) : 0;
	/* With what it has it is not to go on. The broker's runner, which is root without CAP_KILL, may send
	 * it no signal. */
	if (rc < 0)
		call_in(child, SYS_exit_group, 1, 0);
	else if (child)
		ptrace(PTRACE_DETACH, child, 0, 0);
	if (rc < 0 || child == ROOT_PID) {
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
