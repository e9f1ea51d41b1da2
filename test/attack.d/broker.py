# SPDX-License-Identifier: GPL-2.0-or-later
"""What sckpt-broker can be made to do, with elevate= set: its criu has more rights than the
user."""
import collections
import contextlib
import json
import re
import subprocess
import time

from attack import ELEVATED, INSIDE, MARK, SANDBOX, attack, must_not
from cluster import COMMAND, Job, until
from root import baits

NODE = "n1"


@contextlib.contextmanager
def system_log(c, node=NODE):
    """The lines that the node's system log gets meanwhile."""
    lines, before = [], len(c.system_log(node))
    try:
        yield lines
    finally:
        lines.extend(c.system_log(node)[before:])


def sandboxed(c, user="user1"):
    """A checkpoint of the broker's, of a job that has ended."""
    return c.saved(user, wrap=f"exec {SANDBOX} 600", ready="^tick 1$")


def restart(c, job, user="user1"):
    return int(c.run(NODE, f"sckpt restart {job.number} --force", user=user).stdout.split()[-1])


def held(job):
    return job.state == ["PENDING"] and job.record()["priority"]["number"] == 0


def restarts(c, job, user="user1"):
    """How a job fares that is to go on from it."""
    new = restart(c, job, user)

    def over():
        out = c.home(user) / f"slurm-{new}.out"
        said = out.read_text() if out.exists() else ""
        return c.restored(new) or "cannot go on" in said and said
    # The port of a connection of before may have to become free (step/ports.c).
    said = until("the restart", over, 120)
    for line in c.run(NODE, f"python3 {INSIDE}/sampler.py 0 1001", user="root").stdout.splitlines():
        must_not(line.startswith("MORE"), line)
    if said is not True:
        # Before that it would be held after its end.
        until("it to be held", lambda: held(Job(c, new, user, c.home(user))))
    c.ctl(f"scancel {new}", check=False)
    must_not(said is True, "it was restored")
    return next(x for x in said.splitlines() if "cannot go on" in x)


# What is done to the exported images, and what has to stop it.
RESEAL = ("import hashlib, re, subprocess; p = 'ex/sckpt-broker.img'; t = open(p).read().partition('\\n')[2]; "
          "t = re.sub('image ((?:core-[0-9]+|pstree).img) .*', lambda m: 'image %s %d %s' % (m[1], "
          "len(d := open('ex/' + m[1], 'rb').read()), hashlib.sha256(d).hexdigest()), t); "
          "h = hashlib.sha256(t.encode()).digest(); "
          "s = subprocess.run(['munge'], input=h, capture_output=True).stdout.decode().strip(); "
          "open(p, 'w').write(s + '\\n' + t)")
# A symbol's offset, say: criu would write jumps there. Contents of memory are not sealed.
VDSO = ("import glob\n"
        "for p in glob.glob('ex/pages-*.img'):\n"
        "    d = bytearray(open(p, 'rb').read())\n"
        "    at = d.find(b'__vdso_gettimeofday')\n"
        "    if at >= 0: d[at] ^= 1; open(p, 'wb').write(d); print(p)\n")
FIT = f"python3 {INSIDE}/forge.py ex none"  # only makes the manifest's digests fit
SEALED = "core-1001.img is (longer than|not) what was sealed"
TRIES = {
    "capabilities": (f"python3 {INSIDE}/forge.py ex ambient", SEALED),
    "root's ids": (f"python3 {INSIDE}/forge.py ex uid", SEALED),
    "another list, the old seal": (f"sed -i 's/^needs .*/needs 7/' ex/sckpt-broker.img; {FIT}",
                                   "its manifest was changed after it was sealed"),
    "another uid in it": (f"sed -i 's/^uid .*/uid 0/' ex/sckpt-broker.img; {FIT}",
                          "its manifest was changed after it was sealed"),
    "sealed by the user": (f"python3 {INSIDE}/forge.py ex ambient; python3 -c \"{RESEAL}\"; {FIT}",
                           "it was sealed by user id 1001, and is to be of 0"),
    "no seal": (f"sed -i 1d ex/sckpt-broker.img; {FIT}", "its seal is not this cluster's"),
    "nothing in it": (f": >ex/sckpt-broker.img; {FIT}", "the list of images is not sealed"),
    "a page map": (f"printf x >>ex/pagemap-1001.img; {FIT}", "pagemap-1001.img is longer than what was sealed"),
    "the vDSO": (f"[ -n \"$(python3 -c \"{VDSO}\")\" ]; {FIT}",
                 "the vDSO of a process is not the one of the kernel where it was dumped"),
    "an image less": (f"mv ex/mm-1001.img ex/gone; sed -i 's/mm-1001.img/mm-9999.img/' ex/sckpt.json; mv ex/gone ex/mm-9999.img; {FIT}",
                      "mm-1001.img is missing"),
}


@attack("images of the broker's, exported, changed, resealed, and given back to it")
def forged(c):
    c.conf("elevate=seccomp,tcp\n")
    job = sandboxed(c)
    c.run(NODE, f"rm -rf ex whole; sckpt export {job.number} whole; test -s whole/sckpt-broker.img")
    refused = []
    for what, (change, stop) in TRIES.items():
        with system_log(c) as lines:
            c.run(NODE, f"rm -rf ex; cp -r whole ex; {change}; sckpt import ex --force")
            said = restarts(c, job)
        assert re.search(stop, said), (what, said)
        # Some the manifest's own digest stops before.
        its = [x for x in lines if "sckpt-broker" in x and re.search(stop, x)]
        assert its or "manifest" in stop, (what, lines)
        refused += its
    return f"the seal of root's over their digests, {len(TRIES)} times; in the log: {refused[0][:150]}"


@attack("the broker's word left out: its images for the user's own criu")
def unvouched(c):
    # Under seccomp it would kill itself in the middle of its restore.
    c.conf("elevate=tcp\n")
    job = c.saved("user1", wrap="exec python3 /shared/subject/pair.py 600", ready="^round 1$")
    c.run(NODE, f"rm -rf ex; sckpt export {job.number} ex; mv ex/sckpt-broker.img ex/other.img; "
          f"sed -i 's/sckpt-broker.img/other.img/' ex/sckpt.json; python3 {INSIDE}/forge.py ex ambient; "
          "sckpt import ex --force")
    said = restarts(c, job)
    assert "TCP" in said, said
    return f"the user's criu has no such rights: {said[:120]}"


@attack("the broker's images of one job with its word of another; an older word")
def swapped(c):
    c.conf("elevate=seccomp\n")
    one, two = sandboxed(c), sandboxed(c)
    c.run(NODE, f"rm -rf ex other; sckpt export {one.number} ex; sckpt export {two.number} other; "
          f"cp other/sckpt-broker.img ex/; {FIT}; sckpt import ex --force")
    said = restarts(c, one)
    assert "is not what was sealed" in said or "longer than what was sealed" in said, said
    return said[:120]


@attack("user2's broker checkpoint, which user2 gave away, as user1's")
def given_away(c):
    c.conf("elevate=seccomp\n")
    theirs, mine = sandboxed(c, "user2"), sandboxed(c)
    c.run(NODE, f"rm -rf /tmp/ex; sckpt export {theirs.number} /tmp/ex && chmod -R a+rX /tmp/ex", user="user2")
    try:
        # Into a job of user1's, as far as user1 can say so.
        c.run(NODE, f"rm -rf ex mine; cp -r /tmp/ex ex; sckpt export {mine.number} mine; cp mine/sckpt.output.* ex/; "
              "python3 -c \"import json; m = json.load(open('ex/sckpt.json')); n = json.load(open('mine/sckpt.json')); "
              "[m.__setitem__(k, n[k]) for k in ('job', 'uid', 'command', 'origin', 'needs', 'streams') if k in n]; "
              f"json.dump(m, open('ex/sckpt.json', 'w'))\"; {FIT}; sckpt import ex --force")
        said = restarts(c, mine)
    finally:
        c.run(NODE, "rm -rf /tmp/ex", user="root")
    assert "the checkpoint is of user id 1002" in said, said
    return said[:120]


@attack("the broker's socket, taken from the agent: requests, credentials, sizes, descriptors, 10,000 messages")
def messages(c):
    c.conf("elevate=seccomp\n")
    with system_log(c) as lines:
        job = c.submit("--wrap", f"{SANDBOX} 600 & python3 {INSIDE}/broker.py; wait",
                       options=f"--requeue --checkpoint -w {NODE} -e err")
        until("all to be said", lambda: "said all" in job.text(), 90)
        must_not("answer" in job.text(), [x for x in job.text().splitlines() if "answer" in x])
        # The agent is heard all the same.
        c.run(NODE, f"sckpt create {job.number}")
        job.cancel()
        job.wait_end()
    said = [x for x in lines if "is not the step's agent, and is not heard" in x]
    assert said and len([x for x in lines if "sckpt-broker" in x]) <= 60, lines[:5]
    return f"only the agent is heard, by the kernel's word; in the log: {said[0][:150]}"


def probing(c, user, options=None):
    """probe.py while the broker, its criu and what it restores are at work."""
    program = f"python3 {INSIDE}/probe.py 25"
    if options is not None:
        program = f"srun -n1 -w {NODE} --overlap --oversubscribe {options} {program}"
    p = subprocess.Popen([COMMAND, "run", NODE, "--user", user, "--", "bash", "-c", program],
                         stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 22
    job = c.submit("--wrap", f"exec {SANDBOX} 600", options=f"--requeue --checkpoint=every=1s -w {NODE}")
    job.wait_running()
    until("a checkpoint", job.generations)
    while time.monotonic() < end:
        c.run(NODE, f"sckpt create {job.number}", check=False)
        if time.monotonic() < end - 14:
            c.ctl(f"scontrol requeue {job.number}")
            until("it to run again", lambda: job.state == ["RUNNING"])
    out = p.communicate()[0].splitlines()
    job.cancel()
    job.wait_end()
    had = [x for x in out if x.startswith("had")]
    must_not(had, "; ".join(had))
    tried = [x for x in out if x.startswith("tried")][0]
    assert "sckpt-broker" in tried and "criu" in tried, tried
    return tried[:150]


@attack("ptrace, mem, process_vm_writev, pidfd_getfd, signals on broker, keeper, runner and criu: from a step beside")
def from_beside(c):
    c.conf("elevate=seccomp,tcp\noverhead=100\n")
    return f"the kernel: root's, or more capabilities ({probing(c, 'user1', '--checkpoint=off')})"


@attack("the same from a protected step, which has the agent's capability")
def from_protected(c):
    c.conf("elevate=seccomp,tcp\noverhead=100\n")
    out = c.run(NODE, f"srun -n1 -w {NODE} --checkpoint python3 {INSIDE}/probe.py 3").stdout
    must_not("had" in out, out)
    return "the broker is outside of its PID namespace"


@attack("criu's stream and the broker's directory; setuid programs; a sandbox with namespaces, in the step")
def inside(c):
    c.conf("elevate=seccomp,tcp\n")
    c.run(NODE, "cp /bin/cat /shared/setuid-cat && chmod 4755 /shared/setuid-cat", user="root")
    out = c.run(NODE, f"srun -n1 -w {NODE} --checkpoint /shared/subject/captest -n /shared/setuid-cat", check=False)
    must_not(out.returncode, out.stdout)
    # It is there from the first request on.
    job = c.saved("user1", wrap=f"exec {SANDBOX} 600", ready="^tick 1$", end=False)
    c.run(NODE, "ls -d /run/sckpt/broker", user="root")
    for what in ("ls /run/sckpt/broker", "cd /run/sckpt/broker", "ls /run/sckpt/broker/*",
                 "touch /run/sckpt/broker/x", "mv /run/sckpt/broker /run/sckpt/x"):
        done = c.run(NODE, what, check=False)
        must_not(done.returncode == 0, f"did: {what}")
        assert "Permission denied" in done.stderr, (what, done.stderr)
    job.cancel()
    job.wait_end()
    job = c.submit("--wrap", f"unshare -Ur sh -c 'echo in; exec sleep 300' & exec {SANDBOX} 600",
                   options=f"--requeue --checkpoint -w {NODE}")
    job.wait_output("^in$")
    job.wait_output("^tick 1$")
    done = c.run(NODE, f"sckpt create {job.number}", check=False)
    must_not(done.returncode == 0, "a process in a user namespace of its own was dumped")
    job.cancel()
    return done.stderr.strip().splitlines()[-1][:150]


@attack("the agent and its whole step in a mount namespace of the user's, which shows criu another hook")
def namespaces(c):
    c.conf("elevate=seccomp\n")
    # Where the user may write; criu would run it with what it has itself.
    c.run(NODE, "printf '#!/bin/sh\\ngrep Cap /proc/self/status >>~user1/won\\n' >hook; chmod 755 hook")
    with system_log(c) as lines:
        job = c.submit("--wrap", f"exec python3 {INSIDE}/puppet.py namespaces $PWD/hook {SANDBOX} 600",
                       options=f"--requeue --checkpoint -w {NODE} -e err")
        until("the move", lambda: "tick 3" in job.text(), 60)
        done = c.run(NODE, f"sckpt create {job.number}", check=False)
        job.cancel()
        job.wait_end()
    won = c.home("user1") / "won"
    must_not(won.exists(), "the user's hook was run: " + (won.read_text() if won.exists() else ""))
    said = done.stderr.strip().splitlines()[-1]
    assert "is in a namespace of its own (user)" in said, done.stderr
    assert any("is in a namespace of its own (user)" in x for x in lines), lines
    return said[:150]


@attack("a dump for which criu needs nothing more, and could be traced by the user")
def needless(c):
    c.conf("elevate=seccomp\n")
    job = c.submit("--wrap", f"exec python3 {INSIDE}/puppet.py needless",
                   options=f"--requeue --checkpoint -w {NODE} -e err")
    # What nobody may trace is root's there (proc(5)): criu's child that asks the agent, from before
    # it has less than criu.
    caps = ("for p in $(pgrep -x criu); do c=$(sed -n 's/^CapPrm:.//p' /proc/$p/status); "
            "[ $(stat -c %u /proc/$p/environ) = 0 ] || echo $c; done")
    had = until("criu", lambda: c.run(NODE, caps, user="root", check=False).stdout.split())
    job.cancel()
    job.wait_end()
    # Of the user's processes the agent has most: CAP_CHECKPOINT_RESTORE.
    must_not(any(not int(x, 16) & ~(1 << 40) for x in had), f"the user may trace a criu that has {had}")
    return f"criu has a capability that no process of the user's has all the same: {had}"


@contextlib.contextmanager
def watched(c, program, *words, user="root"):
    """What a program, inside/, says of the dumps and restores that are made meanwhile."""
    over = f"/tmp/{program}"
    c.run(NODE, f"rm -f {over}", user="root")
    p = subprocess.Popen([COMMAND, "run", NODE, "--user", user, "--", "python3", f"{INSIDE}/{program}", over, *words],
                         stdout=subprocess.PIPE, text=True)
    said = []
    try:
        assert p.stdout.readline() == "ready\n"
        yield said
    finally:
        c.run(NODE, f"touch {over}", user="root")
        said += p.communicate(timeout=60)[0].split("\n")[:-1]


def watched_restores(c, job, program, enough):
    """What it says until that is enough: what it looks for is there for some ms, and a look may
    miss that."""
    for _ in range(30):
        with watched(c, program) as said:
            new = Job(c, restart(c, job), "user1", c.home("user1"))
            # Or it hangs, where it has been led astray.
            end = time.monotonic() + 15
            until("the restore", lambda: c.restored(new.number) or time.monotonic() > end)
        new.cancel()
        new.wait_end()
        if enough(said):
            return said
    raise AssertionError(f"all that was seen of the restores is {said}")


USEFUL = (1 << 21) | (1 << 19) | (1 << 12)  # SYS_ADMIN, SYS_PTRACE, NET_ADMIN


@attack("the memory of what is being restored, by way of one of its threads that has given up criu's capabilities")
def door(c):
    c.conf("elevate=seccomp,tcp\n")
    said = watched_restores(c, sandboxed(c), "newborn.py", bool)
    must_not(any(int(caps, 16) & USEFUL for caps in said), f"what criu restores has {said}")
    return f"all they could have is CHECKPOINT_RESTORE and SYS_CHROOT: {said}"


@attack("criu's hook, answered by the user in the runner's place, so that what criu makes keeps all that it has")
def hook(c):
    c.conf("elevate=seccomp,tcp\n")
    job = sandboxed(c)
    with watched(c, "hook.py", "1001") as there:
        said = watched_restores(c, job, "newborn.py", bool)
    assert "there" in there, there
    must_not(any(int(caps, 16) & USEFUL for caps in said), f"what criu restores has {said}")
    return f"the hook asks where nobody else gets to; what is restored has {said}"


@attack("the program's own handlers, of the signals that the C library keeps from being blocked (32, 33), in the middle of its restore")
def handlers(c):
    c.conf("elevate=seccomp,tcp\n")
    said = watched_restores(c, sandboxed(c), "masks.py", bool)
    # SIGKILL and SIGSTOP; SIGCHLD is criu's still.
    must_not(set(said) - {"9", "17", "19"}, f"what criu restores takes the signals {said}")
    return f"all is blocked but {said}"


# Many of both: that takes the first thread, and the others, some time.
CONNECTED = """import socket, threading, time
s = socket.create_server(("127.0.0.1", 0))
pairs = [(socket.create_connection(s.getsockname()), s.accept()[0]) for _ in range(200)]
for _ in range(64):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("connected", flush=True)
time.sleep(600)
"""


@attack("NET_ADMIN, in memory that threads have in common of which some have given it up, in a process of any number")
def mates(c):
    c.conf("elevate=tcp\n")
    (c.home("user1") / "connected.py").write_text(CONNECTED)
    job = c.saved("user1", wrap="echo 899 >/proc/sys/kernel/ns_last_pid; python3 connected.py & exec python3 connected.py",
                  ready="^connected\nconnected$")
    # It has to be seen before.
    said = watched_restores(c, job, "mates.py", lambda said: any(int(x.split()[0], 16) & 1 << 12 for x in said))
    must_not(any(int(x.split()[0], 16) & USEFUL for x in said if not x.endswith(" closed")),
             f"with the program's name, or threads that the user may write to, the first one has {said}")
    return f"it is gone before: {said}"


# With a sequence of its own, where another process may write to.
SEQUENCE = """import ctypes, mmap, os, socket, time
f = open("area", "w+b")
f.truncate(4096)
m = mmap.mmap(f.fileno(), 4096)
at = ctypes.addressof(ctypes.c_char.from_buffer(m))
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(334, ctypes.c_void_p(at), 32, 0, 0x53053053):
    raise OSError(ctypes.get_errno(), "rseq")
s = socket.create_server(("127.0.0.1", 0))
pair = socket.create_connection(s.getsockname()), s.accept()[0]
print("registered", flush=True)
time.sleep(600)
"""


@attack("where a thread goes on that was interrupted, said to the kernel in a file that others write to (rseq)")
def sequences(c):
    c.conf("elevate=tcp\n")
    (c.home("user1") / "sequence.py").write_text(SEQUENCE)
    job = c.saved("user1", wrap="GLIBC_TUNABLES=glibc.pthread.rseq=0 exec python3 sequence.py", ready="^registered$")
    said = restarts(c, job)
    assert "restartable sequences in memory that others could write to" in said, said
    return said


# The last of them is given away.
GIVEN = CONNECTED.replace("range(200)", "range(300)").replace("print(", """
out = socket.socket(socket.AF_UNIX)
out.connect("thief.sock")
socket.send_fds(out, [b"x"], [pairs[0][0].fileno()])
out.close()
print(""", 1)
SERVICE = """import os, socket, sys, threading
threading.Thread(target=lambda: sys.stdin.read() or os._exit(0), daemon=True).start()
s = socket.create_server(("127.0.0.1", 23458))
print("listening", flush=True)
while True:
    s.accept()[0].send(b"service")
"""
CLIENT = """import socket
for _ in range(20):
    try:
        c = socket.create_connection(("127.0.0.1", 23458), 1)
        c.settimeout(1)
        print(c.recv(16).decode())
    except OSError as e:
        print("stolen", e)
"""


@contextlib.contextmanager
def running(user, *command):
    """With its first line read."""
    p = subprocess.Popen([COMMAND, "run", NODE, "--user", user, "--", *command], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline() in ("ready\n", "listening\n")
        yield p
    finally:
        # With which they end.
        p.stdin.close()
        p.wait(20)


def thief(c, mode):
    """What it says, and what clients of the other user's service get, and how the dump ended."""
    c.conf("elevate=tcp\n")
    (c.home("user1") / "given.py").write_text(GIVEN)
    (c.home("user1") / "thief.sock").unlink(missing_ok=True)
    with running("user2", "python3", "-c", SERVICE), running(
            "user1", "python3", f"{INSIDE}/thief.py", "thief.sock", "23458", mode) as p:
        job = c.submit("--wrap", "exec python3 given.py", options=f"--requeue --checkpoint -w {NODE} -e err")
        job.wait_output("^connected$")
        done = c.run(NODE, f"sckpt create {job.number}", check=False)
        said = []
        while not said or said[-1] != "tried":
            said.append(p.stdout.readline().strip())
            assert said[-1], said
        got = c.run(NODE, f"python3 -c '{CLIENT}'", user="user2").stdout.split("\n")[:-1]
        said.append(p.stdout.readline().strip())
        job.cancel()
        job.wait_end()
    must_not("listens" in said, f"it took the port of another user's service: {said}, clients have {collections.Counter(got)}")
    must_not(set(got) != {"service"}, f"clients of another user's service have {collections.Counter(got)}")
    must_not("repair mode 1" in said, f"the user has a socket in repair mode: {said}")
    return said, done


@attack("a connection that is being dumped, in repair mode, made a listener on another user's port by a process outside of the step")
def repair(c):
    said, done = thief(c, "steal")
    assert "Address already in use" in " ".join(said), said
    return f"the port is taken for it as for others: {said}; {done.stderr.strip()[-150:]}"


@attack("the same with criu killed, so that nobody would take it out of repair mode")
def unrepaired(c):
    # It may be over before a busy machine lets that process look.
    for _ in range(4):
        said, _ = thief(c, "kill")
        if "killed" in said:
            return f"root's runner has done that: {said}"
    raise AssertionError(said)


# It has a port, where nobody listens any more, and then wants to listen there.
PORT = """import os, socket, time
s = socket.create_server(("127.0.0.1", 23458))
pair = socket.create_connection(s.getsockname()), s.accept()[0]
s.close()
print("connected", flush=True)
while not os.path.exists("go"):
    time.sleep(0.05)
t = socket.socket()
t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
try:
    t.bind(("127.0.0.1", 23458))
    t.listen(16)
    print("listens", flush=True)
except OSError as e:
    print("no:", e, flush=True)
time.sleep(600)
"""


@attack("a connection restored with a port on which another user listens by then, and then a listener there beside that one")
def taken(c):
    c.conf("elevate=tcp\n")
    go = c.home("user1") / "go"
    go.unlink(missing_ok=True)
    (c.home("user1") / "port.py").write_text(PORT)
    job = c.saved("user1", wrap="exec python3 port.py", ready="^connected$")
    with running("user1", "python3", f"{INSIDE}/stopped.py", "1001") as p:
        new = Job(c, restart(c, job), "user1", c.home("user1"))
        # Their ports have been tried then.
        assert p.stdout.readline() == "stopped\n"
        with running("user2", "python3", "-c", SERVICE):
            p.stdin.write("\n")
            p.stdin.flush()
            until("the restore, or why not", lambda: c.restored(new.number) or "cannot go on" in new.text())
            go.touch()
            if c.restored(new.number):
                new.wait_output("^(listens|no:.*)$")
            got = c.run(NODE, f"python3 -c '{CLIENT}'", user="user2").stdout.split("\n")[:-1]
        said = new.text()
        new.cancel()
    must_not("listens" in said, f"it listens on the port of another user's service, whose clients have {collections.Counter(got)}")
    must_not(set(got) != {"service"}, f"clients of another user's service have {collections.Counter(got)}")
    return next((x for x in said.splitlines() if "cannot go on" in x or x.startswith("no:")), said)[:200]


# The last of some that take long to be looked at, or whose memory takes long. When it is told to, it makes a
# connection out of the job; and breaks it when it has stood still, where that is not done for it.
OUTSIDE = """import ctypes, mmap, os, socket, sys, time
s = socket.create_server(("127.0.0.1", 0))
pair = socket.create_connection(s.getsockname()), s.accept()[0]
libc = ctypes.CDLL(None)
m = mmap.mmap(-1, 30000 * 4096)
at = ctypes.addressof(ctypes.c_char.from_buffer(m))
if sys.argv[1] == "criu":
    for n in range(0, 30000, 2):
        libc.mprotect(ctypes.c_void_p(at + n * 4096), 4096, 0)
    for _ in range(8):
        if not os.fork():
            time.sleep(600)
    libc.munmap(ctypes.c_void_p(at), 30000 * 4096)
if os.fork():
    time.sleep(600)
if sys.argv[1] == "break":
    m[:] = os.urandom(30000 * 4096)
open("/proc/self/comm", "w").write("outside")
print("connected", flush=True)
while not os.path.exists("go"):
    time.sleep(0.001)
out = socket.create_connection(("127.0.0.1", 23459))
to = socket.socket(socket.AF_UNIX)
to.connect("its.sock")
socket.send_fds(to, [b"x"], [out.fileno()])
to.close()
last = time.monotonic()
while sys.argv[1] == "break" or time.monotonic() < last + 0.05:
    last = time.monotonic()
    time.sleep(0.002)
out.close()
time.sleep(600)
"""


@contextlib.contextmanager
def outside(c, mode, take):
    """A dump in which a program is connected to the outside while it is frozen, and not when root looks."""
    c.conf("elevate=tcp\n")
    (c.home("user1") / "outside.py").write_text(OUTSIDE)
    for name in ("go", "its.sock"):
        (c.home("user1") / name).unlink(missing_ok=True)
    with running("user1", "python3", f"{INSIDE}/thaw.py", "23459", "1001", mode) as p:
        job = c.submit("--wrap", f"exec python3 outside.py {mode}", options=f"--requeue --checkpoint -w {NODE} -e err")
        job.wait_output("^connected$")
        take(job)
        said = [p.stdout.readline().strip() for _ in range(2)]
        assert said == ["connected", "done"], said
        yield job, said
        job.cancel()


@attack("a tree that goes on before root's last look at it, because its user has killed criu")
def thawed(c):
    # So many processes take their time, and it is not to be too late for them.
    with c.kill_wait(60), system_log(c) as lines:
        # What it has been given for a step that ends, the agent keeps at once.
        with outside(c, "criu", lambda job: c.ctl(f"scontrol requeue {job.number}")) as (job, said):
            # It is there, or refused.
            until("its end", lambda: job.record()["restart_cnt"] == 1 and "COMPLETING" not in job.state)
        must_not(job.generations(), "root has sealed what it has not seen")
        job.wait_end()
    assert any("it was let go on before all of it had been looked at" in x for x in lines), (said, lines)
    return lines[0][:150]


@attack("a connection out of the job, which is none any more when root looks at it")
def ended(c):
    # On a busy machine it may be broken too late.
    for _ in range(10):
        with outside(c, "break", lambda job: c.run(NODE, f"sckpt create {job.number}", check=False)) as (job, said):
            pass
        job.wait_end()
        if job.generations():
            break
    assert job.generations(), said
    said = restarts(c, job)
    assert "an image has a TCP connection from port" in said, said
    return said[:150]


MARKED = """import ctypes, os, socket, sys, threading, time
def own():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.setsockopt(*WHAT)
    return u
def child(end):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x50000000):
        os._exit(1)
    u = own()
    socket.send_fds(end, [b"x"], [u.fileno()])
    os._exit(0)
WHAT = (socket.SOL_SOCKET, getattr(socket, sys.argv[1], 36), 0x29a)
s = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(s.getsockname()); b, _ = s.accept()
pair = socket.socketpair()
pid = os.fork()
if not pid:
    child(pair[1])
u = socket.socket(fileno=socket.recv_fds(pair[0], 1, 1)[1][0])
os.waitpid(pid, 0)
for x in pair:
    x.close()
while True:
    print("has", u.getsockopt(*WHAT[:2]), flush=True)
    time.sleep(0.2)
"""


@attack("a socket with SO_MARK or SO_PRIORITY of a network namespace of the user's own, in the node's by a restore")
def marked(c):
    c.conf("elevate=tcp\n")
    (c.home("user1") / "marked.py").write_text(MARKED)
    how = []
    for name in ("SO_MARK", "SO_PRIORITY"):
        job = c.saved("user1", wrap=f"exec python3 marked.py {name}", ready="^has 666$")
        new = Job(c, restart(c, job), "user1", c.home("user1"))
        said = until("the restore, or why not", lambda: "cannot go on" in new.text() and new.text() or  # noqa: B023
                     c.restored(new.number) and "restored")  # noqa: B023
        new.cancel()
        must_not(said == "restored", f"it has {name} in the node's network namespace")
        how.append(next(x for x in said.splitlines() if "cannot go on" in x))
    return f"{how[0][:200]}; {how[1][-120:]}"


# Whose first process is not alone.
FAMILY = f"{SANDBOX} 600 >/dev/null & {SANDBOX} 600 >/dev/null & exec {SANDBOX} 600"


@attack("one of the processes that criu restores, killed before criu attaches to it, so that the others are let go untraced")
def killed(c):
    c.conf("elevate=seccomp,tcp\n")
    job = c.saved("user1", wrap=FAMILY, ready="^tick 1$")
    ended = collections.Counter()
    with watched(c, "killed.py", "1001") as sent:
        while ended["cannot attach to"] < 2 and sum(ended.values()) < 30:
            new = Job(c, restart(c, job), "user1", c.home("user1"))
            over = until("the restore, or why not", lambda: c.restored(new.number) and "it goes on" or  # noqa: B023
                         re.search("cannot go on: generation 1: (criu: (cannot attach to)?)?", new.text()))  # noqa: B023
            # What criu was killed over may be on its way out: sampler.py waits for that.
            for line in c.run(NODE, f"python3 {INSIDE}/sampler.py 0 1001 {MARK:x}", user="root").stdout.splitlines():
                must_not(line.startswith("MORE"), line)
            if over != "it goes on":
                over = over[2] or "earlier"
                until("it to be held", lambda: held(new))  # noqa: B023
            ended[over] += 1
            new.cancel()
    assert ended["cannot attach to"] >= 2, (sent, ended)
    return f"criu ends, and with it what it restores: {dict(ended)}, {sent}"


# What criu wrote then, and has to stop it.
BELIEVED = {
    "more": "an image would give its process capabilities that it cannot have had",
    # It would keep all that criu has, and what it is known by another process would have.
    "root": "an image has another root of the tree than process 1000",
}


@attack("capabilities, and another PID of the tree's root, in images that criu was made to believe by its parasite, and root has sealed")
def believed(c):
    c.conf("elevate=seccomp,tcp\n")
    job, how = sandboxed(c), []
    for what, stop in BELIEVED.items():
        c.run(NODE, f"rm -rf ex; sckpt export {job.number} ex; python3 {INSIDE}/forge.py ex {what}")
        # As the broker would have done, with what criu gave it.
        c.run(NODE, f"cd ~user1 && python3 -c \"{RESEAL}\"", user="root")
        c.run(NODE, f"{FIT}; sckpt import ex --force")
        how.append(restarts(c, job))
        assert stop in how[-1], how
    return "; ".join(x[:150] for x in how)


# criu/command.c. What is the job's own, and where the hook is, as patterns.
ENV = [r"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", r"SCKPT_HOOK=/proc/\d+/fd/19/hook\.sock",
       "LD_PRELOAD=/usr/libexec/sckpt/sckpt-in-criu\\.so", r"XDG_RUNTIME_DIR=/proc/self/fd/19"]
ARGS = ["--unprivileged", "--no-default-config", "--stream", r"--images-dir=/proc/self/fd/19",
        "--work-dir=/run/sckpt", None, "-v2", "--file-locks", "--ghost-limit=1048576G",
        "--manage-cgroups=ignore", "--cpu-cap=fpu,ins", "--action-script=/usr/libexec/sckpt/sckpt-hook"]
DUMPS = [*ARGS, "--tree=1000", "--network-lock=skip"]
DUMPS[5] = r"--log-file=dump\.log"
RESTORES = [*ARGS, "--restore-detached"]
RESTORES[5] = r"--log-file=restore\.log"
FILES = r"--external=(file|pipe:|unix|socket:)\[[0-9a-f:]+\]|--inherit-fd=fd\[\d+\]:[^\0]+|--leave-running"


def fits(words, patterns, more="$^"):
    return [w for w in words if not any(re.fullmatch(p, w) for p in [*patterns, more])] + [
        p for p in patterns if sum(1 for w in words if re.fullmatch(p, w)) != 1]


@attack("a library, settings and a PATH of the user's reach a criu that has more than the user, or what it restores")
def configuration(c):
    c.conf("elevate=seccomp\noverhead=100\n")
    export = baits(c) + " LD_PRELOAD=/home/user1/preload.so HOME=/home/user1"
    c.run(NODE, "cp /shared/subject/preload.so ~/preload.so")
    script = c.script("job.sh", f"export {export}; exec {SANDBOX} 600\n")
    kinds = set()
    with watched(c, "criu.py", "1001") as said:
        job = c.submit(script, options=f"--requeue --checkpoint -w {NODE} -e err-%j --export=ALL," + export.replace(" ", ","))
        job.wait_output("^tick 1$")
        # Of a dump of some ms a look may see nothing.
        for _ in range(5):
            c.run(NODE, f"sckpt create {job.number}")
        c.ctl(f"scontrol requeue {job.number}")
        until("the restore", lambda: c.restored(job.number))
    job.cancel()
    job.wait_end()
    loaded = c.run(NODE, "sort -u preload.so.said").stdout.splitlines()
    # It does reach what is the user's own.
    assert any(x.startswith("sandbox 1001 ") for x in loaded), loaded
    must_not([x for x in loaded if int(x.split()[-1], 16) & ~(1 << 40) or x.split()[-2] != "1001"], loaded)
    must_not([x for x in loaded if x.startswith(("criu ", "sckpt-"))], loaded)
    for run in map(json.loads, said):
        kind = " ".join(run["args"][:2])
        kinds.add(kind)
        args = run["args"][2:]
        if kind == "/usr/sbin/criu restore":
            odd = fits(args, RESTORES, FILES) + fits(run["env"], [*ENV, "SCKPT_RESTORES=1"])
        elif kind == "/usr/sbin/criu dump":
            odd = fits(args, DUMPS, FILES) + fits(run["env"], ENV)
        else:
            odd = "criu has executed something"
        must_not(odd, f"{odd}: {run}")
    assert kinds >= {"/usr/sbin/criu dump", "/usr/sbin/criu restore"}, kinds
    bad = [x for x in c.run(NODE, "ls").stdout.splitlines() if x.startswith(("ran.", "by-criu", "hook", "xdg"))]
    must_not(bad, bad)
    return f"criu has an environment and arguments of its own ({len(said)} seen: {sorted(kinds)}); the library was in {loaded}"


def at_broker(c):
    """What is there of all brokers: descriptors of each process."""
    return c.run(NODE, "for p in $(pgrep -x sckpt-broker); do ls /proc/$p/fd | wc -l; done; pgrep -c -x criu",
                 user="root", check=False).stdout.split()


def by_the_agent(c, word, conf="elevate=seccomp\n"):
    """What the broker answers to the agent's words that puppet.py makes it say, and has in the log."""
    c.conf(conf)
    with system_log(c) as lines:
        job = c.submit("--wrap", f"{SANDBOX} 600 & python3 {INSIDE}/puppet.py {word}; wait",
                       options=f"--requeue --checkpoint -w {NODE} -e err")
        until("it to begin", lambda: "begin" in job.text() and "tick 1\n" in job.text())
        before = at_broker(c)
        c.run(NODE, "touch go")
        until("all to be said", lambda: "said all" in job.text() or "Traceback" in (job.home / "err").read_text(), 120)
        assert "said all" in job.text(), job.text() + (job.home / "err").read_text()
        until("the broker to be as before", lambda: at_broker(c) == before)
        # The agent is whole, and heard.
        c.run(NODE, f"sckpt create {job.number}")
        assert job.generations() == [1]
        assert at_broker(c) == before
        job.cancel()
        job.wait_end()
    until("the broker's end", lambda: at_broker(c) == ["0"])
    said = [x.split(": ", 1) for x in job.text().splitlines() if ": " in x]
    return said, [x.partition("sckpt-broker")[2] for x in lines if "sckpt-broker" in x]


# How the broker refuses what puppet.py has for it.
NO_LIST = {
    "no list": "is missing", "half a reply": "is missing", "no reply": "is missing", "another reply": "is missing",
    "a reply of 2 GiB": "is missing", "more than a reply": "its seal is not", "nothing in it": "is not sealed",
    "no lines": "is not sealed", "no seal": "its seal is not", "a zero in it": "is not sealed",
    "no end": "sckpt-broker.img is longer than what was sealed", "closed": "cannot (hand images over|take images)|is missing",
}


@attack("the agent asks for restores: without a list, with replies and images of any kind, and what is no stream")
def streams(c):
    said, lines = by_the_agent(c, "streams")
    said = dict(said)
    assert len(said) == 27 and said.pop("left") == "None", said
    for what, answer in said.items():
        why = NO_LIST.get(what, "is missing|cannot (hand images over|take images): ")
        must_not(not re.fullmatch(f"refused 0 .*({why}).*", answer), f"{what}: {answer}")
        assert any(re.search(f"a restore is refused: .*({why})", x) for x in lines), (what, lines)
    return f"the keeper believes nothing of it, {len(said)} times; in the log: {lines[0][:100]}"


@attack("the agent's words: no keys, other counts, frames cut or too long, descriptors, a request while one is at work")
def words(c):
    said, lines = by_the_agent(c, "words")
    assert len(said) == 20, said
    for what, answer in said[:12]:
        must_not(answer != "refused 0 the agent's request is not understood", f"{what}: {answer}")
    rest = [answer for _, answer in said[12:]]
    for answer, right in zip(rest, ("None", *["refused 0 sckpt-broker.img is missing"] * 2, "hook 0 pre-dump", r"done [1-9]\d* ",
                                    "hook 0 pre-dump", "refused 0 a message to the broker.* has the wrong size", "None")):
        must_not(not re.fullmatch(right, answer), (right, said))
    for word, most in (("has the wrong size", 9), ("a message of the step's agent is not understood", 3),
                       ("is not the step's agent, and is not heard", 1), ("a message that nobody waits for, of process 1 ", 3),
                       ("a message that nobody waits for, of process 1[0-9]{3}", 1)):
        assert sum(1 for x in lines if re.search(word, x)) >= most, (word, lines)
    return f"it is refused by name, or not heard; in the log: {lines[0][:100]}"


LISTEN = ("import socket; s = socket.create_server((\"127.0.0.1\", 23457)); print(\"listening\", flush=True); "
          "s.accept()[0].recv(1)")


@attack("a connection out of the step, with the agent in a network namespace that does not show it")
def network(c):
    c.conf("elevate=tcp\n")
    # It ends with the connection.
    p = subprocess.Popen([COMMAND, "run", NODE, "--user", "user1", "--", "srun", "-n1", "-w", NODE, "--overlap",
                          "--oversubscribe", "--checkpoint=off", "python3", "-c", LISTEN], stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "listening\n"
    with system_log(c) as lines:
        job = c.submit("--wrap", f"exec python3 {INSIDE}/puppet.py network 23457",
                       options=f"--requeue --checkpoint -w {NODE} -e err")
        said = until("the answer", lambda: re.search("^answer: (.*)$", job.text(), re.M))[1]
        job.cancel()
        job.wait_end()
    p.wait(30)
    must_not(said.startswith(("hook", "done")), "criu was started, with CAP_NET_ADMIN, for a program with a connection out of the job")
    why = r"it has a TCP connection from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:23457, whose other end is not in the job"
    assert re.search(why, said), said
    assert any(re.search(why, x) for x in lines), lines
    return said[:150]


@attack("signals to a criu that restores with more than the user has, and to what it restores, at random moments")
def signals(c):
    tries, seed = 20, "1"
    ended, stuck = {}, []
    c.conf("elevate=seccomp,tcp\n")
    jobs = {w: c.saved("user1", wrap=program, ready=ready) for w, (program, ready, _) in ELEVATED.items()}
    may = MARK | sum(caps for _, _, caps in ELEVATED.values())
    with watched(c, "sampler.py", "1001", f"{may:x}") as sets, watched(
            c, "signals.py", "1001", seed, user="user1") as sent:
        for n in range(tries):
            job = jobs[list(jobs)[n % len(jobs)]]
            new = Job(c, restart(c, job), "user1", c.home("user1"))

            def over():
                said = new.text()
                return "it goes on" if c.restored(new.number) else (  # noqa: B023
                    "it says why" if "cannot go on" in said else None)  # noqa: B023
            try:
                # The ports of one that was killed may be in use for a minute.
                how = until("the restore, or why not", over, 150)
            except AssertionError:
                # What was left of it is of more interest.
                ended["nothing"] = new.number
                new.cancel()
                break
            ended[how] = ended.get(how, 0) + 1
            if how == "it says why":
                # It is held, when Slurm has come to that.
                stuck.append(new)
                continue
            # What is left of it works.
            lines = new.text().count("\n")
            until("progress", lambda: new.text().count("\n") > lines + 3)  # noqa: B023
            new.cancel()
            new.wait_end()
        for new in stuck:
            until("it to be held", lambda: held(new))  # noqa: B023
            new.cancel()
    more = [x for x in sets if x.startswith("MORE")]
    must_not(more, more)
    for line in c.run(NODE, f"python3 {INSIDE}/sampler.py 0 1001", user="root").stdout.splitlines():
        must_not(line.startswith("MORE"), line)
    assert "nothing" not in ended, ended
    counts = {x.rpartition(" ")[0] or x: sent.count(x) for x in sent}
    assert sum(1 for x in sent if x.startswith(("kill", "stop"))) >= tries // 2, sent
    return f"the kernel ends what criu traces with it: {ended}, {counts}"
