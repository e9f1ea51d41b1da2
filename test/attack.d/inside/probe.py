#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""probe.py SECONDS: all the time, of every process that there is: ptrace, /proc/PID/mem,
process_vm_writev, pidfd_getfd, a signal. "had …" is one of another user, or with more
capabilities than this process has, that let it be done; "tried …" counts by program."""
import collections
import ctypes
import os
import signal
import sys
import time

PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207
libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def facts(pid):
    fields = dict(l.split(":\t", 1) for l in open(f"/proc/{pid}/status") if ":\t" in l)
    return (fields["Name"].strip(), int(fields["Uid"].split()[1]), int(fields["CapPrm"], 16),
            fields.get("Tgid"))


def same_namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")
    except OSError:
        return True


def ways(pid):
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
        yield "ptrace"
        # Only what is stopped can be let go.
        libc.ptrace(PTRACE_INTERRUPT, pid, None, None)
        try:
            os.waitpid(pid, 0x40000000)
        except ChildProcessError:
            pass
        libc.ptrace(PTRACE_DETACH, pid, None, None)
    for name, flags in (("mem", os.O_RDWR), ("maps", os.O_RDONLY), ("environ", os.O_RDONLY)):
        try:
            os.close(os.open(f"/proc/{pid}/{name}", flags))
            if name == "mem":
                yield name
        except OSError:
            pass
    there, here = Iovec(None, 1), Iovec(ctypes.cast(ctypes.create_string_buffer(b"x"), ctypes.c_void_p), 1)
    ctypes.set_errno(0)
    if libc.process_vm_writev(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0 or (
            ctypes.get_errno() == 14):
        yield "process_vm_writev"
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    for n in (0, 1, 2, 3, 4):
        fd = libc.syscall(438, pidfd, n, 0)
        if fd >= 0:
            os.close(fd)
            yield f"pidfd_getfd of {n}"
            break
    os.close(pidfd)
    try:
        os.kill(pid, 0)
        yield "signal"
    except OSError:
        pass


me = os.getpid()
mine = facts("self")
tried, had = collections.Counter(), set()
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == me:
            continue
        try:
            before = facts(pid)
            other = before[1] != mine[1] or before[2] & ~mine[2]
            # In a user namespace of its own (a rehearsal's) it has them over nothing else.
            if not other or not same_namespace(pid):
                continue
            did = list(ways(int(pid)))
            after = facts(pid)
        except (OSError, KeyError, ValueError):
            continue
        tried[before[0]] += 1
        # One that became something else in between is looked at again.
        if before == after:
            # A signal to one's own process is no power over it.
            did = [d for d in did if d != "signal" or before[1] != mine[1]]
            for d in did:
                had.add(f"{d} of {before[0]} (user id {before[1]}, capabilities {before[2]:x})")
print("tried", sum(tried.values()), "times:",
      ", ".join(f"{n} {k}" for k, n in tried.most_common()))
for h in sorted(had):
    print("had", h)
