#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""syslog.py FILE, as root, in a node that has no system log: keeps in FILE what is sent to it."""
import os
import socket
import sys

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
null = os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
with open(sys.argv[1], "a") as f:
    while True:
        print(s.recv(4096).decode(errors="replace"), file=f, flush=True)
