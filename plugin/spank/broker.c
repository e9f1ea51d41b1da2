/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The step's broker (include/sckpt/broker.h): started in slurmstepd, as root; its socket's
 * other end is what the task that becomes the agent inherits.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/broker.h"
#include "spank_sckpt.h"

#define ITS_FD 3
#define HELLO_MS 10000

/* [0] is the agent's, [1] the broker's. */
static int pair[2] = { -1, -1 };

static int spawn(const struct spec *spec, uid_t uid, struct err *e)
{
	const char *slurm_conf = getenv("SLURM_CONF");
	char job[16], user[16], what[16], fd[8], where[600];
	char *argv[] = { BROKER_PATH, fd, job, (char *)spec->id, user,
			 (char *)spec->cluster, (char *)spec->criu, what, NULL };
	char *envp[] = { "PATH=/usr/bin:/bin", "LC_ALL=C", slurm_conf ? where : NULL, NULL };
	posix_spawn_file_actions_t files;
	int rc, status = -1;
	pid_t pid;

	snprintf(fd, sizeof(fd), "%d", ITS_FD);
	snprintf(job, sizeof(job), "%u", spec->job);
	snprintf(user, sizeof(user), "%u", uid);
	snprintf(what, sizeof(what), "%d", spec->elevate);
	snprintf(where, sizeof(where), "SLURM_CONF=%s", slurm_conf ? slurm_conf : "");
	posix_spawn_file_actions_init(&files);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_addopen(&files, i, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&files, pair[1], ITS_FD);
	posix_spawn_file_actions_addclosefrom_np(&files, ITS_FD + 1);
	rc = run_spawn(argv, envp, &files, NULL, &pid, e);
	posix_spawn_file_actions_destroy(&files);
	/* It goes on in a child. */
	if (rc == 0 && (waitpid(pid, &status, 0) < 0 || status))
		rc = err_set(e, "sckpt-broker does not start (wait status 0x%04x)", status);
	return rc;
}

void broker_start(spank_t sp, struct spec *spec)
{
	struct err e = { "" };
	uid_t uid = 0;
	int at;

	spank_get_item(sp, S_JOB_UID, &uid);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		err_sys(&e, "cannot make the broker's socket");
	} else if (pair[1] == ITS_FD && (at = fcntl(pair[1], F_DUPFD_CLOEXEC, ITS_FD + 1)) >= 0) {
		/* dup2 to itself would leave it close-on-exec. */
		close(pair[1]);
		pair[1] = at;
	}
	if (*e.text || spawn(spec, uid, &e) < 0) {
		slurm_error(SAYS "%s", e.text);
		close_fd(&pair[0]);
	}
	close_fd(&pair[1]);
}

void broker_forked(void)
{
	close_fd(&pair[0]);
}

int broker_greet(struct spec *spec, struct err *e)
{
	static struct broker_message m;
	struct pollfd p = { .fd = pair[0], .events = POLLIN };
	int none = 0;

	spec->broker = -1;
	m = (struct broker_message){ .word = BROKER_HELLO };
	if (pair[0] < 0)
		return err_set(e, "it has no broker");
	if (broker_send(pair[0], &m, NULL, 0, e) < 0)
		return -1;
	if (poll(&p, 1, HELLO_MS) <= 0 ||
	    broker_receive(pair[0], &m, NULL, &none, NULL, e) <= 0 ||
	    m.word != BROKER_GRANTED)
		return err_set(e, "sckpt-broker does not answer");
	spec->elevate &= m.value;
	spec->broker = pair[0];
	fcntl(pair[0], F_SETFD, 0);
	return 0;
}
