#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sampler.py SECONDS UID, as root: all capability sets of all processes of the user, as
long as that. "MORE …" is one that has more than CAP_CHECKPOINT_RESTORE and that the user
can reach; "sets …" says which programs had what."""
import os
import sys
import time

OURS = 1 << 40
end, uid = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
seen, more, looks = {}, set(), 0
namespace = os.readlink("/proc/self/ns/user")


def look(pid):
    at = f"/proc/{pid}"
    fields = dict(l.split(":\t", 1) for l in open(at + "/status").read().splitlines() if ":\t" in l)
    uids = [int(u) for u in fields["Uid"].split()]
    if uid not in uids:
        return
    caps = [int(fields[f"Cap{n}"], 16) for n in ("Inh", "Prm", "Eff", "Amb")]
    name = fields["Name"]
    had = caps[0] | caps[1] | caps[2] | caps[3]
    if name == "srun" and open(f"/proc/{fields['PPid']}/comm").read() == "sckpt-client\n":
        name = fields["Name"] = "the-real-srun"
    # In a user namespace of its own (a rehearsal's) it has them over nothing else; setpriv is
    # how the tests become the user.
    if os.readlink(at + "/ns/user") != namespace or name.strip() == "setpriv":
        return
    # Whose file this is says whether it can be traced: of one that is not dumpable, root.
    reachable = os.stat(at + "/environ").st_uid == uid
    seen.setdefault((name, f"{had:x}", "reachable" if reachable else "out of reach"), 0)
    again = dict(l.split(":\t", 1) for l in open(at + "/status").read().splitlines() if ":\t" in l)
    if any(u != uid for u in uids) and name != "slurmstepd":
        more.add(f"MORE ids {uids} of {name}")
    if had & ~OURS and again["CapPrm"] == fields["CapPrm"] and again["Name"] in (name, "srun") and (
            reachable or name != "slurmstepd" or caps[0] or caps[3]):
        more.add(f"MORE {name} {'reachable' if reachable else ''} inheritable {caps[0]:x} permitted "
                 f"{caps[1]:x} effective {caps[2]:x} ambient {caps[3]:x}")


while True:
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                look(pid)
            except (OSError, KeyError, ValueError):
                pass
    looks += 1
    if time.monotonic() >= end:
        break
print("\n".join(sorted(more)))
for (name, had, how) in sorted(seen):
    print("sets", name, had, how)
print("looks", looks)
