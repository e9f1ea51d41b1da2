/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * At pre-dump (the tree is about to be frozen), post-dump (all is written, it is frozen still),
 * pre-restore (nothing is there yet) and post-restore (all is there, nothing runs yet) the agent,
 * or the broker, is asked over the socket named by SCKPT_HOOK, and criu goes on only when that
 * says yes. It needs no capability for that.
 */
#include <linux/capability.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "hook.h"

/* What criu has is ambient. Without it this process could be traced by its user, and in_exec.c's
 * has memory in common with a criu that keeps it: then nobody may (ptrace(2), PR_SET_DUMPABLE). */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0, 0, 0 } };

	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ?
		       -1 :
		       (int)syscall(SYS_capset, &header, none);
}

/* With criu's capabilities: the broker's is where nobody else gets to. */
static int reach(void)
{
	const char *path = getenv("SCKPT_HOOK");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (!path || strlen(path) >= sizeof(addr.sun_path))
		return -1;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 ? fd : -1;
}

int hook_ask(void)
{
	const char *action = getenv("CRTOOLS_SCRIPT_ACTION");
	bool asks = action && (!strcmp(action, "pre-dump") || !strcmp(action, "post-dump") ||
			       !strcmp(action, "pre-restore") || !strcmp(action, "post-restore"));
	int fd = asks ? reach() : -1;
	char answer = 1;

	if (drop_capabilities() < 0)
		return 1;
	if (!asks)
		return 0;
	if (fd < 0 || write(fd, action, strlen(action)) < 0 || shutdown(fd, SHUT_WR) < 0 ||
	    read(fd, &answer, 1) != 1)
		return 1;
	return answer;
}
