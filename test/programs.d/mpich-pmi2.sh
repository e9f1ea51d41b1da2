# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks of MPICH on one node, started by Slurm: the script and the step are
# saved each by itself, and what the ranks had said to Slurm's PMI is said again.
packages='gcc libc6-dev libmpich-dev mpich'
version='mpichversion'

prepare() { mpicc.mpich -O2 -o ring programs.d/ring.c; }

work() { srun --mpi=pmi2 -n 2 -c 1 ../ring 700; }
