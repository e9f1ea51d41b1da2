/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-prepend PROGRAM-S-ARGUMENTS…: only with Slurm before 23.11, in place of the task's
 * program (spank/prepend.c). It becomes the helper that the descriptor names, with the arguments
 * that it would have of a newer Slurm.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sckpt/base.h"

int main(int argc, char *argv[])
{
	const char *number = getenv(PREPEND_VARIABLE);
	int fd = number ? atoi(number) : -1, n = 0;
	char *block, **front, **list;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 ||
	    !(block = malloc((size_t)st.st_size)) ||
	    pread(fd, block, (size_t)st.st_size, 0) != st.st_size || block[st.st_size - 1] ||
	    !(front = block_list(block, (size_t)st.st_size, 0))) {
		fprintf(stderr, "sckpt-prepend: started by Slurm through spank-sckpt, not by hand\n");
		return 2;
	}
	close(fd);
	unsetenv(PREPEND_VARIABLE);
	while (front[n])
		n++;
	if (!(list = calloc((size_t)(n + argc), sizeof(*list)))) {
		fprintf(stderr, "sckpt: no memory to start %s\n", front[0]);
		return 1;
	}
	memcpy(list, front, (size_t)n * sizeof(*list));
	memcpy(&list[n], &argv[1], (size_t)argc * sizeof(*list)); /* with its NULL */
	execv(list[0], list);
	fprintf(stderr, "sckpt: cannot run %s: %m\n", list[0]);
	return 1;
}
