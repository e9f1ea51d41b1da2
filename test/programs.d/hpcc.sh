# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# On one rank, which needs no mpirun. Its benchmarks test their results; the rest
# of what it writes is times, and residuals of matrices that are others in each run.
packages='hpcc openmpi-bin'
version='dpkg-query -W hpcc'

prepare() {
	cat >hpccinf.txt <<'EOF'
HPLinpack benchmark input file
two lines
HPL.out
8 device out (6=stdout,7=stderr,file)
1 # of problems sizes (N)
3500 Ns
1 # of NBs
80 NBs
0 PMAP process mapping (0=Row-,1=Column-major)
1 # of process grids (P x Q)
1 Ps
1 Qs
16.0 threshold
1 # of panel fact
2 PFACTs (0=left, 1=Crout, 2=Right)
1 # of recursive stopping criterium
4 NBMINs (>= 1)
1 # of panels in recursion
2 NDIVs
1 # of recursive panel fact.
1 RFACTs (0=left, 1=Crout, 2=Right)
1 # of broadcast
1 BCASTs (0=1rg,1=1rM,2=2rg,3=2rM,4=Lng,5=LnM)
1 # of lookahead depth
1 DEPTHs (>=0)
2 SWAP (0=bin-exch,1=long,2=mix)
64 swapping threshold
0 L1 in (0=transposed,1=no-transposed) form
0 U in (0=transposed,1=no-transposed) form
1 Equilibration (0=no,1=yes)
8 memory alignment in double (> 0)
##### This line (no. 32) is ignored
0 Number of additional problem sizes for PTRANS
1200 values of N
0 number of additional blocking sizes for PTRANS
40 values of NB
EOF
}

work() {
	ln -s ../hpccinf.txt .
	hpcc
	grep -E 'PASSED|FAILED|Success=|esidual|Errors' hpccoutf.txt | grep -vE '^(WALL|CPU|Scaled residual:) '
	rm hpccoutf.txt
}
