# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Silicon, its atoms moved from where they belong, on one rank, which needs no
# mpirun.
packages='quantum-espresso quantum-espresso-data-sssp'
version='cd /tmp; echo | pw.x 2>/dev/null | grep -o "PWSCF v[^ ]*"'

prepare() {
	cat >si.in <<'EOF'
&control
calculation = 'relax', outdir = './scratch', pseudo_dir = '/usr/share/espresso/pseudo', tprnfor = .true.
/
&system
ibrav = 2, celldm(1) = 10.26, nat = 2, ntyp = 1, ecutwfc = 30, ecutrho = 240
/
&electrons
conv_thr = 1d-10
/
&ions
/
ATOMIC_SPECIES
Si 28.086 Si.pbe-n-rrkjus_psl.1.0.0.UPF
ATOMIC_POSITIONS alat
Si 0.02 0.01 0.00
Si 0.25 0.25 0.26
K_POINTS automatic
3 3 3 1 1 1
EOF
}

# What is left out is the time that was taken, and the memory.
work() {
	OMP_NUM_THREADS=1 pw.x -in ../si.in | grep -E '^(!|  *(total energy|estimated|atom |highest|new trust)|Si )'
	rm -rf scratch
}
