/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore: what it restores has the program's handlers of signals long before it has the
 * program's credentials (prepare_sigactions(), criu/sigact.c), and in the end the program's memory, too. So
 * criu blocks all signals first, but for SIGCHLD, whose handler comes last. But the C library blocks none
 * of the two that it has for its threads (32 and 33: SIGCANCEL and SIGSETXID, signal(7)), and a program can
 * have handlers of these by the system call: whoever may send it one would have it run code of the program's
 * in the middle of its restore. They are blocked here, till the program's own mask is there.
 *
 * The stand-in of a zombie has the handlers of its parent, and unblocks all before it ends
 * (zombie_prepare_signals(), criu/cr-restore.c), and only then takes them back. Here it has none before.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIBRARYS (UINT64_C(3) << (32 - 1))

static void ignore(uint64_t mask)
{
	for (int n = 1; n <= 64; n++)
		if (mask >> (n - 1) & 1 && n != SIGCHLD)
			signal(n, SIG_IGN); /* what has been sent is gone, too */
}

__attribute__((visibility("default"))) int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	uint64_t mask = 0, was = 0;

	if (set)
		memcpy(&mask, set, sizeof(mask));
	if (how == SIG_SETMASK && getenv("SCKPT_RESTORES"))
		mask |= LIBRARYS;
	if (how == SIG_UNBLOCK && getenv("SCKPT_RESTORES"))
		ignore(mask &= ~LIBRARYS);
	if (syscall(SYS_rt_sigprocmask, how, set ? &mask : NULL, &was, sizeof(mask)) < 0)
		return -1;
	if (old) {
		sigemptyset(old);
		memcpy(old, &was, sizeof(was));
	}
	return 0;
}
