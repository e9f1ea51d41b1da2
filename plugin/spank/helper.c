/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Becoming one of the helpers outside of the step's namespaces, with nothing of
 * slurmstepd left: no descriptor but stderr and its own, no environment, no
 * capability, no memory. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper.h"

int helper_prepare(struct helper *h, const char *path, const int *fds, int count,
		   struct err *e)
{
	const char *slurm_conf = getenv("SLURM_CONF");

	*h = (struct helper){
		.argv = { (char *)path, h->pid },
		.envp = { "PATH=/usr/bin:/bin", "LC_ALL=C",
			  slurm_conf ? h->conf : NULL, NULL },
		.none = cap_init(),
		.own_pids = -1,
		.count = count
	};
	if (slurm_conf)
		snprintf(h->conf, sizeof(h->conf), "SLURM_CONF=%s", slurm_conf);
	/* Above all numbers that they become. */
	for (int i = 0; i < count; i++) {
		h->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
		if (h->fds[i] < 0)
			return err_sys(e, "cannot prepare %s", path);
	}
	return h->none ? 0 : err_sys(e, "cannot prepare %s", path);
}

void helper_drop(struct helper *h)
{
	cap_free(h->none);
	close_fd(&h->own_pids);
	for (int i = 0; i < h->count; i++)
		close(h->fds[i]);
}

void helper_become(struct helper *h, pid_t other)
{
	sigset_t all;
	bool good;

	/* What arrives from here on waits for the helper. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	snprintf(h->pid, sizeof(h->pid), "%d", other);
	good = (h->own_pids < 0 || setns(h->own_pids, CLONE_NEWPID) == 0) &&
	       cap_set_proc(h->none) == 0 &&
	       prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0;
	for (int i = 0; good && i < h->count; i++)
		good = dup2(h->fds[i], HELPER_FD + i) >= 0;
	if (!good ||
	    syscall(SYS_close_range, (unsigned)(HELPER_FD + h->count), ~0U, 0U) < 0 ||
	    chdir("/") < 0 || execve(h->argv[0], h->argv, h->envp) < 0)
		slurm_error(SAYS "cannot become %s: %m", h->argv[0]);
	_exit(1);
}
