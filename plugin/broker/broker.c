/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-broker FD JOB STEP UID CLUSTER CRIU ELEVATE: started by the plugin, as root, and
 * living as long as slurmstepd and the step's agent do.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"

#define ABOVE SCKPT_RUN_DIR "/broker" /* nobody but root gets through */

static int pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* ---- the directory of criu's socket --------------------------------------------------- */

static int make_dir(struct broker *b, struct err *e)
{
	struct stat st;

	snprintf(b->dir, sizeof(b->dir), ABOVE "/%u.%s", b->job, b->step);
	if (mkdir(ABOVE, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", ABOVE);
	if (lstat(ABOVE, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid || (st.st_mode & 077))
		return err_set(e, "%s is not root's alone", ABOVE);
	if (mkdir(b->dir, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", b->dir);
	if (chmod(b->dir, 0755) < 0 ||
	    (b->images = open(b->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_sys(e, "cannot open %s", b->dir);
	return 0;
}

static void drop_dir(struct broker *b)
{
	if (b->images >= 0) {
		unlinkat(b->images, "streamer-capture.sock", 0);
		unlinkat(b->images, "streamer-serve.sock", 0);
		unlinkat(b->images, HOOK_NAME, 0);
		unlinkat(b->images, REPAIR_NAME, 0);
	}
	close_fd(&b->images);
	rmdir(b->dir);
}

/* ---- one request ----------------------------------------------------------------------- */

/* It has told the agent how it went. */
static bool ended_well(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The agent waits for a word. */
static void refuse(const struct broker *b, const char *text)
{
	static struct broker_message m;

	m = (struct broker_message){ .word = BROKER_REFUSED };
	m.size = (uint32_t)snprintf(m.text, sizeof(m.text), "%s", text);
	say("%s", text);
	/* An agent that does not read is not waited for: nobody else writes now. */
	if (poll(&(struct pollfd){ b->sock, POLLOUT, 0 }, 1, 0) > 0)
		broker_send(b->sock, &m, NULL, 0, NULL);
}

/* The runner is a child of what has entered the PID namespace. */
static void __attribute__((noreturn))
enter_and_run(struct broker *b, struct broker_message *m, int *fds, int count, int keeper)
{
	struct err e = { "" };
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (enter_groups(b, &e) < 0 || enter_namespaces(b, &e) < 0 ||
	    ((pid = fork()) < 0 && err_sys(&e, "cannot fork") < 0)) {
		refuse(b, e.text);
		_exit(0);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		run(b, m, fds + 1, count - 1, keeper);
	}
	/* What is not the runner's holds nothing open. */
	syscall(SYS_close_range, 3U, ~0U, 0U);
	_exit(ended_well(pid) ? 0 : 1);
}

static void __attribute__((noreturn))
serve(struct broker *b, struct broker_message *m, int *fds, int count)
{
	pid_t keeper, runner = -1;
	bool good;
	int pair[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		_exit(1);
	if ((keeper = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		close(pair[0]);
		for (int i = 1; i < count; i++)
			close(fds[i]);
		close(b->sock);
		close(b->images);
		keep(b, m->word == BROKER_RESTORE, fds[0], pair[1]);
	}
	close(pair[1]);
	close(fds[0]);
	if (keeper > 0 && (runner = fork()) == 0)
		enter_and_run(b, m, fds, count, pair[0]);
	syscall(SYS_close_range, 3U, ~0U, 0U);
	good = runner > 0 && ended_well(runner);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	_exit(good ? 0 : 1);
}

/* ---- the agent -------------------------------------------------------------------------- */

/* The first process of a PID namespace of its own, and the user's. */
static bool is_agent(const struct broker *b, const struct ucred *from)
{
	cleanup_free char *status = NULL;
	char path[64];
	const char *at;
	int last = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", from->pid);
	if (from->uid != b->uid || file_read(AT_FDCWD, path, 1 << 20, &status, NULL) <= 0 ||
	    !(at = strstr(status, "\nNSpid:")))
		return false;
	for (at += 7; *at == '\t' || *at == ' '; at += strcspn(at, " \t\n")) {
		at += strspn(at, "\t ");
		last = atoi(at);
	}
	return last == 1;
}

static void take_hello(struct broker *b, const struct ucred *from)
{
	const struct broker_message yes = { .word = BROKER_GRANTED, .value = b->allowed };
	struct pollfd p = { .events = POLLIN };
	struct err e = { "" };

	if (b->agent || !is_agent(b, from)) {
		say("process %d of user id %u is not the step's agent, and is not heard",
		    from->pid, from->uid);
		return;
	}
	/* Of that process, if it still lives behind them. */
	if ((b->agent_fd = pidfd(from->pid)) < 0)
		return;
	p.fd = b->agent_fd;
	if (keep_namespaces(b, from->pid, &e) < 0 || poll(&p, 1, 0) != 0) {
		say("the step's agent cannot be heard: %s", *e.text ? e.text : "it has ended");
		for (int i = 0; i < SPACES; i++)
			close_fd(&b->spaces[i]);
		close_fd(&b->agent_fd);
		return;
	}
	b->agent = from->pid;
	broker_send(b->sock, &yes, NULL, 0, NULL);
}

/* Its pidfd; -1. */
static int start_server(struct broker *b, struct broker_message *m, int *fds, int count, pid_t *server)
{
	int fd;

	if ((*server = fork()) == 0)
		serve(b, m, fds, count);
	fd = *server > 0 ? pidfd(*server) : -1;
	if (fd < 0) {
		if (*server > 0) {
			kill(*server, SIGKILL);
			waitpid(*server, NULL, 0);
		}
		refuse(b, "sckpt-broker can start no process");
		drop_dir(b);
	}
	return fd;
}

/* Returns the pidfd of who works on it, -1: nobody; -2: there is nobody to hear any more. */
static int take_message(struct broker *b, pid_t *server)
{
	static struct broker_message m;
	struct err e = { "" };
	int fds[FDS_MAX], count = FDS_MAX, rc;
	struct ucred from;

	rc = broker_receive(b->sock, &m, fds, &count, &from, &e);
	if (rc == 0)
		return -2;
	if (rc < 0) {
		say("%s", e.text);
		return -1;
	}
	rc = -1;
	if (m.word == BROKER_HELLO) {
		take_hello(b, &from);
	} else if (!b->agent || from.pid != b->agent) {
		say("process %d of user id %u is not the step's agent, and is not heard",
		    from.pid, from.uid);
	} else if ((m.word != BROKER_DUMP && m.word != BROKER_RESTORE) || count < 1) {
		say("a message of the step's agent is not understood");
	} else if (make_dir(b, &e) < 0) {
		refuse(b, e.text);
	} else {
		rc = start_server(b, &m, fds, count, server);
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
	return rc;
}

static void live(struct broker *b, int slurmstepd)
{
	pid_t server = 0;
	int server_fd = -1;

	for (;;) {
		struct pollfd p[] = { { slurmstepd, POLLIN, 0 },
				      { b->agent_fd, POLLIN, 0 },
				      { server_fd, POLLIN, 0 },
				      { server_fd < 0 ? b->sock : -1, POLLIN, 0 } };

		if (poll(p, 4, -1) < 0 && errno != EINTR)
			return;
		if (p[0].revents || p[1].revents)
			break;
		if (p[2].revents) {
			if (!ended_well(server))
				refuse(b, "a process of sckpt-broker was killed at work");
			close_fd(&server_fd);
			drop_dir(b);
		}
		if (p[3].revents && (server_fd = take_message(b, &server)) == -2)
			break;
	}
	/* Its children have PDEATHSIG. */
	if (server_fd >= 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
		drop_dir(b);
	}
}

int main(int argc, char *argv[])
{
	struct broker b = { .agent_fd = -1, .images = -1 };
	int slurmstepd = pidfd(getppid()), on = 1;
	struct err e;

	if (argc != 8 || geteuid() != 0 || slurmstepd < 0)
		return 2;
	b.sock = fcntl(atoi(argv[1]), F_DUPFD_CLOEXEC, 3);
	b.job = (uint32_t)strtoul(argv[2], NULL, 10);
	b.step = argv[3];
	b.uid = (uid_t)strtoul(argv[4], NULL, 10);
	b.cluster = argv[5];
	b.criu = argv[6];
	b.allowed = atoi(argv[7]);
	if (b.sock < 0 || !b.uid || strchr(b.step, '/') ||
	    setsockopt(b.sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return 2;
	/* slurmstepd waits for this one alone. */
	if (fork())
		_exit(0);
	close(atoi(argv[1]));
	setsid();
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	say_open(b.job, b.step);
	if (chdir("/") < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || caps_cut(b.allowed, &e) < 0) {
		say("cannot begin: %m");
		return 1;
	}
	live(&b, slurmstepd);
	return 0;
}
