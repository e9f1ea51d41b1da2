# SPDX-License-Identifier: GPL-2.0-or-later
"""ring UNITS: each rank changes what it holds and hands it on to the next one;
rank 0 says what they hold together."""
import sys

import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, ranks = world.Get_rank(), world.Get_size()
mine = numpy.arange(1 << 15, dtype=numpy.uint64)
for unit in range(int(sys.argv[1])):
    mine += numpy.uint64(unit * 31 + rank)
    for k in range(300):
        mine = (mine ^ mine >> numpy.uint64(31)) * numpy.uint64(0x9e3779b97f4a7c15)
    received = numpy.empty_like(mine)
    world.Sendrecv(mine, (rank + 1) % ranks, unit, received, (rank - 1) % ranks, unit)
    mine = received
    total = world.reduce(int(mine.sum()), MPI.SUM, 0)
    if rank == 0:
        print(unit, "of", ranks, "ranks:", total, flush=True)
