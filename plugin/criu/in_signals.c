/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu, at a restore: what it restores has the program's handlers of signals long before it has the
 * program's credentials (prepare_sigactions(), criu/sigact.c), and in the end the program's memory, too. So
 * criu blocks all signals first, but for SIGCHLD, whose handler comes last. But the C library blocks none
 * of the two that it has for its threads (32 and 33: SIGCANCEL and SIGSETXID, signal(7)), and a program can
 * have handlers of these by the system call: whoever may send it one would have it run code of the program's
 * in the middle of its restore. They are blocked here, till the program's own mask is there.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIBRARYS (UINT64_C(3) << (32 - 1))

__attribute__((visibility("default"))) int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	uint64_t mask = 0, was = 0;

	if (set)
		memcpy(&mask, set, sizeof(mask));
	if (how == SIG_SETMASK && getenv("SCKPT_RESTORES"))
		mask |= LIBRARYS;
	if (syscall(SYS_rt_sigprocmask, how, set ? &mask : NULL, &was, sizeof(mask)) < 0)
		return -1;
	if (old) {
		sigemptyset(old);
		memcpy(old, &was, sizeof(was));
	}
	return 0;
}
