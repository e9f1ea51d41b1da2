#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""puppet.py namespaces | needless | network | streams | words: in a protected step, with the agent in the
user's hands: it makes the system calls that this program wants (x86-64)."""
import array
import contextlib
import ctypes
import os
import select
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
ATTACH, DETACH, STEP, GETREGS, SETREGS, POKE = 16, 17, 9, 12, 13, 5
NEWUSER, NEWNS, NEWNET, BIND = 0x10000000, 0x20000, 0x40000000, 4096
CLOSE, MMAP, MUNMAP, SOCKETPAIR, SENDMSG, CAPSET, SETNS, UNSHARE = 3, 9, 11, 53, 46, 126, 308, 272
PIDFD_OPEN, PIDFD_GETFD = 434, 438
HELLO, DUMP, RESTORE, ANSWER = 1, 3, 4, 6
SAID = {5: "hook", 7: "done", 8: "refused"}
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
        for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), args):
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


def message(word, value=0, count=0, text=b"", size=None):
    return struct.pack("=IiII", word, value, count, len(text) if size is None else size) + text


class Agent(Puppet):
    """It says what this program wants; what it is told is heard here."""

    ROOM = 1 << 20

    def __init__(self):
        super().__init__(1)
        words = dict(w.split("=", 1) for w in open("/proc/1/cmdline").read().split("\0") if "=" in w)
        self.broker = int(words["broker"])
        pidfd = os.pidfd_open(1)
        self.ears = socket.socket(fileno=ok(libc.syscall(PIDFD_GETFD, pidfd, self.broker, 0)))
        os.close(pidfd)
        self.base = self.call(MMAP, 0, self.ROOM, 3, 0x22, 2 ** 64 - 1, 0)

    def take(self, fds):
        """Its own of descriptors of this program's."""
        me = self.call(PIDFD_OPEN, os.getpid(), 0)
        theirs = [self.call(PIDFD_GETFD, me, fd, 0) for fd in fds]
        self.call(CLOSE, me)
        return theirs

    def say(self, what, fds=(), taken=()):
        theirs = [*taken, *(self.take(fds) if fds else ())]
        control = struct.pack("=Qii", 16 + 4 * len(theirs), socket.SOL_SOCKET, socket.SCM_RIGHTS)
        control += array.array("i", theirs).tobytes()
        control += b"\0" * (-len(control) % 8)
        vector, head = self.base, self.base + 16
        beside = head + 56
        text = beside + len(control)
        with open("/proc/1/mem", "r+b", 0) as f:
            f.seek(self.base)
            f.write(struct.pack("=QQ", text, len(what)) + struct.pack(
                "=QIIQQQQiI", 0, 0, 0, vector, 1, beside if theirs else 0, len(control) if theirs else 0, 0, 0)
                + control + what)
        try:
            self.call(SENDMSG, self.broker, head, 0)
        finally:
            for fd in theirs:
                self.call(CLOSE, fd)

    def hear(self, seconds=20.0):
        """What the broker says; None: nothing."""
        self.ears.settimeout(seconds)
        try:
            got = self.ears.recv(1 << 17)
        except TimeoutError:
            return None
        word, value, _, size = struct.unpack("=IiII", got[:16])
        return f"{SAID.get(word, word)} {value} {got[16:16 + size].decode(errors='replace')}"

    def let_go(self):
        self.call(MUNMAP, self.base, self.ROOM)
        self.ears.close()
        super().let_go()


def needless():
    """The agent asks the broker for a dump that needs nothing more."""
    pair = socket.socketpair()
    agent = Agent()
    agent.say(message(DUMP), [pair[1].fileno()])
    # Nobody reads the stream, so that criu stays, and it may have stopped this one already.
    time.sleep(600)


def network(port):
    """The agent, in a network that nobody else is in, asks for a dump of a program that has a connection
    out of the step. It does not go on: this program is of the tree."""
    pair = socket.socketpair()
    with socket.create_connection(("127.0.0.1", int(port))):
        agent = Agent()
        its = agent.take([pair[1].fileno()])
        # Later it may not look at this program any more.
        agent.call(UNSHARE, NEWUSER | NEWNET)
        agent.say(message(DUMP), taken=its)
        pair[1].close()
        said = agent.hear()
        print("answer:", said, flush=True)
        if said.startswith("hook"):
            agent.say(message(ANSWER, 1))
            agent.hear()
        pair[0].close()
        agent.let_go()
    time.sleep(600)


# ---- the agent's stream, over which the broker asks for images ---------------------------

YES, NO = b"\2\0\0\0\x08\1", b"\2\0\0\0\x08\0"


def answering(reply, image=None):
    """To the first request, and with the image, a piece at a time, where there is one."""
    def play(stream):
        size = struct.unpack("=I", stream.recv(4))[0]
        assert b"sckpt-broker.img" in stream.recv(size)
        stream.sendall(reply)
        if image is None:
            stream.shutdown(socket.SHUT_WR)
            return
        _, fds, _, _ = socket.recv_fds(stream, 1, 1)
        with open(fds[0], "wb", 0) as pipe:
            for piece in image:
                pipe.write(piece)
    return play


PLAYS = {
    "no list": answering(NO),
    "half a reply": answering(YES[:3]),
    "no reply": answering(b""),
    "another reply": answering(b"\2\0\0\0\x10\1"),
    "a reply of 2 GiB": answering(b"\xff\xff\xff\x7f" + b"\x08\1" * 500),
    "more than a reply": answering(YES * 100, [b"x\ny\n"]),
    "nothing in it": answering(YES, []),
    "no lines": answering(YES, [b"x" * 100000]),
    "no seal": answering(YES, [b"MUNGE:AAAA:\nsckpt-broker-statement 2\n"]),
    "a zero in it": answering(YES, [b"MUNGE:\nsckpt\0\n"]),
    "no end": answering(YES, (b"y" * (1 << 20) for _ in range(80))),
    "closed": socket.socket.close,
}


def kinds():
    """Descriptors that are no stream."""
    yield "/dev/null", os.open("/dev/null", os.O_RDWR)
    yield "/dev/zero", os.open("/dev/zero", os.O_RDWR)
    yield "a directory", os.open("/", os.O_RDONLY)
    yield "a path", os.open("/", os.O_PATH)
    yield "a file", os.open("stream", os.O_RDWR | os.O_CREAT, 0o600)
    yield "its own /proc/self/mem", os.open("/proc/self/mem", os.O_RDWR)
    for n, end in enumerate(os.pipe()):
        yield f"a pipe's end {n}", end
    epoll = select.epoll()
    yield "an epoll", os.dup(epoll.fileno())
    yield "an eventfd", os.eventfd(0)
    yield "a memfd", os.memfd_create("stream")
    yield "a pidfd", os.pidfd_open(os.getpid())
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("\0puppet")
    listening.listen()
    yield "a socket that listens", os.dup(listening.fileno())
    yield "a datagram socket", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()


def started():
    print("begin", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.1)
    return Agent()


def ask(agent, name, what, fds=(), play=None):
    """A request with a stream; a line with what the broker says to it."""
    ours, its = socket.socketpair()
    with ours, its:
        agent.say(what, [its.fileno(), *fds])
        its.close()
        if play:
            # It may have been refused already.
            with contextlib.suppress(OSError):
                play(ours)
        print(f"{name}: {agent.hear()}", flush=True)


def streams():
    """Restores for which the list is not what it should be, or the stream."""
    agent = started()
    for name, play in PLAYS.items():
        ask(agent, name, message(RESTORE), (), play)
    for name, fd in list(kinds()):
        agent.say(message(RESTORE), [fd])
        os.close(fd)
        print(f"{name}: {agent.hear()}", flush=True)
    print("left:", agent.hear(0.5), flush=True)
    agent.let_go()
    print("said all", flush=True)


def words():
    """Requests that are none; requests while one is at work."""
    agent = started()
    null = os.open("/dev/null", os.O_RDWR)
    for name, text, count in (("an option", b"--lsm-profile=x\0", 1), ("more than a key", b"file[1:1]x\0", 1),
                              ("no number", b"pipe:[]\0", 1), ("no end", b"pipe:[1]", 1), ("nothing", b"\0", 1),
                              ("another count", b"pipe:[1]\0", 5), ("a count below 0", b"pipe:[1]\0", 2 ** 32 - 1),
                              ("too many", b"pipe:[1]\0" * 200, 200)):
        ask(agent, name, message(DUMP, 0, count, text))
    ask(agent, "a dump with descriptors", message(DUMP, 0, 1, b"pipe:[1]\0"), [null])
    ask(agent, "a key without descriptor", message(RESTORE, 0, 2, b"x\0y\0"), [null])
    ask(agent, "a descriptor without key", message(RESTORE, 0, 1, b"x\0"), [null, null])
    ask(agent, "an empty key", message(RESTORE, 0, 1, b"\0"), [null])
    for what, fds in (
            (message(DUMP)[:8], ()), (b"", ()), (b"x", ()), (message(DUMP, size=9), ()), (message(DUMP, size=2 ** 32 - 1), ()),
            (message(RESTORE, size=1 << 31) + b"\0" * 70000, ()), (message(DUMP, text=b"\0" * 65537), [null]),
            (message(DUMP), [null] * 200), (message(DUMP), ()), (message(RESTORE, 0, 1, b"x\0"), ()),
            (message(HELLO), [null]), (message(ANSWER), [null] * 100), (message(99, 7, 1 << 31), [null] * 3)):
        agent.say(what, fds)
    print("left:", agent.hear(0.5), flush=True)
    # Two requests: the second one is heard when the first has ended.
    one, two = socket.socketpair(), socket.socketpair()
    agent.say(message(RESTORE), [one[1].fileno()])
    agent.say(message(RESTORE), [two[1].fileno()])
    for pair in (one, two):
        pair[1].close()
        pair[0].settimeout(20)
        answering(NO)(pair[0])
        print("one after the other:", agent.hear(), flush=True)
        pair[0].close()
    # While a dump waits for the agent's word. It is not to go on: this program is of the tree.
    for name, during in (("another one", [(message(DUMP), [null]), (message(RESTORE), [null] * 100), (message(HELLO), ())]),
                         ("a cut one", [(message(DUMP)[:15], [null])])):
        ours, its = socket.socketpair()
        agent.say(message(DUMP), [its.fileno()])
        its.close()
        # It is to be heard to its end, and nobody reads.
        threading.Thread(target=lambda s: [None for _ in iter(lambda: s.recv(65536), b"")], args=(ours,), daemon=True).start()
        print(f"{name}, first:", agent.hear(), flush=True)
        # Not of the agent's.
        agent.ears.send(message(ANSWER))
        for what, fds in during:
            agent.say(what, fds)
        if name == "another one":
            agent.say(message(ANSWER, 1))
        print(f"{name}, then:", agent.hear(), flush=True)
        ours.shutdown(socket.SHUT_RDWR)
    print("left:", agent.hear(0.5), flush=True)
    agent.let_go()
    print("said all", flush=True)


{f.__name__: f for f in (namespaces, needless, network, streams, words)}[sys.argv[1]](*sys.argv[2:])
