/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOOK_H
#define HOOK_H

/* hook_ask.c: what criu's action script does, in a process of its own whose environment criu has
 * set for it. Its capabilities are gone afterwards. Returns the exit status: 0 lets criu go on. */
int hook_ask(void);

#endif
