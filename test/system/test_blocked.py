# SPDX-License-Identifier: GPL-2.0-or-later
"""What cannot be checkpointed is refused by name, with a way out, and the program
goes on; what only looks hard works."""
import contextlib
import re
import time

import pytest

from conftest import until
from test_command import FAILED, said, sckpt

SUBJECT = "/shared/subject/blocked.py"


def start(cluster, case, options="-w n1"):
    script = cluster.script("job.sh", f"exec {SUBJECT} {case}\n")
    job = cluster.submit(script, options=f"--requeue --checkpoint {options}")
    job.wait_output("^up ", 120)
    return job


def goes_on(job):
    before = len(job.text().splitlines())
    until("it to go on", lambda: len(job.text().splitlines()) > before + 2)
    assert "BAD" not in job.text()
    assert job.state == ["RUNNING"]


def refused(cluster, job, sentence):
    """Named, and it runs on; a second time, too."""
    for _ in range(2):
        done = sckpt(cluster, "create", job.number, rc=FAILED)
        assert re.search(sentence, done.stderr), done.stderr
        goes_on(job)
    assert job.generations() == []


@contextlib.contextmanager
def background(cluster, node, command, user="root", port=None):
    """A process of a node that is no job's."""
    cluster.run(node, f"setsid {command} >/tmp/background 2>&1 & echo $! >/tmp/background.pid",
                user=user)
    if port:
        until("it to listen", lambda: cluster.run(node, f"ss -Htln sport = :{port}").stdout)
    yield
    cluster.run(node, "kill -KILL $(cat /tmp/background.pid)", user=user, check=False)


def test_tcp(cluster):
    with background(cluster, "n2", f"{SUBJECT} listen 5432", port=5432):
        job = start(cluster, "tcp n2 5432")
        refused(cluster, job, r"blocked.py\[1001\] holds a TCP connection [\d.]+:\d+ to [\d.]+:5432 "
                r"\(descriptor \d+\): close it")


def test_gpu(cluster):
    """A device that criu does not know either, under a GPU's name."""
    cluster.run("n1", "mknod -m 666 /dev/nvidia0 c 10 229", user="root")
    try:
        job = start(cluster, "device /dev/nvidia0")
        refused(cluster, job, r"blocked.py\[1001\] holds a GPU \(descriptor \d+\): run without")
    finally:
        cluster.run("n1", "rm /dev/nvidia0", user="root")


def test_fuse(cluster):
    cluster.run("n1", "mkdir -p fuse")
    job = start(cluster, "fuse /home/user1/fuse")
    pid = re.search(r"^up (\d+)", job.text(), re.M)[1]
    refused(cluster, job, rf"blocked.py\[{pid}\] holds a FUSE file system that it serves "
            r"\(descriptor \d+\): unmount it")


def test_user_namespace(cluster):
    job = start(cluster, "userns")
    pid = re.search(r"^up (\d+)", job.text(), re.M)[1]
    refused(cluster, job, rf"blocked.py\[{pid}\] is in a user namespace of its own: run it without")


def test_traced(cluster):
    job = start(cluster, "traced")
    pid = re.search(r"^up (\d+)", job.text(), re.M)[1]
    refused(cluster, job, rf"blocked.py\[{pid}\] is traced by process 1001: detach the debugger")


def test_io_uring(cluster):
    job = start(cluster, "io_uring")
    refused(cluster, job, r"blocked.py\[1001\] holds an io_uring \(descriptor \d+\): run without it")


def test_terminal_of_others(cluster):
    with background(cluster, "n1", "script -qc 'tty >tty; exec sleep 600' /dev/null", "user1"):
        tty = until("the terminal", lambda: (p := cluster.home() / "tty").exists() and
                    p.read_text().strip())
        job = start(cluster, f"terminal {tty}")
        refused(cluster, job, rf"blocked.py\[1001\] is on the terminal {tty}, whose other end is not "
                r"in the job \(descriptor \d+\): run it without")
        # It may have been started to ignore that its terminal hangs up.
        cluster.run("n1", f"pkill -KILL -t {tty.removeprefix('/dev/')}", check=False)


def test_lease(cluster):
    job = start(cluster, "lease /home/user1/leased", options="")
    sckpt(cluster, "create", job.number)
    goes_on(job)
    job.preempt()
    goes_on(job)


def test_lease_for_writing(cluster):
    """To open the file would break it."""
    job = start(cluster, "lease /home/user1/leased write", options="")
    refused(cluster, job, r"blocked.py\[1001\] has a lease on a file for writing \(F_SETLEASE\), which a "
            r"checkpoint would break: give it back")


@pytest.mark.parametrize("mode", ("read", "append"))
def test_many_files(cluster, mode):
    cluster.run("n1", "mkdir -p many")
    job = start(cluster, f"files /home/user1/many 100000 {mode}")
    (made,) = said(cluster, "create", job.number)
    print("100000 files:", made["frozen_us"], made["dump_us"], made["stored_bytes"])
    goes_on(job)
    print(sckpt(cluster, "check", job.number).stdout)
    goes_on(job)


def test_sparse_mapping(cluster):
    """20 GB, of which 10 MB are there: what is there is what it costs."""
    job = start(cluster, f"sparse {20 << 30} {10 << 20}", options="")
    before = time.monotonic()
    (made,) = said(cluster, "create", job.number)
    print("sparse:", made["frozen_us"], made["dump_us"], made["stored_bytes"],
          time.monotonic() - before)
    assert made["dump_us"] < 60_000_000 and made["stored_bytes"] < 64 << 20
    goes_on(job)
    job.preempt()
    goes_on(job)


def failing_criu(cluster, what, line):
    """A criu that fails at `what` with this in its log."""
    path = cluster.etc / "failing-criu"
    path.write_text("#!/bin/sh\n"
                    f"[ $1 = {what} ] || exec /usr/sbin/criu \"$@\"\n"
                    "for a; do case $a in --images-dir=*) cd ${a#*=} ;; esac; done\n"
                    f"echo '(00.012345) Error (criu/new.c:12): {line}' >{what}.log\n"
                    "exit 1\n")
    path.chmod(0o755)
    cluster.conf("criu=/etc/slurm/failing-criu\n")


def test_unknown_error(cluster):
    """It is shown whole, and its log is kept where it says."""
    failing_criu(cluster, "dump", "Something that nobody knows: 5 of 7")
    job = start(cluster, "none")
    done = sckpt(cluster, "create", job.number, rc=FAILED)
    log = f"/home/user1/.sckpt/test/{job.number}/batch/dump.log"
    assert f"criu: Something that nobody knows: 5 of 7 (criu's log is {log})" in done.stderr
    assert (job.store() / "dump.log").read_text().endswith("Something that nobody knows: 5 of 7\n")
    goes_on(job)
    job.cancel()
    job.wait_end()
    assert not job.store().exists()


def test_known_error(cluster):
    failing_criu(cluster, "dump", "tty: Found slave peer index 3 without correspond master peer")
    job = start(cluster, "none")
    done = sckpt(cluster, "create", job.number, rc=FAILED)
    assert "it is on the terminal /dev/pts/3, whose other end is not in the job: run it" in done.stderr
    assert "criu" not in done.stderr
    goes_on(job)
