#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""thaw.py PORT UID MODE, as the user, outside of the step: of a dump by the broker's criu that has begun, the
agent is stopped till the program has connected to PORT here, which it does when there is a file `go`. Then, with
all of it frozen, MODE

    criu    criu is killed when it asks the last time, so that the tree goes on
    break   the connection is broken, when criu has it; it is given here, too, over the socket `its.sock`
"""
import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time

import watching

REPAIR = 19


def one(name):
    return watching.find(name, sys.argv[2])


def stands(pid):
    with open(f"/proc/{pid}/status") as f:
        return "\nState:\tt" in f.read()


def wait(what):
    end = time.monotonic() + 60
    while not (got := what()):
        if time.monotonic() > end:
            sys.exit("it did not come")
    return got


threading.Thread(target=lambda: sys.stdin.read() or os._exit(0), daemon=True).start()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
given = socket.socket(socket.AF_UNIX)
given.bind("its.sock")
given.listen()
print("listening", flush=True)
criu = wait(lambda: one("criu"))
agent = int(one("sckpt-agent"))
os.kill(agent, signal.SIGSTOP)
try:
    open("go", "w").close()
    listener.settimeout(20)
    ours, _ = listener.accept()
    its = socket.socket(fileno=socket.recv_fds(given.accept()[0], 1, 1)[1][0])
finally:
    os.kill(agent, signal.SIGCONT)
print("connected", flush=True)
pid = wait(lambda: one("outside"))
wait(lambda: stands(pid))


def asks():
    """Is there a child of criu's that has given all up, and waits for the answer?"""
    for child in open(f"/proc/{criu}/task/{criu}/children").read().split():
        with open(f"/proc/{child}/status") as f:
            status = f.read()
        if "\nState:\tS" in status and "\nCapPrm:\t0000000000000000" in status:
            return True
    return False


if sys.argv[3] == "criu":
    wait(asks)
    # It has been heard, and the look takes longer.
    time.sleep(0.01)
    os.kill(int(criu), signal.SIGKILL)
else:
    wait(lambda: its.getsockopt(socket.IPPROTO_TCP, REPAIR) or not stands(pid))
    # It has its state; and memory comes after that.
    time.sleep(0.005)
    ctypes.CDLL(None).connect(its.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16)
print("done", flush=True)
time.sleep(100)
