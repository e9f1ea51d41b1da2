#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""newborn.py [kill], as root: the capabilities, one line each, of all that criu makes in a
restore (its PID inside is 1000 or above), until that is over; with `kill`, criu is killed
as soon as it traces one of them, and what then is left is said ("left …")."""
import os
import signal
import sys
import time

kill = sys.argv[1:] == ["kill"]
OURS = 1 << 40
seen, begun, end = set(), False, time.monotonic() + 60


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(l.split(":\t", 1) for l in f.read().splitlines() if ":\t" in l)


def look(pid):
    """Its set, if it is such a one."""
    fields = status(pid)
    inside = [int(n) for n in fields["NSpid"].split()]
    if len(inside) < 2 or inside[-1] < 1000:
        return None
    caps = int(fields["CapPrm"], 16)
    return fields, caps


print("ready", flush=True)
while time.monotonic() < end:
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            it = look(int(pid))
        except (OSError, KeyError, ValueError):
            continue
        if not it or not it[1] & ~OURS:
            continue
        found.add(it[1])
        tracer = int(it[0]["TracerPid"])
        try:
            if kill and tracer and open(f"/proc/{tracer}/comm").read() == "criu\n":
                os.kill(tracer, signal.SIGKILL)
                print("killed", flush=True)
                while os.path.exists(f"/proc/{tracer}"):
                    time.sleep(0.001)
                for other in filter(str.isdigit, os.listdir("/proc")):
                    try:
                        it = look(int(other))
                    except (OSError, KeyError, ValueError):
                        continue
                    if it and it[0]["State"][0] not in "ZX" and it[1] & ~OURS:
                        print(f"left {it[1]:x}", flush=True)
                sys.exit()
        except OSError:
            pass
    seen |= found
    begun |= bool(found)
    if begun and not found:
        break
for caps in sorted(seen):
    print(f"{caps:x}")
