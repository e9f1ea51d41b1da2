#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""syslog.py FILE, as root, in a node that has no system log: keeps in FILE what is sent to it."""
import os
import socket
import sys

sys.path.append("/shared/subject")
import faulty  # noqa: E402

s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    s.connect("/dev/log")
    sys.exit()  # there is one
except FileNotFoundError:
    pass
except ConnectionRefusedError:
    os.unlink("/dev/log")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/dev/log")
if os.fork():
    os._exit(0)
os.setsid()
faulty.leave_stdio()
with open(sys.argv[1], "a") as f:
    while True:
        print(s.recv(4096).decode(errors="replace"), file=f, flush=True)
