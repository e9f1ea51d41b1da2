# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks of Open MPI on one node: PMIx is told to stay on the loopback
# device, where no-tcp.c makes unix sockets of its connections. TMPDIR as in
# openmpi.sh.
packages='openmpi-bin python3-mpi4py python3-numpy gcc libc6-dev'
version='mpirun.openmpi --version'

prepare() { gcc -O2 -shared -fPIC -o no-tcp.so programs.d/no-tcp.c; }

work() {
	TMPDIR=$(mktemp -d)
	export TMPDIR PMIX_MCA_ptl_base_if_include=lo LD_PRELOAD=$PWD/../no-tcp.so
	mpirun.openmpi --oversubscribe -n 2 python3 ../programs.d/ring.py 800
}
