#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""puppet.py namespaces | needless: in a protected step, with the agent in the user's hands: it
makes the system calls that this program wants (x86-64)."""
import ctypes
import os
import socket
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
ATTACH, DETACH, STEP, GETREGS, SETREGS, POKE = 16, 17, 9, 12, 13, 5
NEWUSER, NEWNS, BIND = 0x10000000, 0x20000, 4096
SOCKETPAIR, SENDMSG, CAPSET, SETNS, UNSHARE = 53, 46, 126, 308, 272
PIDFD_OPEN = 434
REGS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
        "fs_base gs_base ds es fs gs").split()
NO_CAPS = struct.pack("=II6I", 0x20080522, 0, 0, 0, 0, 0, 0, 0)


class Regs(ctypes.Structure):
    _fields_ = [(n, ctypes.c_ulonglong) for n in REGS]


def ok(rc):
    if rc < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return rc


def ptrace(what, pid, addr=0, data=0):
    return ok(libc.ptrace(ctypes.c_long(what), pid, ctypes.c_void_p(addr),
                          data if isinstance(data, ctypes._Pointer) else ctypes.c_void_p(data)))


class Puppet:
    """A process that waits in a system call."""

    def __init__(self, pid):
        self.pid, self.was = pid, Regs()
        while True:
            ptrace(ATTACH, pid)
            os.waitpid(pid, 0x40000000)
            ptrace(GETREGS, pid, 0, ctypes.pointer(self.was))
            if self.was.orig_rax != 2 ** 64 - 1:
                break
            # It is at work, and no system call's instruction is before it.
            ptrace(DETACH, pid)
            time.sleep(0.01)

    def room(self, data):
        """Its address, below the stack."""
        self.was_at = at = (self.was.rsp - 8192) & ~15
        data += b"\0" * (-len(data) % 8)
        for n in range(0, len(data), 8):
            ptrace(POKE, self.pid, at + n, int.from_bytes(data[n:n + 8], "little"))
        return at

    def call(self, number, *args):
        regs = Regs.from_buffer_copy(self.was)
        regs.rip, regs.rax, regs.orig_rax = self.was.rip - 2, number, 2 ** 64 - 1
        for name, value in zip(("rdi", "rsi", "rdx", "r10"), args):
            setattr(regs, name, value)
        ptrace(SETREGS, self.pid, 0, ctypes.pointer(regs))
        ptrace(STEP, self.pid)
        os.waitpid(self.pid, 0x40000000)
        ptrace(GETREGS, self.pid, 0, ctypes.pointer(regs))
        rc = ctypes.c_longlong(regs.rax).value
        if rc < 0:
            raise OSError(-rc, os.strerror(-rc))
        return rc

    def let_go(self):
        ptrace(SETREGS, self.pid, 0, ctypes.pointer(self.was))
        ptrace(DETACH, self.pid)


def namespaces(hook, *program):
    """The agent and the whole tree have mounts that the user has made."""
    agent = Puppet(1)
    agent.call(UNSHARE, NEWUSER | NEWNS)
    agent.let_go()
    root = Puppet(1000)
    root.call(SETNS, root.call(PIDFD_OPEN, 1, 0), NEWUSER | NEWNS)
    at = root.room(NO_CAPS)
    root.call(CAPSET, at, at + 8)
    root.let_go()
    ok(libc.setns(ok(libc.syscall(PIDFD_OPEN, 1, 0)), NEWUSER | NEWNS))
    ok(libc.mount(hook.encode(), b"/usr/libexec/sckpt/sckpt-hook", None, BIND, None))
    print("moved", flush=True)
    os.execv(program[0], program)


def needless():
    """The agent asks the broker for a dump that needs nothing more."""
    words = dict(w.split("=", 1) for w in open("/proc/1/cmdline").read().split("\0") if "=" in w)
    broker = int(words["broker"])
    agent = Puppet(1)
    at = agent.room(b"\0" * 8)
    agent.call(SOCKETPAIR, socket.AF_UNIX, socket.SOCK_STREAM, 0, at)
    with open("/proc/1/mem", "rb", 0) as f:
        f.seek(at)
        its = struct.unpack("=ii", f.read(8))[1]
    base = at + 8
    message = struct.pack("=IiII", 3, 0, 0, 0)
    control = struct.pack("=QiiiI", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS, its, 0)
    vector = struct.pack("=QQ", base, len(message))
    head = struct.pack("=QIIQQQQiI", 0, 0, 0, base + 16 + 24, 1, base + 16, 24, 0, 0)
    agent.room(b"\0" * 8 + message + control + vector + head)
    agent.call(SENDMSG, broker, base + 16 + 24 + 16, 0)
    # Nobody reads the stream, so that criu stays, and it may have stopped this one already.
    time.sleep(600)


{"namespaces": namespaces, "needless": needless}[sys.argv[1]](*sys.argv[2:])
