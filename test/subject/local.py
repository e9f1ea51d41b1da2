#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""local.py LINES: works in a directory of its own below /tmp and with what else only
its node has; prints a line for each step, at once when the home has a file `quick`, and at the
end how it found everything."""
import hashlib
import mmap
import os
import sqlite3
import sys
import time

LINES = int(sys.argv[1])
HERE = f"/tmp/local-{os.environ['SLURM_JOB_ID']}/deep"
SPARSE = 1 << 30
QUICK = os.path.expanduser("~/quick")


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()[:16]


os.umask(0o027)
os.makedirs(HERE)
os.chmod(HERE, 0o710)
os.chdir(HERE)

with open("input", "w") as f:
    f.writelines(f"in {i}\n" for i in range(LINES))
os.utime("input", (1e9, 1e9))
os.chmod("input", 0o440)
source = open("input")

appended = open("appended", "a", buffering=1)
placed = open("placed", "w+b", buffering=0)
placed.truncate(8 * LINES)
base = sqlite3.connect("base.sqlite", isolation_level=None)
base.execute("create table t (i integer)")
base.execute("begin")  # the file stays locked, its journal open
base.execute("insert into t values (-1)")

shm = os.open(f"/dev/shm/local-{os.environ['SLURM_JOB_ID']}", os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(shm, 8 * LINES)
shared = mmap.mmap(shm, 8 * LINES)
os.close(shm)

sparse = open("sparse", "w+b", buffering=0)
sparse.truncate(SPARSE)
nameless = open("nameless", "w+b", buffering=0)
os.unlink("nameless")
first = open("first", "w+b", buffering=0)
os.link("first", "second")
second = open("second", "rb")
empty = open("empty", "w")
os.mkfifo("pipe", 0o640)
pipe = os.open("pipe", os.O_RDWR)
os.write(pipe, b"unread")

for i in range(LINES):
    line = source.readline()
    assert line == f"in {i}\n", line
    appended.write(line)
    os.pwrite(placed.fileno(), i.to_bytes(8, "big"), 8 * (LINES - 1 - i))
    os.pwrite(sparse.fileno(), i.to_bytes(8, "big"), SPARSE // 2)
    os.pwrite(nameless.fileno(), i.to_bytes(8, "big"), 8 * i)
    shared[8 * i:8 * i + 8] = i.to_bytes(8, "big")
    base.execute("insert into t values (?)", (i,))
    print(f"line {i}", flush=True)
    if not os.path.exists(QUICK):
        time.sleep(0.05)

base.execute("commit")
s = os.stat("input")
print("input", oct(s.st_mode), s.st_mtime_ns)
print("deep", oct(os.stat(HERE).st_mode), os.getcwd() == HERE)
print("appended", digest("appended"), "placed", digest("placed"))
s = os.stat("sparse")
print("sparse", s.st_size, s.st_blocks < 1024, os.pread(sparse.fileno(), 8, SPARSE // 2).hex())
print("nameless", os.fstat(nameless.fileno()).st_size)
first.write(b"two names")
print("names", os.path.samefile("first", "second"), second.read().decode(), os.stat("first").st_nlink)
print("shared", hashlib.sha256(shared).hexdigest()[:16])
print("base", base.execute("select count(*), sum(i) from t").fetchall())
print("integrity", base.execute("pragma integrity_check").fetchall())
empty.write("no more")
empty.close()
print("pipe", oct(os.stat("pipe").st_mode), os.read(pipe, 100).decode())
print("empty", open("empty").read())
