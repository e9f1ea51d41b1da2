# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks started by Open MPI's mpirun, as it is, but for a TMPDIR: a job's
# process ids are those of the next job, and PRRTE names a directory in /tmp by one.
packages='openmpi-bin python3-mpi4py python3-numpy'
version='mpirun.openmpi --version'

work() {
	TMPDIR=$(mktemp -d)
	export TMPDIR
	mpirun.openmpi --oversubscribe -n 2 python3 ../programs.d/ring.py 800
}
