# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks of MPICH on one node: mpiexec starts them itself, and they share what
# criu can dump. UCX would take System V shared memory, too.
packages='gcc libc6-dev libmpich-dev mpich'
version='mpichversion'

prepare() { mpicc.mpich -O2 -o ring programs.d/ring.c; }

work() { UCX_TLS=posix,self mpiexec.mpich -launcher fork -n 2 ../ring 700; }
