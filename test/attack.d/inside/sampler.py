#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sampler.py SECONDS|FILE UID [MORE], as root: all capability sets of all threads of the user, as
long as that, or until FILE is there. "MORE …" is one that has more than CAP_CHECKPOINT_RESTORE and that the
user can reach; "sets …" says which programs had what.

MORE, in hexadecimal: what the broker's criu may have beside it, and what that restores, as long as it
lives."""
import os
import sys
import time

from watching import status

OURS = 1 << 40
# What criu was killed over may be on its way out.
GRACE = 20
until, uid = sys.argv[1], int(sys.argv[2])
elevated = int(sys.argv[3], 16) if len(sys.argv) > 3 else 0
end = time.monotonic() + (float(until) if until[0] != "/" else 1e9)
seen, more, looks = {}, set(), 0
suspects, pending = {}, {}  # threads, and since when they have what no criu is there to take
namespace = os.readlink("/proc/self/ns/user")


def caps_of(fields):
    return [int(fields[f"Cap{n}"], 16) for n in ("Inh", "Prm", "Eff", "Amb")]


def is_criu(path, fields):
    """And no process that it restores: those have PIDs inside as they had."""
    if fields["Name"] != "criu":
        return False
    if int(fields["NSpid"].split()[-1]) < 1000:
        return True
    with open(path + "/cmdline", "rb") as f:
        return f.read().split(b"\0")[1:2] == [b"dump"]


def of_broker(path, fields, had, reachable):
    """Is it one of the broker's, or still in the making by it?"""
    if not elevated:
        return False
    name, inside = fields["Name"], fields["NSpid"].split()
    if name == "sckpt-broker":
        return not reachable
    if had & ~OURS & ~elevated or len(inside) < 2:
        return False
    if is_criu(path, fields):
        return True
    if int(inside[-1]) >= 1000 and had & ~OURS:
        # Its own or the step's: it is looked at again, when it has been seen who is there.
        with open(path + "/stat") as f:
            start = f.read().rpartition(")")[2].split()[19]
        suspects[path, start] = os.readlink(path + "/ns/pid"), f"{name} keeps {had:x}"
    return int(inside[-1]) >= 1000


def look_at_thread(path, process, reachable):
    fields = status(path) | {"Name": process}
    uids = [int(u) for u in fields["Uid"].split()]
    if uid not in uids or fields["State"][0] in "ZX":
        return
    caps = caps_of(fields)
    had = caps[0] | caps[1] | caps[2] | caps[3]
    name = fields["Name"]
    if name == "srun":
        with open(f"/proc/{fields['PPid']}/comm") as f:
            if f.read() == "sckpt-client\n":
                name = fields["Name"] = "the-real-srun"
    # In a user namespace of its own (a rehearsal's) it has them over nothing else; setpriv is
    # how the tests become the user.
    if os.readlink(path + "/ns/user") != namespace or name.strip() == "setpriv":
        return
    seen.setdefault((name, f"{had:x}", "reachable" if reachable else "out of reach"), 0)
    again = status(path)
    if status(f"/proc/{fields['Tgid'].strip()}")["Name"] != process:
        return
    if of_broker(path, fields, had, reachable):
        return
    if any(u != uid for u in uids) and name != "slurmstepd":
        more.add(f"MORE ids {uids} of {name}")
    if had & ~OURS and again["CapPrm"] == fields["CapPrm"] and (
            reachable or name != "slurmstepd" or caps[0] or caps[3]):
        more.add(f"MORE {name} {'reachable' if reachable else ''} inheritable {caps[0]:x} permitted "
                 f"{caps[1]:x} effective {caps[2]:x} ambient {caps[3]:x}")


def look(pid):
    # Whose file this is says whether it can be traced: of one that is not dumpable, root.
    reachable = os.stat(f"/proc/{pid}/environ").st_uid == uid
    leader = status(f"/proc/{pid}")
    process = leader["Name"]
    if str(uid) not in leader["Uid"].split():
        return
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            look_at_thread(f"/proc/{pid}/task/{tid}", process, reachable)
        except (OSError, KeyError, ValueError):
            pass


def crius():
    """The PID namespaces that have one."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if is_criu(f"/proc/{pid}", status(f"/proc/{pid}")):
                found.add(os.readlink(f"/proc/{pid}/ns/pid"))
        except (OSError, KeyError, ValueError):
            pass
    return found


def judge():
    there, now = crius() if suspects else (), time.monotonic()
    for key in [k for k in pending if k not in suspects]:
        del pending[key]
    for key, (space, said) in suspects.items():
        if space in there:
            pending.pop(key, None)
        elif now - pending.setdefault(key, now) > GRACE:
            more.add(f"MORE {said}")
    suspects.clear()


if until[0] == "/":
    print("ready", flush=True)
if elevated:
    # What it looks for is there for some ms.
    os.nice(-19)
over = None
while True:
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                look(pid)
            except (OSError, KeyError, ValueError):
                pass
    judge()
    looks += 1
    now = time.monotonic()
    if over is None and (now >= end or (until[0] == "/" and os.path.exists(until))):
        over = now
    if over is not None and (not pending or now > over + 2 * GRACE):
        break
print("\n".join(sorted(more)))
for (name, had, how) in sorted(seen):
    print("sets", name, had, how)
print("looks", looks)
