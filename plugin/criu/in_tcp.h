/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IN_TCP_H
#define IN_TCP_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NET_ADMIN (UINT64_C(1) << CAP_NET_ADMIN)

bool is_tcp(int fd);

/* The connections of a process that was restored, out of repair mode, where criu has CAP_NET_ADMIN.
 * -1 and errno. */
int tcp_go_on(pid_t pid);

#endif
