# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# HPCC on two ranks by mpirun, as openmpi-elevate.sh; what it writes is taken as in hpcc.sh.
packages='hpcc openmpi-bin'
version='dpkg-query -W hpcc'
conf='elevate=tcp'

prepare() {
	(
		. programs.d/hpcc.sh
		prepare
	)
	sed -i 's/^1 Qs/2 Qs/; s/^3500 Ns/2500 Ns/' hpccinf.txt
}

work() {
	TMPDIR=$(mktemp -d)
	export TMPDIR PMIX_MCA_ptl_base_if_include=lo
	ln -s ../hpccinf.txt .
	mpirun.openmpi --oversubscribe --mca btl tcp,self --mca btl_tcp_if_include lo -n 2 hpcc
	grep -E 'PASSED|FAILED|Success=|esidual|Errors' hpccoutf.txt | grep -vE '^(WALL|CPU|Scaled residual:) '
	rm hpccoutf.txt
}
