#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""liar.py DIR STATE UID AT [OTHERS]: shows at AT what DIR has, as faulty.py does, by a process of user
UID's, mounted as fusermount3 would for them; with OTHERS for others, too (user_allow_other of
fuse.conf). STATE/fault, beside faulty.py's:

    owner UID   all of it is said to be that user's, and closed to others
    second      what is read again, by whom ever, is not what it was
    open        each open of a file shows, in turn, it and one that is altered
"""
import collections
import ctypes
import os
import pathlib
import struct
import sys
import time

sys.path.append("/shared/subject")
import faulty  # noqa: E402

DIRECT_IO = 1


def altered(data):
    if b"the-right-word" in data:
        return data.replace(b"the-right-word", b"the-wrong-word")
    half = len(data) // 2
    return data[:half] + bytes([data[half] ^ 1]) + data[half + 1:] if data else data


class Liar(faulty.FileSystem):
    def __init__(self, directory, state):
        super().__init__(directory, state)
        self.reads, self.opens, self.alter = collections.Counter(), collections.Counter(), {}

    def word(self):
        return self.fault().split() or ["none"]

    def attr(self, node):
        return self.lie(super().attr(node), 16)

    def entry(self, node, name):
        return self.lie(super().entry(node, name), 40)

    def lie(self, answer, at):
        if self.word()[0] != "owner":
            return answer
        mode, links = struct.unpack_from("<2I", answer, at + 60)
        return (answer[:at + 60] + struct.pack("<4I", mode & ~0o077, links, *[int(self.word()[1])] * 2) +
                answer[at + 76:])

    def open(self, node, who, data):
        fd, _, _ = struct.unpack("<Q2I", super().open(node, who, data))
        self.opens[node] += 1
        self.alter[fd] = self.word()[0] == "open" and self.opens[node] % 2 == 0
        # Each read is asked for.
        return struct.pack("<Q2I", fd, DIRECT_IO, 0)

    def read(self, node, who, data):
        fd, offset, size = struct.unpack_from("<2QI", data)
        out = super().read(node, who, data)
        if self.word()[0] == "second":
            self.reads[node, offset] += 1
            again = self.reads[node, offset] > 1
        else:
            self.reads.clear()
            again = self.alter.get(fd)
        if again and out:
            self.note("read", "altered")
            return altered(out)
        return out

    def getattr(self, node, who, data):
        if self.word()[0] == "owner":
            self.note("getattr", "lied")
        return super().getattr(node, who, data)


def main():
    directory, state, uid, at = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.umask(0)
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id={uid},group_id={uid}" + ",allow_other" * (len(sys.argv) > 5)
    nosuid, nodev = 2, 4
    if libc.mount(b"liar", os.fsencode(at), b"fuse", nosuid | nodev, options.encode()):
        sys.exit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    if os.fork():
        os._exit(0)
    os.setsid()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # As a program that the user has started.
    libc.prctl(4, 1, 0, 0, 0)
    fs = Liar(directory, state)
    faulty.leave_stdio()
    fs.serve(device)


if __name__ == "__main__":
    main()
