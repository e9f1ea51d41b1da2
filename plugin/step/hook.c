/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-hook: criu's action script. At post-dump (all is written, the tree is
 * still frozen), pre-restore (nothing is there yet) and post-restore (all is
 * there, nothing runs yet) it asks the agent over the socket named by
 * SCKPT_HOOK, and criu goes on only when the agent says yes.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
	const char *action = getenv("CRTOOLS_SCRIPT_ACTION");
	const char *path = getenv("SCKPT_HOOK");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char answer = 1;
	int fd;

	if (!action ||
	    (strcmp(action, "post-dump") && strcmp(action, "pre-restore") &&
	     strcmp(action, "post-restore")))
		return 0;
	if (!path || strlen(path) >= sizeof(addr.sun_path))
		return 1;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    write(fd, action, strlen(action)) < 0 ||
	    shutdown(fd, SHUT_WR) < 0 || read(fd, &answer, 1) != 1)
		return 1;
	return answer;
}
