#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""writer.py LINES NAME [in-place]: writes LINES lines, one in 50 ms, and as fast as
it can once there is a file NAME.fast, to standard output and error, to NAME.append (append mode) and to NAME.write (written from its
begin). With in-place also to a file by pwrite (NAME.place) and to a data base
(NAME.db), and compares both with what it remembers; each difference is told."""
import os
import sqlite3
import struct
import sys
import time

lines, name = int(sys.argv[1]), sys.argv[2]
in_place = sys.argv[3:] == ["in-place"]
append = os.open(name + ".append", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
write = os.open(name + ".write", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
if in_place:
    place = os.open(name + ".place", os.O_RDWR | os.O_CREAT, 0o644)
    os.truncate(place, 100000)
    # A journal that is not there between transactions; a file that stays open.
    db = sqlite3.connect(name + ".db", isolation_level=None)
    db.execute("pragma synchronous = off")
    db.execute("create table t (i integer, text text)")


def say(fd, text):
    os.write(fd, (text + "\n").encode())


def compare(what, is_now, remembered):
    if is_now != remembered:
        say(2, f"wrong {what}: {is_now}, not {remembered}")


for i in range(1, lines + 1):
    say(1, f"out {i}")
    say(2, f"err {i}")
    say(append, f"append {i}")
    say(write, f"write {i}")
    if in_place:
        was, = struct.unpack("q", os.pread(place, 8, 50000))
        compare("number in place", was, i - 1)
        os.pwrite(place, struct.pack("q", i), 50000)
        compare("rows", db.execute("select count(*) from t").fetchone()[0], i - 1)
        db.execute("insert into t values (?, ?)", (i, "x" * 500))
    if not os.path.exists(name + ".fast"):
        time.sleep(0.05)
say(1, "end")
