# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks of MPICH by mpiexec, which talks TCP to its proxy, on the loopback device:
# elevate=tcp. UCX as in mpich-shm.sh.
packages='gcc libc6-dev libmpich-dev mpich'
version='mpichversion'
conf='elevate=tcp'

prepare() { mpicc.mpich -O2 -o ring programs.d/ring.c; }

work() { UCX_TLS=posix,self mpiexec.mpich -launcher fork -iface lo -localhost 127.0.0.1 -n 2 ../ring 2200; }
