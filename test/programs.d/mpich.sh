# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks started by MPICH's mpiexec, as it is.
packages='gcc libc6-dev libmpich-dev mpich'
version='mpichversion'

prepare() { mpicc.mpich -O2 -o ring programs.d/ring.c; }

work() { mpiexec.mpich -n 2 ../ring 700; }
