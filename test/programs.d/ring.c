// SPDX-License-Identifier: GPL-2.0-or-later
// ring UNITS: each rank changes what it holds and hands it on to the next one;
// rank 0 says what they hold together.
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 1 << 15 };

static uint64_t mine[COUNT], next[COUNT];

static uint64_t change(int unit, int rank)
{
	uint64_t sum = 0;

	for (int i = 0; i < COUNT; i++) {
		uint64_t x = mine[i] + i + unit * 31 + rank;

		for (int k = 0; k < 300; k++)
			x = (x ^ x >> 31) * 0x9e3779b97f4a7c15;
		sum += mine[i] = x;
	}
	return sum;
}

int main(int argc, char **argv)
{
	int rank, ranks;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	for (int unit = 0; unit < atoi(argv[1]); unit++) {
		uint64_t sum = change(unit, rank), all;

		MPI_Sendrecv(mine, COUNT, MPI_UINT64_T, (rank + 1) % ranks, unit, next, COUNT,
			     MPI_UINT64_T, (rank + ranks - 1) % ranks, unit, MPI_COMM_WORLD,
			     MPI_STATUS_IGNORE);
		memcpy(mine, next, sizeof(mine));
		MPI_Allreduce(&sum, &all, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
		if (rank == 0) {
			printf("%d of %d ranks: %016llx\n", unit, ranks, (unsigned long long)all);
			fflush(stdout);
		}
	}
	MPI_Finalize();
}
