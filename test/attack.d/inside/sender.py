#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sender.py SOCKET, outside of all steps: hands its own namespaces, the host's, its /proc and a
pidfd of itself to the one that connects. Ends with that one."""
import os
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("ready", flush=True)
s.settimeout(60)
to = s.accept()[0]
names = sorted(os.listdir("/proc/self/ns"))
fds = [os.open(f"/proc/self/ns/{n}", os.O_RDONLY) for n in names]
fds += [os.pidfd_open(os.getpid()), os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)]
socket.send_fds(to, [" ".join(names).encode()], fds)
to.recv(1)
os.unlink(sys.argv[1])
