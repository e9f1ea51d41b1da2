#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""criu.py FILE UID, as root, until FILE is there: each process of the user that has more than
CAP_CHECKPOINT_RESTORE: criu, and what it starts, but not what it restores. A line of JSON: its
capabilities, arguments and environment, as it was started with them."""
import json
import os
import sys

import watching

OURS = 1 << 40
RESTORED = OURS | 1 << 18 | 1 << 12  # SYS_CHROOT, NET_ADMIN
seen = set()


def words(path):
    with open(path, "rb") as f:
        return f.read().decode(errors="replace").split("\0")[:-1]


def variables(pid):
    # Its begin takes each apart for a moment, to copy it (libbsd's setproctitle_init).
    found = words(f"/proc/{pid}/environ")
    return ["=".join(found[i:i + 2]) if "=" not in x else x for i, x in enumerate(found) if not i or "=" in found[i - 1]]


def look(pid):
    fields = watching.status(f"/proc/{pid}")
    caps, inside = int(fields["CapPrm"], 16), fields["NSpid"].split()
    if not caps & ~OURS or fields["Uid"].split() != [sys.argv[2]] * 4 or fields["Name"] in ("sckpt-broker", "slurmstepd"):
        return
    # How the tests become the user.
    if fields["Name"] == "setpriv":
        return
    if int(inside[-1]) >= 1000 and not caps & ~RESTORED:
        return
    said = json.dumps({"caps": caps, "args": words(f"/proc/{pid}/cmdline"), "env": variables(pid)})
    # It may have become another program.
    if (pid, said) not in seen and '"args": []' not in said:
        seen.add((pid, said))
        print(said, flush=True)


os.nice(-19)
watching.until(sys.argv[1], look)
