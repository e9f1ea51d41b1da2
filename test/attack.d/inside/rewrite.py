#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""rewrite.py SECONDS FILE OTHER: gives FILE, in place, now OTHER's bytes, now its own; how
often, and what it had at first is there in the end."""
import os
import random
import sys
import time

path = sys.argv[2]
mine, other = (open(p, "rb").read() for p in sys.argv[2:4])
assert len(mine) == len(other) and mine != other
spans, at = [], 0
while at < len(mine):
    end = at
    while end < len(mine) and mine[end] != other[end]:
        end += 1
    if end > at:
        spans.append((at, end))
    at = end + 1
fd = os.open(path, os.O_WRONLY)


def write(what):
    for at, end in spans:
        os.pwrite(fd, what[at:end], at)


end, n = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    write(other if n % 2 == 0 else mine)
    n += 1
    # Short and long, so that each step of a reader's has a change before it at times.
    time.sleep(random.choice((0, 0.0003, 0.003, 0.02)))
write(mine)
print(n)
