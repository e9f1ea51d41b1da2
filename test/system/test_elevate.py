# SPDX-License-Identifier: GPL-2.0-or-later
"""elevate=: what CAP_CHECKPOINT_RESTORE does not cover, by the broker."""
import json
import pathlib
import re
import select
import subprocess

import pytest

from conftest import COMMAND, EVIDENCE, MANY, PACE, sh, until

SECCOMP, TCP = "elevate=seccomp\n", "elevate=tcp\n"


def ticks(job, word="tick"):
    return [int(n) for n in re.findall(rf"^{word} (\d+)$", job.text(), re.M)]


def err(job):
    return (job.home / f"err-{job.number}").read_text()


def submit(cluster, command):
    return cluster.submit("--wrap", f"exec {command}",
                          options="--requeue --checkpoint -e err-%j")


def moves_twice(cluster, job, word, last):
    """Preempted, restored on the other node, and once more; every line is there once."""
    for n in (1, 2):
        at = ticks(job, word)[-1:] or [0]
        until("progress", lambda: ticks(job, word)[-1:] > at)  # noqa: B023
        job.preempt()
        until("the restore", lambda: f"restored from checkpoint {n} " in err(job))  # noqa: B023
    assert job.finish(180) == ["COMPLETED"], job.text()[-500:] + err(job)
    assert ticks(job, word) == list(range(1, last + 1))


def test_seccomp(cluster):
    """A strict list for all threads, one more within it, and a child in strict mode."""
    cluster.conf(SECCOMP)
    job = submit(cluster, f"/shared/subject/sandbox {MANY}")
    moves_twice(cluster, job, "tick", MANY)
    assert not set(job.text().splitlines()) - {f"tick {n}" for n in range(1, MANY + 1)}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tcp_under_load(cluster, address):
    cluster.conf(TCP)
    job = submit(cluster, f"python3 /shared/subject/pair.py 1000 {address}")
    moves_twice(cluster, job, "round", 1000)
    assert job.text().endswith("wrong: []\n")


@pytest.mark.parametrize("conf, command, said", [
    ("", "/shared/subject/sandbox 36000", r"sandbox\[1001\] has put itself under seccomp: run it "
     "without its sandbox, or ask the admin for elevate=seccomp"),
    ("", "python3 /shared/subject/pair.py 36000",
     r"python3\[100[12]\] holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+ \(descriptor \d+\)"),
    # One word is not the other.
    (TCP, "/shared/subject/sandbox 36000", r"sandbox\[1001\] has put itself under seccomp"),
    (SECCOMP, "python3 /shared/subject/pair.py 36000",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
    (TCP + "elevate-groups=biology\n", "python3 /shared/subject/pair.py 36000",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
    (TCP + "elevate-partitions=high\n", "python3 /shared/subject/pair.py 36000",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
    (TCP + "elevate-accounts=nobodys\n", "python3 /shared/subject/pair.py 36000",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
])
def test_without_the_admins_word(cluster, conf, command, said):
    """Refused by name, and it runs on."""
    cluster.conf(conf)
    job = submit(cluster, command)
    word = "tick" if "sandbox" in command else "round"
    until("progress", lambda: ticks(job, word))
    done = cluster.run("n1", f"sckpt create {job.number}", check=False)
    assert done.returncode and re.search(said, done.stderr), done.stderr
    at = ticks(job, word)[-1]
    until("progress", lambda: ticks(job, word)[-1] > at + 2)
    job.cancel()


@pytest.mark.parametrize("conf", [TCP + "elevate-groups=biology,physics\n",
                                  TCP + "elevate-partitions=low\n"])
def test_with_it(cluster, conf):
    cluster.conf(conf)
    job = submit(cluster, "python3 /shared/subject/pair.py 36000")
    until("progress", lambda: ticks(job, "round"))
    cluster.run("n1", f"sckpt create {job.number}")
    job.cancel()


LISTEN = """import os, socket, time
s = socket.create_server(("{address}", 23456))
for i in range(1, {lines} + 1):
    print("line", i, flush=True)
    os.path.exists("quick") or time.sleep(float(os.environ["TEST_PACE"]))
"""


def listener(cluster, address="127.0.0.1"):
    (cluster.home() / "listen.py").write_text(LISTEN.format(address=address, lines=MANY))
    cluster.ctl("scontrol update NodeName=n2 State=DRAIN Reason=test", user="root")
    job = submit(cluster, "python3 listen.py")
    job.wait_output("^line 10$")
    cluster.ctl("scontrol update NodeName=n2 State=RESUME", user="root")
    return job


@pytest.mark.parametrize("address, taken", [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
def test_port_is_taken(cluster, address, taken):
    """By somebody else, on the node that is next: found before criu starts, and it goes
    on on another one."""
    job = listener(cluster, address)
    other = cluster.submit("--wrap", f"exec python3 -c 'import socket, time; "
                           f"s = socket.create_server((\"{taken}\", 23456)); print(1, flush=True); "
                           "time.sleep(300)'", options="-w n2 -n1", user="user2")
    other.wait_output("^1$")
    intruder = cluster.submit("--wrap", "sleep 300", user="user2",
                              options="-w n1 -N1 --exclusive -p high")
    until("n2 to be left", lambda: job.record()["excluded_nodes"] == "n2")
    assert re.search(r"it has TCP port 23456( of 127.0.0.1)?, which is taken on n2 by another "
                     "program", err(job))
    intruder.cancel()
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n1"
    assert ticks(job, "line") == list(range(1, MANY + 1))
    assert not (job.store() / "restore.log").exists()
    other.cancel()


# A connection of it has ended, and this side keeps the port for a minute.
ENDED = ("import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 23456)); s.listen(); "
         "c = socket.create_connection((\"127.0.0.1\", 23456)); a = s.accept()[0]; "
         "a.close(); c.close(); s.close()")


def test_port_of_an_ended_connection(cluster):
    """That is waited for, and the job stays."""
    job = listener(cluster)
    job.vacate("n2")
    cluster.run("n2", f"python3 -c '{ENDED}'", user="root")
    left = cluster.run("n2", "ss -Htan state time-wait '( sport = :23456 )'", user="root").stdout
    assert "23456" in left
    cluster.ctl(f"scontrol release {job.number}")
    until("the restore", lambda: "restored from checkpoint 1 on n2 " in err(job), 90)
    assert ("its TCP port 23456 of 127.0.0.1 is kept on n2 by a connection that has ended, for a "
            "minute at most: that is waited for") in err(job)
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n2"
    assert ticks(job, "line") == list(range(1, MANY + 1))


# One pair that may go along, and one that is on its way.
ON_ITS_WAY = """import array, socket, time
s = socket.create_server(("127.0.0.1", 0))
def pair():
    return socket.create_connection(s.getsockname()), s.accept()[0]
kept, (sent, other) = pair(), pair()
a, b = socket.socketpair()
a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", {fds}))])
sent.close()
other.close()
n = 0
while True:
    n += 1
    print("tick", n, flush=True)
    time.sleep(0.1)
"""


@pytest.mark.parametrize("fds", ["[sent.fileno(), other.fileno()]", "[s.fileno()]"])
def test_connection_on_its_way(cluster, fds):
    """Nobody has looked where it leads, and nobody would make it work again; also one that may be one
    in a moment."""
    cluster.conf(TCP)
    (cluster.home() / "way.py").write_text(ON_ITS_WAY.format(fds=fds))
    job = submit(cluster, "python3 way.py")
    until("progress", lambda: ticks(job))
    done = cluster.run("n1", f"sckpt create {job.number}", check=False)
    assert "a TCP connection is on its way to another process in a unix socket" in done.stderr, done.stderr
    at = ticks(job)[-1]
    until("progress", lambda: ticks(job)[-1] > at + 5)
    job.cancel()


def test_several_tasks(cluster):
    """One under seccomp, one with connections."""
    cluster.conf("elevate=seccomp,tcp\n")
    (cluster.home() / "both.conf").write_text(
        f"0 /shared/subject/sandbox {MANY}\n1 python3 /shared/subject/pair.py 1000\n")
    job = cluster.submit("--wrap", "srun -n2 --overlap --checkpoint --multi-prog both.conf",
                         options="--requeue --checkpoint -n2 -e err-%j")
    until("progress", lambda: ticks(job) and ticks(job, "round"))
    job.preempt()
    assert job.finish(180) == ["COMPLETED"], job.text()[-500:] + err(job)
    assert ticks(job) == list(range(1, MANY + 1)) and ticks(job, "round") == list(range(1, 1001))
    assert "standing still" not in job.text() and "wrong: []" in job.text()


def test_periodic_and_crash(cluster):
    """With leave-running a pair of connections notices nothing, many times; and after a
    crash it goes on from the last one."""
    cluster.conf(TCP + "overhead=100\n")
    job = cluster.submit("--wrap", "exec python3 /shared/subject/pair.py 100000",
                         options="--requeue --checkpoint=every=2s -e err-%j")
    until("eight checkpoints", lambda: (job.generations() or [0])[-1] >= 8, 180)
    node = job.node
    sh(COMMAND, "crash", node)
    try:
        until("the restore", lambda: "restored from checkpoint" in err(job), 180)
        at = len(ticks(job, "round"))
        until("progress", lambda: len(ticks(job, "round")) > at + 30)
        done = ticks(job, "round")
        assert done == list(range(1, len(done) + 1)) and "wrong" not in job.text()
        job.cancel()
    finally:
        sh(COMMAND, "boot", node)


def test_node_without(cluster):
    """A node that does not allow it is no place to go on: nothing is tried, nothing lost."""
    cluster.conf(SECCOMP)
    job = submit(cluster, f"/shared/subject/sandbox {MANY}")
    until("progress", lambda: ticks(job))
    node = job.node
    cluster.run("n1", f"sckpt create {job.number}")
    cluster.conf("")
    sh(COMMAND, "run", "ctl", "--", "scontrol", "requeue", str(job.number))
    until("a node to be left", lambda: job.record()["excluded_nodes"])
    assert "it was dumped by sckpt-broker on " + node in err(job)
    cluster.conf(SECCOMP)
    cluster.ctl(f"scontrol update job {job.number} ExcNodeList=; "
                f"scontrol update job {job.number} StartTime=now+2 || true", user="root")
    assert job.finish() == ["COMPLETED"]
    assert ticks(job) == list(range(1, MANY + 1))


def test_rehearsal(cluster):
    cluster.conf(SECCOMP)
    job = submit(cluster, "/shared/subject/sandbox 36000")
    until("progress", lambda: ticks(job))
    done = cluster.run("n1", f"sckpt check {job.number}", check=False)
    assert "the restore was not rehearsed: it needs the node's sckpt-broker" in done.stdout
    job.cancel()


def brokers(cluster, node):
    return [p for p in cluster.ps(node) if "sckpt-broker" in p[2]]


def test_nothing_is_left(cluster):
    """The broker lives as long as its step, and its directory as long as a request."""
    cluster.conf(SECCOMP)
    job = submit(cluster, "/shared/subject/sandbox 36000")
    until("progress", lambda: ticks(job))
    cluster.run("n1", f"sckpt create {job.number}")
    node = job.node
    assert [p[1] for p in brokers(cluster, node)] == ["root"]
    at = cluster.run(node, "ls /run/sckpt/broker", user="root").stdout
    assert not at
    job.cancel("-s KILL --full")
    job.cancel()
    job.wait_end()
    until("the broker's end", lambda: not brokers(cluster, node))
    # Where it is not allowed there is none.
    cluster.conf("")
    job = submit(cluster, "/shared/subject/sandbox 36000")
    until("progress", lambda: ticks(job))
    assert not brokers(cluster, job.node)
    job.cancel()


# Holds the keeper of images up as soon as there is one, until all that are named are there.
HELD = """
import os, signal, sys, time
def processes():
    found = {}
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit():
                s = dict(l.split(":\\t", 1) for l in open(f"/proc/{pid}/status").read().splitlines()
                         if ":\\t" in l)
                if s["Name"] in ("sckpt-broker", "criu"):
                    found[int(pid)] = s
        except (OSError, ValueError, KeyError):
            pass
    return found
# To be there before a dump of a few ms is over, also on a busy machine.
os.nice(-19)
print("ready", flush=True)
while True:
    found = processes()
    keepers = [p for p, s in found.items() if s["Seccomp"] == "2" and s["Name"] != "criu"]
    if keepers:
        break
os.kill(keepers[0], signal.SIGSTOP)
end = time.time() + 25
while time.time() < end:
    found = processes()
    # The broker of a job before may still be there.
    server = int(found[keepers[0]]["PPid"])
    roles = {"keeper": keepers[0], "server": server, "broker": int(found[server]["PPid"])}
    for p, s in found.items():
        if s["Name"] == "criu":
            roles["criu"] = p
        elif len(s["NSpid"].split()) > 1:
            roles["runner"] = p
    if set(sys.argv[1:]) <= set(roles):
        break
"""
# Kills one of them, and lets it go on.
KILLER = HELD + """
os.kill(roles[sys.argv[1]], signal.SIGKILL)
os.kill(keepers[0], signal.SIGCONT)
print("killed", flush=True)
"""
# Says what they are.
LOOKER = HELD + """
import json
def facts(pid):
    s = found[pid]
    return {n: s[n] for n in ("Uid", "CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp")} | {
        "groups": open(f"/proc/{pid}/cgroup").read(), "owner": os.stat(f"/proc/{pid}/environ").st_uid}
said = {role: facts(pid) for role, pid in roles.items()}
agent = next(p for p in os.listdir("/proc") if p.isdigit() and
             open(f"/proc/{p}/comm").read() == "sckpt-agent\\n")
said["agent"] = {"groups": open(f"/proc/{agent}/cgroup").read()}
os.kill(keepers[0], signal.SIGCONT)
print(json.dumps(said), flush=True)
"""


def met(cluster, job, program, *roles):
    """What a program of these says, and the dump that it met: a keeper lives for one, and it may be
    missed."""
    (cluster.shared / "held.py").write_text(program)
    with subprocess.Popen([COMMAND, "run", job.node, "--", "timeout", "60", "python3", "/shared/held.py",
                           *roles], stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout.readline() == "ready\n"
        while True:
            done = cluster.run("n1", f"sckpt create {job.number}", check=False)
            if done.returncode or select.select([held.stdout], [], [], 1)[0]:
                return held.stdout.readline(), done


@pytest.mark.parametrize("role", ["keeper", "runner", "server", "broker", "criu"])
def test_killed_at_work(cluster, role):
    """The program runs on, somebody says so, and the next checkpoint is as good as ever, but
    for the broker's own death."""
    cluster.conf(SECCOMP)
    job = submit(cluster, "/shared/subject/sandbox 36000")
    until("progress", lambda: ticks(job))
    said, done = met(cluster, job, KILLER, role)
    assert said == "killed\n"
    assert done.returncode and "sckpt: " in done.stderr, done.stderr
    at = ticks(job)[-1]
    until("progress", lambda: ticks(job)[-1] > at + 5)
    done = cluster.run("n1", f"sckpt create {job.number}", check=False)
    if role == "broker":
        assert "sckpt-broker is gone" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    job.cancel()
    job.wait_end()


BITS = {"SETGID": 6, "SETUID": 7, "NET_ADMIN": 12, "SYS_CHROOT": 18, "SYS_PTRACE": 19,
        "SYS_ADMIN": 21, "CHECKPOINT_RESTORE": 40}


def caps(*names):
    return f"{sum(1 << BITS[n] for n in names):016x}"


@pytest.mark.parametrize("words, command, word, more, criu", [
    ("seccomp", "/shared/subject/sandbox 36000", "tick", [], "SYS_ADMIN"),
    ("tcp", "python3 /shared/subject/pair.py 36000", "round", ["NET_ADMIN"], "NET_ADMIN"),
    ("seccomp,tcp", "/shared/subject/sandbox 36000", "tick", ["NET_ADMIN"], "SYS_ADMIN")])
def test_least_rights(cluster, words, command, word, more, criu):
    """Each process has what it needs for this program, and no more; out of the user's reach."""
    cluster.conf(f"elevate={words}\n")
    job = submit(cluster, command)
    until("progress", lambda: ticks(job, word))
    said, done = met(cluster, job, LOOKER, "criu", "runner")
    assert done.returncode == 0, done.stderr
    said = json.loads(said)
    job.cancel()
    its = caps("SETGID", "SETUID", "SYS_CHROOT", "SYS_PTRACE", "SYS_ADMIN", "CHECKPOINT_RESTORE", *more)
    for role in ("broker", "server", "runner", "keeper", "criu"):
        assert said[role]["NoNewPrivs"] == "1", (role, said[role])
        # Criu by what it has alone.
        assert role == "criu" or said[role]["owner"] == 0, (role, said[role])
    for role in ("broker", "server", "runner"):
        assert said[role]["CapPrm"] == said[role]["CapEff"] == its, (role, said[role])
        assert said[role]["CapInh"] == said[role]["CapAmb"] == caps(), (role, said[role])
    assert {said["keeper"][n] for n in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {caps()}
    assert said["keeper"]["Seccomp"] == "2"
    assert said["criu"]["Uid"].split() == ["1001"] * 4
    assert {said["criu"][n] for n in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {
        caps("CHECKPOINT_RESTORE", "SYS_CHROOT", criu)}
    # What takes memory is in the step's; what has to live on when that is killed is not.
    for role in ("keeper", "runner", "criu"):
        assert said[role]["groups"] == said["agent"]["groups"], role
    for role in ("broker", "server"):
        assert said[role]["groups"] != said["agent"]["groups"], role


@pytest.mark.parametrize("conf, program, word, count", [
    (SECCOMP, "/shared/subject/sandbox 36000", "tick", (2, 4)),
    # The client's senders come and go.
    (TCP, "python3 /shared/subject/pair.py 100000", "round", (2, 10)),
])
def test_who_restored_programs_are(cluster, conf, program, word, count):
    """No capability but that one, and no way to more: every thread of every process."""
    cluster.conf(conf)
    job = submit(cluster, program)
    until("progress", lambda: ticks(job, word))
    job.preempt()
    until("the restore", lambda: "restored from checkpoint 1 " in err(job))
    processes, threads = count
    pids = cluster.run(job.node, f"pgrep -f '^{program.split()[0]} ?/?shared/subject|^/shared/subject'",
                       user="root").stdout.split()
    assert len(pids) == processes
    agent = cluster.run(job.node, "cat /proc/$(pgrep -x sckpt-agent)/cgroup", user="root").stdout
    facts = r"^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|Uid):\s*(.*)$"
    right = {"NoNewPrivs": ["1"], "Uid": ["1001"] * 4}
    for pid in pids:
        # Some of its threads end meanwhile.
        status = cluster.run(job.node, f"cat /proc/{pid}/task/*/status 2>/dev/null; true", user="root").stdout
        found = re.findall(facts, status, re.M)
        assert found
        for name, value in found:
            assert value.split() == right.get(name, ["0000010000000000"]), (name, value)
        assert cluster.run(job.node, f"cat /proc/{pid}/cgroup", user="root").stdout == agent
    # All that is in the step, sckpt's own, too; which may have none.
    inside = cluster.run(job.node, "for s in /proc/[0-9]*/task/*/status; do [ $(readlink ${s%/task/*}/ns/pid) = "
                         "$(readlink /proc/$(pgrep -x sckpt-agent)/ns/pid) ] && cat $s; done 2>/dev/null; true",
                         user="root").stdout
    found = re.findall(facts, inside, re.M)
    assert len(found) // 6 >= threads + 2, found
    for name, value in found:
        assert value.split() in [right.get(name, ["0000010000000000"]), right.get(name, ["0" * 16])], (name, value)
    job.cancel()


@pytest.fixture
def yama():
    """kernel.yama.ptrace_scope is 1. It is the whole machine's, and set only in one of its own."""
    scope = pathlib.Path("/proc/sys/kernel/yama/ptrace_scope")
    before = scope.read_text().strip() if scope.exists() else "0"
    if before == "0" and not (EVIDENCE and scope.exists()):
        pytest.skip("kernel.yama.ptrace_scope is not 1 here: test/vm")
    scope.write_text("1")
    yield
    scope.write_text(before)


# Fired and unread at the dump: another process has to start it again (criu/timers.c).
TIMER = """import select
timer = os.timerfd_create(time.CLOCK_MONOTONIC)
os.timerfd_settime(timer, initial=0.001, interval=0.001)
"""
RUNS = """os.read(timer, 8)
print("the timer", "runs" if select.select([timer], [], [], 5)[0] else "stands still")
"""


def test_yama(cluster, yama):
    """Where processes may not trace each other: refused by name, running on, or the
    broker does it."""
    done = cluster.run("n1", "srun -n1 --checkpoint echo it runs on")
    assert "kernel.yama.ptrace_scope is 1 on this node" in done.stderr
    assert done.stdout == "it runs on\n"
    cluster.conf("elevate=ptrace\n")
    listen = LISTEN.format(address="127.0.0.1", lines=MANY)
    (cluster.home() / "listen.py").write_text(listen.replace("s = ", TIMER + "s = ", 1) + RUNS)
    job = submit(cluster, "python3 listen.py")
    job.wait_output("^line 3$")
    job.preempt()
    until("the restore", lambda: "restored from checkpoint 1 " in err(job))
    assert job.finish() == ["COMPLETED"]
    assert ticks(job, "line") == list(range(1, MANY + 1))
    assert job.text().endswith("\nthe timer runs\n")


def test_yama_script(cluster, yama):
    """Who starts the real srun is no ancestor of what stands for it in the script."""
    cluster.conf("elevate=ptrace\n")
    job = cluster.submit(cluster.script("job.sh", (
        f"echo begin; srun bash -c 'for i in $(seq {MANY}); do echo line $i; "
        f"{PACE}; done; exit 3'; echo rc $?\n")), options="--requeue --checkpoint -e err-%j")
    job.wait_output("^line 10$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == ["begin"] + [f"line {i}" for i in range(1, MANY + 1)] + ["rc 3"]
    assert "restored from checkpoint 1 " in err(job)
