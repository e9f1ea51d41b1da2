# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks started by Open MPI's mpirun over TCP, kept on the loopback device:
# elevate=tcp. TMPDIR as in openmpi.sh.
packages='openmpi-bin python3-mpi4py python3-numpy'
version='mpirun.openmpi --version'
conf='elevate=tcp'

work() {
	TMPDIR=$(mktemp -d)
	export TMPDIR PMIX_MCA_ptl_base_if_include=lo
	mpirun.openmpi --oversubscribe --mca btl tcp,self --mca btl_tcp_if_include lo \
		-n 2 python3 ../programs.d/ring.py 3500
}
