/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cgroup that this process is in (cgroup.c). */
#ifndef SCKPT_CGROUP_H
#define SCKPT_CGROUP_H

#include "sckpt/base.h"

#define CGROUP_PATH_MAX 4096

/* The directory of the group that has this controller; false: there is none. */
bool cgroup_find(const char *controller, char dir[CGROUP_PATH_MAX]);
/* dir becomes the group above; false where it is the top. */
bool cgroup_up(char *dir);
/* What a file of the group says; malloc'ed, NULL where it is not there. */
char *cgroup_text(const char *dir, const char *name);
/* The number in a file of the group; false where it is not there, or is "max". */
bool cgroup_number(const char *dir, const char *name, uint64_t *value);
/* Pure. A number of such a text of many (memory.stat, memory.events); 0 where it is not there. */
uint64_t cgroup_stat(const char *text, const char *name);

#endif
