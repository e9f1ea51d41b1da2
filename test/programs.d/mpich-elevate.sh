# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Two ranks of MPICH by mpiexec, whose proxy has a TCP connection to it, on the loopback
# device: elevate=tcp. Hydra takes one to hosts that are not its own only, as it takes
# 127.0.0.2 to be; what it would run ssh for, start.sh runs here. UCX as in mpich-shm.sh.
packages='gcc libc6-dev libmpich-dev mpich'
version='mpichversion'
conf='elevate=tcp'

prepare() {
	mpicc.mpich -O2 -o ring programs.d/ring.c
	# ssh's options, the host, and the command as a shell reads it.
	printf '%s\n' '#!/bin/sh' 'while [ "${1#-}" != "$1" ]; do shift; done' 'shift; eval "exec $*"' >start.sh
	chmod 755 start.sh
}

work() {
	UCX_TLS=posix,self mpiexec.mpich -launcher ssh -launcher-exec "$PWD/../start.sh" \
		-hosts 127.0.0.2 -localhost 127.0.0.1 -iface lo -n 2 ../ring 900
}
