#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""watcher.py FILE [SECRET], until FILE is there: waits for processes of the caller's own user id
that somebody else started, and takes what can be had of them: a terminal, the environment,
descriptors. A line for each thing that was had."""
import ctypes
import os
import sys

import watching

PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
secret = sys.argv[2].encode() if len(sys.argv) > 2 else None
mine = os.getuid()
old = {p for p in os.listdir("/proc") if p.isdigit()}
seen, had = set(), set()


def look(pid):
    at = f"/proc/{pid}"
    if pid in old or int(pid) == os.getpid() or os.stat(at).st_uid != mine:
        return
    name = open(at + "/comm").read().strip()
    seen.add(name)
    if secret and secret in open(at + "/environ", "rb").read():
        had.add(f"the environment of {name}")
    for fd in os.listdir(at + "/fd"):
        to = os.readlink(f"{at}/fd/{fd}")
        if to.startswith(("/dev/pts/", "/dev/tty", "/root/")):
            had.add(f"descriptor of {name}: {to.rstrip('0123456789')}")
    tty = int(open(at + "/stat").read().rpartition(")")[2].split()[4])
    if tty and libc.ptrace(PTRACE_SEIZE, int(pid), None, None) == 0:
        had.add(f"ptrace of {name}, which has a controlling terminal")


watching.until(sys.argv[1], look)
print("seen:", " ".join(sorted(seen)) or "nothing")
print("\n".join(sorted(had)))
