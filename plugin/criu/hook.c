/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sckpt-hook: criu's action script, where sckpt-in-criu.so is not in its way (in_exec.c). */
#include "hook.h"

int main(void)
{
	return hook_ask();
}
