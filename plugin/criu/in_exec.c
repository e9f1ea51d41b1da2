/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In criu: for its action script it forks (cr_system(), criu/util.c), five times in a restore.
 * The child does itself what sckpt-hook would: to become that costs 1 ms each time in a virtual
 * machine, most of it page faults.
 *
 * Nothing else is executed: criu looks whether there is an iptables (criu/kerndat.c), which it has no
 * use for here, and a shell for it would have criu's capabilities.
 */
#include <string.h>
#include <unistd.h>

#include "hook.h"

#define NO_SUCH_COMMAND 127 /* sh(1) */

__attribute__((visibility("default"))) int execvp(const char *file, char *const argv[])
{
	(void)argv;
	_exit(strcmp(file, HOOK_PATH) ? NO_SUCH_COMMAND : hook_ask());
}

/* apparmor_parser (criu/apparmor.c). */
__attribute__((visibility("default"))) int execlp(const char *file, const char *arg, ...)
{
	(void)file;
	(void)arg;
	_exit(NO_SUCH_COMMAND);
}
