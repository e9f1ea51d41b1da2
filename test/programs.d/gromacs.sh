# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Water, on two ranks that are threads (thread-MPI), so that there is no mpirun.
# Debian's mdrun will not start where CPUID hides rdtscp, as some virtual machines
# do that have it all the same: there it is told better.
packages='gromacs gromacs-data g++'
version='gmx --version | grep -m 1 "^GROMACS version"'

prepare() {
	g++ -shared -fPIC -o rdtscp.so programs.d/rdtscp.cpp
	mkdir input
	cd input || return
	cat >topol.top <<'EOF'
#include "oplsaa.ff/forcefield.itp"
#include "oplsaa.ff/spce.itp"
[ system ]
water
[ molecules ]
SOL 1728
EOF
	cat >md.mdp <<'EOF'
integrator = md
dt = 0.002
nsteps = 1200
nstxout = 200
nstvout = 200
nstenergy = 100
nstlog = 200
coulombtype = PME
rcoulomb = 0.9
rvdw = 0.9
tcoupl = v-rescale
tc-grps = System
tau-t = 0.1
ref-t = 300
ld-seed = 7
gen-vel = yes
gen-seed = 7
constraints = h-bonds
EOF
	gmx -quiet genconf -f /usr/share/gromacs/top/spc216.gro -nbox 2 -o conf.gro &&
		gmx -quiet grompp -f md.mdp -c conf.gro -p topol.top -o topol.tpr
}

# The log and the checkpoint have times in them.
work() {
	grep -qw rdtscp /proc/cpuinfo || export LD_PRELOAD=$PWD/../rdtscp.so
	gmx mdrun -s ../input/topol.tpr -ntmpi 2 -ntomp 1 -pin off -reprod -notunepme -nb cpu -cpt 0.1 -g md
	rm -f md.log state*.cpt
}
