#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""carry.py DIR ROUNDS: fills a directory with all that may be in one, and says after each go
(~/go-N) how it finds it, and again when it has changed it."""
import hashlib
import os
import random
import socket
import stat
import sys
import time

HERE = sys.argv[1]
os.umask(0o022)


def write(name, data, mode=0o644):
    with open(name, "wb") as f:
        f.write(data)
    os.chmod(name, mode)
    os.utime(name, ns=(10**18, 10**18 + 1))


def state():
    """All of it but the times of directories in which criu has made something."""
    lines, first = [], {}
    for top, dirs, files in os.walk("."):
        dirs.sort()
        for name in sorted(dirs + files):
            path = os.path.join(top, name)
            s = os.lstat(path)
            if name == ".sckpt-carry":
                continue
            line = f"{path!r} {s.st_mode:o}"
            if stat.S_ISREG(s.st_mode):
                line += f" {s.st_size} {s.st_mtime_ns} as {first.setdefault(s.st_ino, path)!r} "
                line += f"{s.st_nlink} "
                if s.st_size < 1 << 20:
                    line += hashlib.sha256(open(path, "rb").read()).hexdigest()[:8]
                else:
                    with open(path, "rb") as f:
                        line += f"sparse {s.st_blocks < 1024} {os.pread(f.fileno(), 4, 1 << 29)}"
            elif stat.S_ISLNK(s.st_mode):
                line += f" {s.st_mtime_ns} -> {os.readlink(path)}"
            elif path == "./sub/shut":
                line += f" {s.st_mtime_ns}"
            lines.append(line)
    return lines


os.makedirs(HERE)
os.chdir(HERE)
os.chmod(".", 0o750)
data = random.Random(1).randbytes(300001)
write("closed", data, 0o440)
write("empty", b"")
write("name\n with%20 äll", b"x")
os.makedirs("sub/shut")
write("sub/shut/within", data[:5000])
os.symlink("closed", "link")
os.symlink("../../no/where", "sub/dangling")
os.symlink("/shared", "out")
os.mkfifo("pipe", 0o640)
write("one", b"two names")
os.link("one", "sub/two")
write("sparse", b"")
sparse = os.open("sparse", os.O_RDWR)
os.ftruncate(sparse, 1 << 30)
os.pwrite(sparse, b"data", 1 << 29)
os.close(sparse)
# Open, by two names, and with a third.
one = open("open", "ab", buffering=0)
one.write(b"line\n")
os.link("open", "open-too")
os.link("open", "sub/open-three")
two = open("open-too", "rb")
write("sub/shut/open", b"of a directory that is read only")
inner = open("sub/shut/open", "rb")
os.link("open", "sub/shut/open-four")
os.utime("sub/shut", ns=(10**18, 10**18))
os.chmod("sub/shut", 0o550)
with open(os.path.expanduser("~/held"), "w"):
    held = open(os.path.expanduser("~/held"))
server = socket.socket(socket.AF_UNIX)
server.bind("socket")
server.listen()

for n in range(1, int(sys.argv[2]) + 1):
    now = state()
    print("round", n, flush=True)
    while not os.path.exists(os.path.expanduser(f"~/go-{n}")):
        time.sleep(0.05)
    found = state()
    print("found", "the same" if found == now else sorted(set(now) ^ set(found)), flush=True)
    one.write(b"more\n")
    assert os.fstat(one.fileno()).st_ino == os.fstat(two.fileno()).st_ino
    inner.seek(0)
    assert inner.read().startswith(b"of a")
    assert two.read().endswith(b"more\n")
    os.unlink("closed")
    write("closed", data[n:], 0o440)
    write(f"new-{n}", b"new")
    os.makedirs(f"dir-{n}/in")
    os.chmod(f"dir-{n}/in", 0o500)
    if n > 1:
        os.unlink(f"new-{n - 1}")
        os.removedirs(f"dir-{n - 1}/in")
print("done", flush=True)
