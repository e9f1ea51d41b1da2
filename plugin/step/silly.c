/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that were removed on NFS while they were open. */
#include <string.h>

#include "files.h"

#define PREFIX ".nfs"
#define DIGITS (16 + 8) /* the file's number and a counter */

bool file_silly_renamed(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	return !strncmp(name, PREFIX, strlen(PREFIX)) &&
	       strspn(name + strlen(PREFIX), "0123456789abcdef") == DIGITS &&
	       !name[strlen(PREFIX) + DIGITS];
}
