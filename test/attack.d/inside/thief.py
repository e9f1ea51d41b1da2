#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""thief.py SOCKET PORT MODE, outside of the step: is given one of its connections over SOCKET, waits for
repair mode, in which it is dumped, and tries to listen with it on PORT, which another user listens on.
MODE kill: first it kills criu. Then it says whether repair mode was left."""
import ctypes
import os
import socket
import struct
import sys
import threading
import time

path, port, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
REPAIR = 19
libc = ctypes.CDLL(None, use_errno=True)


def repaired(s):
    return s.getsockopt(socket.IPPROTO_TCP, REPAIR)


def kill_criu():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read() == "criu\n":
                os.kill(int(pid), 9)
                print("killed", flush=True)
        except OSError:
            pass


def steal(s):
    libc.connect(s.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16)
    try:
        s.bind(("127.0.0.1", port))
        s.listen(16)
        print("listens", flush=True)
    except OSError as e:
        print("no:", e, flush=True)


threading.Thread(target=lambda: sys.stdin.read() or os._exit(0), daemon=True).start()
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print("ready", flush=True)
its, _ = listener.accept()
_, fds, _, _ = socket.recv_fds(its, 1, 1)
s = socket.socket(fileno=fds[0])
end = time.monotonic() + 30
while not repaired(s) and time.monotonic() < end:
    pass
if mode == "kill":
    kill_criu()
    # The kernel and root's processes have that long.
    time.sleep(3)
    print("repair mode", repaired(s), flush=True)
steal(s)
print("tried", flush=True)
end = time.monotonic() + 3
while repaired(s) and time.monotonic() < end:
    time.sleep(0.1)
print("repair mode", repaired(s), flush=True)
time.sleep(100)
