# SPDX-License-Identifier: GPL-2.0-or-later
"""sckpt check, the rehearsal: what it tells, and that nothing notices it."""
import contextlib
import re

import pytest

from conftest import V2, until
from test_blocked import background, goes_on, start
from test_command import FAILED, said, sckpt

SUBJECT = "/shared/subject"


def job_of(cluster, script, options="-w n1"):
    job = cluster.submit(cluster.script("job.sh", script),
                         options=f"--requeue --checkpoint {options}")
    job.wait_output("^line 3$")
    return job


COUNTING = "for i in $(seq 1000); do echo line $i; sleep 0.1; done\n"


def in_order(job):
    lines = [l for l in job.text().splitlines() if l.startswith("line ")]
    assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]


def test_good(cluster):
    job = job_of(cluster, "exec 7>>beside\n" + COUNTING.replace("echo", "echo $i >&7; echo"))
    text = sckpt(cluster, "check", job.number).stdout
    # The shell may have no child just then.
    assert re.search(rf"^step {job.number}\.batch: it was restored beside itself on n1 in \S+ m?s, "
                     r"and was the same: ([23]) processes, \1 threads, \d+ descriptors, \S+ [KM]iB of memory; "
                     r"the copy was killed before it ran$", text, re.M), text
    (one,) = said(cluster, "check", f"{job.number}.batch")
    assert one["good"] and one["restored"] and one["id"] == f"{job.number}.batch"
    assert [f["kind"] for f in one["found"]] == ["ok", "ok"]
    goes_on(job)
    in_order(job)
    beside = (cluster.home() / "beside").read_text().split()
    assert beside == [str(i) for i in range(1, len(beside) + 1)]
    # Nothing of the copy is left: the program's processes, and those beside it. (Before it is
    # sleep, the shell's child is called as the shell is.)
    for name in ("/bin/bash", "sckpt-root"):
        until(f"one {name}", lambda: len([p for p in cluster.ps("n1") if p[1] == "user1"
                                          and name in p[2].split()[0]]) == 1)  # noqa: B023
    # The checkpoint is one: the job goes on from it.
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the restore", lambda: job.record()["restart_cnt"] == 1 and job.node, 90)
    goes_on(job)
    in_order(job)


def test_ports_and_threads(cluster):
    """What the program has to itself its copy has, too."""
    (cluster.home() / "serve.py").write_text(
        "import socket, threading, time, os, fcntl\n"
        "a = socket.create_server(('127.0.0.1', 6500))\n"
        "b = socket.create_server(('0.0.0.0', 6501))\n"
        "c = socket.create_server((socket.gethostbyname('n1'), 6502))\n"
        "u = socket.socket(socket.AF_UNIX); u.bind('\\0own'); u.listen()\n"
        "f = open('locked', 'w'); fcntl.lockf(f, fcntl.LOCK_EX)\n"
        "os.mkfifo('fifo'); p = os.open('fifo', os.O_RDWR | os.O_NONBLOCK); os.write(p, b'unread')\n"
        "for _ in range(5): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "if os.fork() == 0: time.sleep(600)\n"
        "for i in range(1, 1000): print('line', i, os.path.exists('look') and not os.unlink('look') and os.read(p, 99) or '', flush=True); time.sleep(0.1)\n")
    job = cluster.submit(cluster.script("job.sh", "exec python3 serve.py\n"),
                         options="--requeue --checkpoint -w n1")
    job.wait_output("^line 3 ")
    text = sckpt(cluster, "check", job.number).stdout
    assert "was the same: 3 processes, 8 threads" in text, text
    goes_on(job)
    # What was in the FIFO is in it once.
    (cluster.home() / "look").touch()
    job.wait_output("b'unread'$")


def test_all_that_is_in_the_way(cluster):
    """Not only the first."""
    with background(cluster, "n2", f"{SUBJECT}/blocked.py listen 5432", port=5432):
        job = job_of(cluster, f"{SUBJECT}/blocked.py tcp n2 5432 >one &\n"
                     f"{SUBJECT}/blocked.py io_uring >two &\n"
                     f"{SUBJECT}/blocked.py userns >three &\n"
                     "until grep -q up one && grep -q up two && grep -q up three; do sleep 0.1; done\n"
                     + COUNTING)
        done = sckpt_check_failed(cluster, job)
        for sentence in (r"blocked.py\[\d+\] holds a TCP connection [\d.:]+ to [\d.]+:5432 \(descriptor \d+\): close",
                         r"blocked.py\[\d+\] holds an io_uring \(descriptor \d+\): run",
                         r"blocked.py\[\d+\] is in a user namespace of its own: run"):
            assert re.search(rf"^step {job.number}\.batch: in the way: {sentence}", done, re.M), done
        (one,) = said(cluster, "check", job.number, rc=FAILED)
        assert not one["good"] and len(one["found"]) == 3
        goes_on(job)
        in_order(job)


def sckpt_check_failed(cluster, job):
    done = cluster.ctl(f"sckpt check {job.number}", check=False)
    assert done.returncode == FAILED, done.stdout + done.stderr
    return done.stdout


def test_what_a_rehearsal_must_not_do(cluster):
    """A socket with a name stays the program's; a removed file is not made again."""
    for case, why in (("import socket; s = socket.socket(socket.AF_UNIX); s.bind('here'); s.listen()",
                       "unix socket that has a name"),
                      ("f = open('gone', 'w'); f.write('x'); f.flush(); import os; os.unlink('gone')",
                       "removed while they are open"),
                      ("import pty; keep = pty.openpty()", "a terminal of its own"),
                      ("import fcntl; f = open('job.sh'); fcntl.flock(f, fcntl.LOCK_EX)",
                       "a lock on a file that it only reads")):
        (cluster.home() / "has.py").write_text(
            case + "\nimport time\n"
            "for i in range(1, 1000): print('line', i, flush=True); time.sleep(0.1)\n")
        job = job_of(cluster, "exec python3 has.py\n")
        before = sorted(p.name for p in cluster.home().iterdir())
        (one,) = said(cluster, "check", job.number)
        assert one["good"] and not one["restored"], one
        assert why in one["found"][-1]["text"], one
        assert sorted(p.name for p in cluster.home().iterdir()) == before
        goes_on(job)
        job.cancel()
        job.wait_end()


@contextlib.contextmanager
def memory_limit(cluster, node, limit):
    """This cluster's Slurm sets none; so all that the user has there gets one, for
    what it takes from then on."""
    top, name = ("/sys/fs/cgroup", "max") if V2 else ("/sys/fs/cgroup/memory", "limit_in_bytes")
    group = f"{top}/sckpt-test-check"
    # In version 2 a group with groups below it holds no process: back to the step's.
    step = cluster.run(node, "sed -n 's/^0:://p' /proc/$(pgrep -o -u user1)/cgroup").stdout.strip()
    back = top + step if V2 else top
    cluster.run(node, f"mkdir {group} && echo {limit} >{group}/memory.{name} && "
                f"for p in $(pgrep -u user1); do echo $p >{group}/cgroup.procs; done", user="root")
    yield
    # One may be forked meanwhile.
    cluster.run(node, f"until rmdir {group} 2>/dev/null; do for p in $(cat {group}/cgroup.procs); do "
                f"echo $p >{back}/cgroup.procs; done; sleep 0.1; done", user="root")


def test_memory(cluster):
    """There is no room for a copy: said, and nothing is killed."""
    (cluster.home() / "large.py").write_text(
        "import os, time\nmemory = os.urandom(120 << 20)\n"
        "for i in range(1, 1000): print('line', i, flush=True); time.sleep(float(os.environ['TEST_PACE']))\n")
    job = job_of(cluster, "exec python3 large.py\n", options="-w n1")
    with memory_limit(cluster, "n1", 100 << 20):
        (one,) = said(cluster, "check", job.number)
    assert one["good"] and not one["restored"], one
    assert "a copy needs as much memory again" in one["found"][-1]["text"]
    goes_on(job)


def test_script_with_a_step(cluster):
    job = job_of(cluster, f"srun {SUBJECT}/ender 60 exit 0\n", options="-w n1")
    found = said(cluster, "check", job.number)
    assert [f["id"] for f in found] == [f"{job.number}.batch", f"{job.number}.srun-1"], found
    assert all(f["restored"] for f in found), found
    in_order(job)


def test_by_itself(cluster):
    """--checkpoint=check: some time after the start, on stderr."""
    job = cluster.submit(cluster.script("job.sh", COUNTING), options="--checkpoint=check -w n1 -e err")
    err = cluster.home() / "err"
    until("the rehearsal", lambda: err.exists() and "the copy was killed before it ran" in err.read_text(), 90)
    assert f"sckpt: step {job.number}.batch: rehearsal: it was restored beside itself on n1" in err.read_text()
    goes_on(job)
    in_order(job)
    # One that is in the way is named there, too.
    job = cluster.submit(cluster.script("job.sh", f"exec {SUBJECT}/blocked.py io_uring\n"),
                         options="--checkpoint=check -w n1 -e err2")
    err = cluster.home() / "err2"
    until("the rehearsal", lambda: err.exists() and "rehearsal: in the way: blocked.py[1001] holds an io_uring"
          in err.read_text(), 90)
    goes_on(job)
