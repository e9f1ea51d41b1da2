#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""signals.py FILE UID SEED, as the user, until FILE is there: to each criu of theirs that restores with more
than they have, at a random moment of it, SIGKILL, or SIGSTOP and SIGCONT; to what it restores as well.
A line for each."""
import os
import random
import signal
import sys
import time

OURS = 1 << 40
moment = random.Random(int(sys.argv[3]))
done = set()  # the steps: PID namespaces cannot be read


def restores(pid):
    """Is it that, or being restored?"""
    with open(f"/proc/{pid}/status") as f:
        fields = dict(l.split(":\t", 1) for l in f.read().splitlines() if ":\t" in l)
    if fields["Name"] != "criu" or fields["Uid"].split()[0] != sys.argv[2] or not int(fields["CapPrm"], 16) & ~OURS:
        return False
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        return f.read().split(b"\0")[1:2] == [b"restore"]


def found():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if restores(pid):
                yield int(pid)
        except (OSError, KeyError, ValueError):
            pass


print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    first = next(found(), None)
    if first is None or first in done:
        continue
    time.sleep(moment.uniform(0, 0.06))
    there = list(found())
    done |= {first, *there}
    if not there:
        print("too late", flush=True)
        continue
    target = moment.choice([min(there), moment.choice(there)])
    what = moment.choice(["kill", "stop"])
    try:
        os.kill(target, signal.SIGKILL if what == "kill" else signal.SIGSTOP)
        if what == "stop":
            time.sleep(moment.uniform(0, 1))
            os.kill(target, signal.SIGCONT)
    except OSError as e:
        what = e.strerror
    print(what, "criu" if target == min(there) else "restored", len(there), flush=True)
