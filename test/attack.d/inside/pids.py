#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""pids.py SOCKET PID…: from a protected step: the way out of its PID namespace, also by what
sender.py hands in by SOCKET, and the host's numbers PID…, which others have. A line "did …"
for what works although it should not, "could …" for what is known."""
import ctypes
import os
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE3, SIGCHLD = 435, int(signal.SIGCHLD)


class Args(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in (
        "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls",
        "set_tid", "set_tid_size", "cgroup")]


def clone(*pids):
    """A child with these numbers, the innermost namespace's first; errno or 0."""
    tids = (ctypes.c_int32 * len(pids))(*pids)
    args = Args(exit_signal=SIGCHLD, set_tid=ctypes.addressof(tids), set_tid_size=len(pids))
    pid = libc.syscall(CLONE3, ctypes.byref(args), ctypes.sizeof(args))
    if pid == 0:
        os._exit(0)
    if pid < 0:
        return ctypes.get_errno()
    os.waitpid(pid, 0)
    return 0


def attempt(what, function):
    try:
        function()
        print("did", what)
    except OSError as e:
        print("denied", what, e.strerror)


def caps():
    with open("/proc/self/status") as f:
        return [line for line in f if line.startswith("Cap")]


def in_child(function):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            function()
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def by_what_was_sent(others, user):
    """As it is, or with all capabilities over a user namespace of its own."""
    where = " in a user namespace" if user else ""
    before = caps()
    if user:
        os.unshare(os.CLONE_NEWUSER)
        print("tried in a user namespace")
    for name, fd in sent.items():
        attempt(f"setns to the host's {name}{where}", lambda: os.setns(fd))
    for flag in (os.CLONE_NEWPID, os.CLONE_NEWNS, os.CLONE_NEWUSER, os.CLONE_NEWPID | os.CLONE_NEWNS | os.CLONE_NEWUSER):
        attempt(f"setns to the sender, {flag:x}{where}", lambda: os.setns(pidfd, flag))
    if not user and caps() != before:
        print("did get capabilities", caps())
    # The step's namespace and the host's are not this user namespace's.
    if user:
        for pids in ((29003,), (29003, 29003)):
            if clone(*pids) == 0:
                print("did choose PIDs", pids, "with capabilities over a user namespace alone")
        os.unshare(os.CLONE_NEWPID)
        if clone(1, 29004, 29004) == 0:
            print("did choose PIDs in the namespaces above")
    for pid in others:
        for what in ("ns/pid", "ns/mnt", "mem", "environ", "fd/0", "root/", "cwd/", "map_files", "maps"):
            attempt(f"{what} of {pid} by the host's /proc{where}", lambda: os.open(f"{pid}/{what}", os.O_RDONLY, dir_fd=proc))
        attempt(f"writing to mem of {pid} by the host's /proc{where}", lambda: os.open(f"{pid}/mem", os.O_RDWR, dir_fd=proc))


here = os.readlink("/proc/self/ns/pid")
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
names, fds, _, _ = socket.recv_fds(s, 4096, 64)
*fds, pidfd, proc = fds
sent = dict(zip(names.decode().split(), fds))
foreign = [n for n, fd in sent.items() if os.fstat(fd).st_ino != os.stat(f"/proc/self/ns/{n}").st_ino]
print("sent", len(sent), "foreign", *foreign)
for user in (False, True):
    in_child(lambda: by_what_was_sent(sys.argv[2:], user))
s.send(b"x")
for ns in ("pid", "mnt", "user", "cgroup", "net", "ipc", "uts", "time", "pid_for_children"):
    for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
        try:
            if os.readlink(f"/proc/{pid}/ns/{ns}") == os.readlink(f"/proc/self/ns/{ns}"):
                continue
            fd = os.open(f"/proc/{pid}/ns/{ns}", os.O_RDONLY)
        except OSError:
            continue
        attempt(f"setns to {ns} of {pid}", lambda: os.setns(fd))
own = {int(p) for p in os.listdir("/proc") if p.isdigit()}
for pid in map(int, sys.argv[2:]):
    if clone(29000, pid) == 0:
        print("did take host PID", pid)
    if pid not in own:
        attempt(f"signal to host PID {pid}", lambda: os.kill(pid, signal.SIGCONT))
        attempt(f"pidfd of host PID {pid}", lambda: os.pidfd_open(pid))
print("could choose a free host PID of a child" if clone(29001, 29001) == 0 else "no choice of host PIDs")
print("could choose a child's PID" if clone(29002) == 0 else "no choice of PIDs: the capability is not there")
for path in ("/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/core_pattern",
             "/proc/sysrq-trigger", "/proc/1/oom_score_adj"):
    try:
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"0\n" if path.endswith("adj") else b"30000\n")
        if not path.endswith(("ns_last_pid", "adj")):
            print("did write to", path)
    except OSError:
        pass
