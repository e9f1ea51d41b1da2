#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""broker.py, in a protected step: takes the agent's socket to sckpt-broker, as a process with
the agent's capability can, and says what it likes. A line "answer …" for each answer."""
import array
import ctypes
import os
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
PIDFD_OPEN, PIDFD_GETFD = 434, 438
words = dict(w.split("=", 1) for w in open("/proc/1/cmdline").read().split("\0") if "=" in w)
pidfd = libc.syscall(PIDFD_OPEN, 1, 0)
fd = libc.syscall(PIDFD_GETFD, pidfd, int(words["broker"]), 0)
assert fd >= 0, os.strerror(ctypes.get_errno())
s = socket.socket(fileno=fd)
s.settimeout(0.05)
HELLO, DUMP, RESTORE, ANSWER = 1, 3, 4, 6


def message(word, value=0, count=0, text=b"", size=None):
    return struct.pack("=IiII", word, value, count, len(text) if size is None else size) + text


def say(what, fds=(), ancillary=()):
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    try:
        s.sendmsg([what], control + list(ancillary))
    except OSError as e:
        print("not sent:", e.strerror)


def hear():
    try:
        print("answer", s.recv(65536)[:64].hex())
    except TimeoutError:
        pass


pair = socket.socketpair()
null = os.open("/dev/null", os.O_RDWR)
# Whose PID this is the kernel says; to say the agent's one would have to be root.
say(message(DUMP), [pair[0].fileno()], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS,
                                         struct.pack("=III", 1, os.getuid(), os.getgid()))])
for what, fds in (
        (message(HELLO), ()), (message(DUMP), ()), (message(DUMP), [pair[0].fileno()]),
        (message(RESTORE), [pair[0].fileno()]), (message(RESTORE, 0, 1, b"x\0"), [pair[0].fileno(), null]),
        (message(ANSWER), ()), (message(99, 7, 1 << 31), ()), (b"", ()), (b"x", ()),
        (message(DUMP, size=1 << 31), ()), (message(DUMP, size=10) + b"\0" * 9, ()),
        (message(DUMP, text=b"\0" * 65536), [null] * 200), (b"\0" * 70000, ())):
    say(what, fds)
    hear()
for n in range(10000):
    say(message(n % 9, n, n, b"y" * (n % 300)), [null] if n % 7 == 0 else ())
hear()
print("said all")
