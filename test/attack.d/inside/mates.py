#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mates.py FILE, as root, until FILE is there: what threads of a process that criu makes in a
restore (its PID inside is 1000 or above) have besides CAP_CHECKPOINT_RESTORE, a line for each
pair: that of its first thread, and "open" where a thread had given up all, when that was
looked at, so that the user could write to the memory of both."""
import os
import sys

OURS = 1 << 40
seen = set()


def status(path):
    with open(path) as f:
        fields = dict(l.split(":\t", 1) for l in f.read().splitlines() if ":\t" in l)
    return int(fields["CapPrm"], 16), [int(n) for n in fields["NSpid"].split()]


def look(pid):
    caps, inside = status(f"/proc/{pid}/status")
    if len(inside) < 2 or inside[-1] < 1000 or not caps & ~OURS:
        return
    while caps & ~OURS:
        # First the others: what they have given up they do not get again.
        tids = os.listdir(f"/proc/{pid}/task")[-8:]
        given_up = any(not status(f"/proc/{pid}/task/{t}/status")[0] & ~OURS for t in tids if t != pid)
        caps, _ = status(f"/proc/{pid}/task/{pid}/status")
        seen.add((caps & ~OURS, "open" if given_up else "closed"))


print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            look(pid)
        except (OSError, KeyError, ValueError):
            pass
for caps, how in sorted(seen):
    print(f"{caps:x} {how}")
