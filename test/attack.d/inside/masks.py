#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""masks.py FILE, as root: the signals, a line each, that what criu makes in a restore has not blocked
while it has more than CAP_CHECKPOINT_RESTORE (newborn.py); until FILE is there."""
import sys

import watching

OURS = 1 << 40
seen = set()


def look(pid):
    fields = watching.status(f"/proc/{pid}")
    inside = [int(n) for n in fields["NSpid"].split()]
    caps, blocked = int(fields["CapPrm"], 16), int(fields["SigBlk"], 16)
    # Criu itself is below.
    if len(inside) > 1 and inside[-1] >= 1000 and caps & ~OURS and fields["Name"].strip() != "sckpt-agent":
        seen.update(n for n in range(1, 65) if not blocked >> (n - 1) & 1)


watching.until(sys.argv[1], look)
for signal in sorted(seen):
    print(signal)
