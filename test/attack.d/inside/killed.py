#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""killed.py FILE UID, as that user, until FILE is there: of each restore by the broker's criu one
process, not its first one, is killed when it has its program's threads again, or up to 5 ms
later: before criu attaches to it, or while. A line for each."""
import itertools
import os
import signal
import sys
import time

import watching

MARK = 1 << 18
waits = itertools.cycle(range(6))  # ms
last = 0


def look(pid):
    global last
    if time.monotonic() < last + 1:  # it is the same restore
        return
    fields = watching.status(f"/proc/{pid}")
    if fields["Uid"].split()[0] != sys.argv[2] or int(fields["Threads"]) < 2 or \
            not int(fields["CapPrm"], 16) & MARK:
        return
    # In its own PID namespace the first one is 1000.
    inside = fields["NSpid"].split()
    if len(inside) < 2 or int(inside[-1]) <= 1000:
        return
    wait = next(waits)
    time.sleep(wait / 1000)
    os.kill(int(pid), signal.SIGKILL)
    last = time.monotonic()
    print(f"killed {inside[-1]} after {wait} ms", flush=True)


watching.until(sys.argv[1], look, int(sys.argv[2]))
