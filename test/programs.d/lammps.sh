# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# A Lennard-Jones fluid on one rank, which needs no mpirun.
packages=lammps
version='lmp -h | grep -m 1 "^Large"'

prepare() {
	cat >in.melt <<'EOF'
units lj
atom_style atomic
lattice fcc 0.8442
region box block 0 10 0 10 0 10
create_box 1 box
create_atoms 1 box
mass 1 1.0
velocity all create 3.0 87287 loop geom
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0 2.5
neigh_modify every 20 delay 0 check no
fix 1 all nve
fix 2 all print 50 "$(step) $(temp:%.15g) $(etotal:%.15g) $(press:%.15g)" file thermo screen no
dump 1 all custom 1000 dump.* id x y z vx vy vz
dump_modify 1 sort id
run 6000
EOF
}

work() { OMP_NUM_THREADS=1 lmp -in ../in.melt -log none -screen none; }
