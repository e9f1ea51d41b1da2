/* SPDX-License-Identifier: GPL-2.0-or-later */
/* execvp() here is in_exec.c's, as it is in criu. */
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sckpt/base.h"
#include "unit.h"

static char dir[] = "/tmp/sckpt-unit-XXXXXX";
static char path[64];

struct asked {
	int listener;
	char answer;
	char action[32];
	pid_t pid;
	bool dumpable, capable;
};

/* Which is as much as to trace it (ptrace(2), "Ptrace access mode checking"). */
static bool may_read_memory(pid_t pid)
{
	char name[64], line[256];
	FILE *f;
	bool any;

	snprintf(name, sizeof(name), "/proc/%d/maps", pid);
	/* As one who has no capability, which is what a user's process has not either. */
	if (setresgid(1, 1, 0) < 0 || setresuid(1, 1, 0) < 0)
		abort();
	f = fopen(name, "re");
	any = f && fgets(line, sizeof(line), f);
	if (f)
		fclose(f);
	if (setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0)
		abort();
	return any;
}

static bool has_capability(pid_t pid)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, pid };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		abort();
	return data[0].permitted || data[1].permitted || data[0].inheritable || data[1].inheritable;
}

static void *agent(void *arg)
{
	struct asked *a = arg;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept(a->listener, NULL, NULL);
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, a->action + n, sizeof(a->action) - 1 - n)) > 0)
		n += (size_t)got;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		abort();
	a->pid = peer.pid;
	a->capable = has_capability(peer.pid);
	a->dumpable = may_read_memory(peer.pid);
	if (write(fd, &a->answer, 1) != 1)
		abort();
	close(fd);
	return NULL;
}

/* As cr_system() does it. */
static int run_script(const char *action, uid_t uid, pid_t *pid)
{
	char *argv[] = { HOOK_PATH, NULL };
	int status;

	setenv("CRTOOLS_SCRIPT_ACTION", action, 1);
	setenv("SCKPT_HOOK", path, 1);
	if ((*pid = fork()) == 0) {
		if (uid && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
			    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0))
			abort();
		execvp(argv[0], argv);
		_exit(77);
	}
	assert_int_equal(waitpid(*pid, &status, 0), *pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int ask_agent(struct asked *a, const char *action, uid_t uid)
{
	pthread_t t;
	pid_t pid;
	int status;

	pthread_create(&t, NULL, agent, a);
	status = run_script(action, uid, &pid);
	pthread_join(t, NULL);
	/* The child itself, and no program that it became. */
	assert_int_equal(a->pid, pid);
	assert_string_equal(a->action, action);
	return status;
}

static int listen_on_path(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void says_what_the_agent_says(void **state)
{
	struct asked a = { .listener = listen_on_path(), .answer = 0 };

	(void)state;
	assert_int_equal(ask_agent(&a, "post-dump", 0), 0);
	a.answer = 1;
	assert_int_equal(ask_agent(&a, "pre-restore", 0), 1);
	close(a.listener);
}

static void gives_up_what_criu_has(void **state)
{
	struct asked a = { .listener = listen_on_path(), .answer = 0 };

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(ask_agent(&a, "post-restore", 0), 0);
	assert_false(a.capable);
	/* Of its user's without capabilities each could be traced by the other. */
	assert_int_equal(ask_agent(&a, "post-restore", 1), 0);
	assert_false(a.dumpable);
	close(a.listener);
}

static void asks_at_four_points_only(void **state)
{
	pid_t pid;

	(void)state;
	/* Nobody is there to be asked. */
	unlink(path);
	assert_int_equal(run_script("pre-stream", 0, &pid), 0);
	assert_int_equal(run_script("setup-namespaces", 0, &pid), 0);
	assert_int_equal(run_script("post-resume", 0, &pid), 0);
	assert_int_equal(run_script("pre-dump", 0, &pid), 1);
	assert_int_equal(run_script("post-dump", 0, &pid), 1);
}

static void nothing_else_is_executed(void **state)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 5", NULL };
	int status;
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0) {
		execvp(argv[0], argv);
		_exit(77);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 127);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/hook.sock", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return tree_remove(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_the_agent_says),
		cmocka_unit_test(gives_up_what_criu_has),
		cmocka_unit_test(asks_at_four_points_only),
		cmocka_unit_test(nothing_else_is_executed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
