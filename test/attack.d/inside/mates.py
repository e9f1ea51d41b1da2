#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mates.py FILE, as root, until FILE is there: what threads of a process that criu makes in a
restore (its PID inside is 1000 or above) have besides CAP_CHECKPOINT_RESTORE, a line for each
pair: that of its first thread, and "open" where a thread had given up all, when that was
looked at, so that the user could write to the memory of both; of any PID, that NET_ADMIN was seen in what
has its program's name again, "named"."""
import os
import sys

import watching

OURS = 1 << 40
NET_ADMIN = 1 << 12
seen = set()


def caps_of(path):
    fields = watching.status(path)
    return int(fields["CapPrm"], 16), [int(n) for n in fields["NSpid"].split()]


def look(pid):
    name = watching.status(f"/proc/{pid}")["Name"]
    caps, inside = caps_of(f"/proc/{pid}")
    if len(inside) > 1 and inside[-1] > 100 and name == "python3" and caps & NET_ADMIN:
        seen.add((caps & ~OURS, "named"))
    if len(inside) < 2 or inside[-1] < 1000 or not caps & ~OURS:
        return
    while caps & ~OURS:
        # First the others: what they have given up they do not get again.
        tids = os.listdir(f"/proc/{pid}/task")[-8:]
        given_up = any(not caps_of(f"/proc/{pid}/task/{t}")[0] & ~OURS for t in tids if t != pid)
        caps, _ = caps_of(f"/proc/{pid}/task/{pid}")
        seen.add((caps & ~OURS, "open" if given_up else "closed"))


watching.until(sys.argv[1], look)
for caps, how in sorted(seen):
    print(f"{caps:x} {how}")
