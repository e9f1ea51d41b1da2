/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu: for its action script it forks (cr_system(), criu/util.c), five times in a restore.
 * The child does itself what sckpt-hook would: to become that costs 1 ms each time in a virtual
 * machine, most of it page faults.
 */
#include <string.h>
#include <unistd.h>

#include "hook.h"

__attribute__((visibility("default"))) int execvp(const char *file, char *const argv[])
{
	if (!strcmp(file, HOOK_PATH))
		_exit(hook_ask());
	return execvpe(file, argv, environ);
}
