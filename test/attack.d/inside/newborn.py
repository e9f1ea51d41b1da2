#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""newborn.py FILE, as root: the capabilities, one line each, of all that criu makes in a
restore (its PID inside is 1000 or above) and that has more than CAP_CHECKPOINT_RESTORE;
until FILE is there."""
import sys

import watching

OURS = 1 << 40
seen = set()


def look(pid):
    fields = watching.status(f"/proc/{pid}")
    inside = [int(n) for n in fields["NSpid"].split()]
    caps = int(fields["CapPrm"], 16)
    # The newborn root, which the runner traces, and has give them up before it is let go.
    if inside[-1] == 1000 and fields["TracerPid"].strip() != "0":
        return
    # Criu's own child that asks: it is as much out of reach as criu.
    parent = watching.status(f"/proc/{fields['PPid'].strip()}")
    if inside[-1] > 1000 and int(parent["NSpid"].split()[-1]) < 1000:
        return
    if len(inside) > 1 and inside[-1] >= 1000 and caps & ~OURS:
        seen.add(caps)


watching.until(sys.argv[1], look)
for caps in sorted(seen):
    print(f"{caps:x}")
