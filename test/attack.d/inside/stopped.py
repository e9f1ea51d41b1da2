#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stopped.py UID, as the user, outside of the step: the criu that restores is stopped as soon as it is there, which is
said; and goes on when there is a line to read."""
import os
import signal
import sys
import time


def is_criu(pid):
    with open(f"/proc/{pid}/status") as f:
        status = f.read()
    return status.startswith("Name:\tcriu\n") and f"\nUid:\t{sys.argv[1]}\t" in status


def found():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if is_criu(pid):
                return int(pid)
        except OSError:
            pass
    return None


print("ready", flush=True)
end = time.monotonic() + 120
while not (criu := found()) and time.monotonic() < end:
    pass
os.kill(criu, signal.SIGSTOP)
print("stopped", flush=True)
sys.stdin.readline()
os.kill(criu, signal.SIGCONT)
sys.stdin.read()
