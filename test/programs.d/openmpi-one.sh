# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# One rank of Open MPI, without mpirun.
packages='openmpi-bin python3-mpi4py python3-numpy'
version='mpirun.openmpi --version'

work() { python3 ../programs.d/ring.py 3200; }
