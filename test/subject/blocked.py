#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blocked.py CASE [ARGS...]: a program that has something which is hard, or not
possible, to checkpoint. It says "up PID" when it has it, and then counts: whoever
reads that sees that it goes on. `listen PORT` is the other end of case tcp."""
import ctypes
import fcntl
import mmap
import os
import resource
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
kept = []


def check(rc, what):
    if rc < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return rc


def child(begin):
    """A process of its own; up once it has begun."""
    rd, wr = os.pipe()
    pid = os.fork()
    if pid == 0:
        begin()
        os.write(wr, b"up")
        os.close(wr)
        while True:
            time.sleep(60)
    os.close(wr)
    assert os.read(rd, 2) == b"up"
    os.close(rd)
    return pid


def tcp(host, port):
    kept.append(socket.create_connection((host, int(port))))


def device(path):
    kept.append(os.open(path, os.O_RDWR))


CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def userns():
    check(libc.unshare(CLONE_NEWUSER), "unshare")


def fuse(directory):
    """Mounted as any user can: in a user namespace, and served by itself."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"),
                       ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)
    kept.append(os.open("/dev/fuse", os.O_RDWR))
    options = f"fd={kept[-1]},rootmode=40000,user_id=0,group_id=0"
    check(libc.mount(b"own", directory.encode(), b"fuse", 6, options.encode()), "mount")


PTRACE_SEIZE = 0x4206


def traced():
    """As by gdb: a child that its parent traces."""
    pid = child(lambda: None)
    check(libc.ptrace(PTRACE_SEIZE, pid, None, None), "ptrace")
    return pid


def io_uring():
    params = ctypes.create_string_buffer(120)
    kept.append(check(libc.syscall(425, 4, params), "io_uring_setup"))


def terminal(path):
    """Somebody else's: its other end is not in the job."""
    kept.append(os.open(path, os.O_RDWR | os.O_NOCTTY))


def lease(path, kind="read"):
    with open(path, "w") as f:
        f.write("leased\n")
    fd = os.open(path, os.O_RDONLY if kind == "read" else os.O_WRONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK if kind == "read" else fcntl.F_WRLCK)
    kept.append(fd)


def leased():
    return fcntl.fcntl(kept[0], fcntl.F_GETLEASE) != fcntl.F_UNLCK


def files(directory, count, mode):
    """So many open files, of a thousand names; in as many processes as the limit of
    one needs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    flags = os.O_RDONLY if mode == "read" else os.O_WRONLY | os.O_APPEND
    for i in range(1000):
        with open(f"{directory}/{i}", "w") as f:
            f.write(f"{i}\n")
    each = min(hard - 100, int(count))

    def hold(n):
        for i in range(n):
            kept.append(os.open(f"{directory}/{i % 1000}", flags))

    for done in range(each, int(count), each):
        child(lambda n=min(each, int(count) - done): hold(n))
    hold(each)


def files_there():
    return all(os.fstat(fd).st_size >= 2 for fd in kept)


def sparse(size, resident):
    area = mmap.mmap(-1, int(size), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
    step = int(size) // (int(resident) // 4096)
    step -= step % 4096
    for at in range(0, int(resident) // 4096):
        area[at * step] = at % 255 + 1
    kept.append((area, step, int(resident) // 4096))


def sparse_there():
    area, step, count = kept[0]
    return all(area[at * step] == at % 255 + 1 for at in range(count))


def listen(port):
    with socket.create_server(("", int(port))) as s:
        while True:
            kept.append(s.accept()[0])


CASES = {"tcp": tcp, "device": device, "userns": lambda: child(userns),
         "fuse": lambda d: child(lambda: fuse(d)), "traced": traced,
         "io_uring": io_uring, "terminal": terminal, "lease": lease, "files": files,
         "sparse": sparse, "none": lambda: None, "listen": listen}
VERIFY = {"lease": leased, "files": files_there, "sparse": sparse_there}

if __name__ == "__main__":
    case = sys.argv[1]
    begun = CASES[case](*sys.argv[2:])
    print("up", begun or os.getpid(), kept[0] if kept and isinstance(kept[0], int) else "",
          flush=True)
    good = VERIFY.get(case, lambda: True)
    n = 0
    while True:
        n += 1
        print("good" if good() else "BAD", n, flush=True)
        time.sleep(0.2)
