# SPDX-License-Identifier: GPL-2.0-or-later
"""A job that was dumped and requeued starts again before Slurm's own wait is over
(AuthInfo=cred_expire, here the usual 120 s), and nobody's order is overridden."""
import contextlib
import re
import time

import pytest

from cluster import SUITE
from conftest import MANY, PACE, until

LOOP = f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n"
SLURMS = 121
OURS = 10


@pytest.fixture(scope="module", autouse=True)
def usual_wait(cluster):
    # What is ordered while a step stops takes some time.
    with cluster.slurm_conf(lambda text: re.sub("KillWait=.*", "KillWait=600",
                                                re.sub("cred_expire=5", "cred_expire=120", text))):
        assert "cred_expire=120" in cluster.ctl("scontrol show config").stdout
        yield


def start(cluster, options=""):
    job = cluster.submit(cluster.script("job.sh", LOOP),
                         options=f"--requeue --checkpoint -e err {options}")
    job.wait_output("^line 10$")
    return job


def begins(job):
    """When it may start, in seconds after it was put back."""
    until("the end of its run", lambda: job.state == ["PENDING"])
    record = job.record()
    return record["eligible_time"]["number"] - record["submit_time"]["number"]


@contextlib.contextmanager
def while_it_stops(cluster, job):
    """The job is requeued; its step is dumped when this is left."""
    node = job.node
    agent = cluster.run(node, f"pgrep -f '^/usr/libexec/sckpt/sckpt-agent .*job={job.number} '",
                        user="root").stdout.split()[0]
    cluster.run(node, f"kill -STOP {agent}", user="root")
    cluster.ctl(f"scontrol requeue {job.number}")
    try:
        yield
    finally:
        cluster.run(node, f"kill -CONT {agent}", user="root")


def said(cluster):
    return (cluster.home() / "err").read_text()


def test_starts_soon_on_the_same_node(cluster):
    """slurmd takes the new credential, though the revoked one is still remembered."""
    job = start(cluster, "-w n1")
    for restarts in (1, 2):
        cluster.ctl(f"scontrol requeue {job.number}")
        assert 0 < begins(job) <= OURS
        began = time.monotonic()
        until("the next run", lambda: job.node == "n1", 60)
        assert time.monotonic() - began < SLURMS / 2
        assert job.record()["restart_cnt"] == restarts
        n = len(job.text())
        until("progress", lambda: len(job.text()) > n + 50)
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    assert "line" not in said(cluster) and "sooner" not in said(cluster)
    assert "reissued job credential for job %d" % job.number in cluster.log("n1")


def test_starts_soon_elsewhere(cluster):
    job = start(cluster)
    began = time.monotonic()
    node = job.preempt()
    assert time.monotonic() - began < SLURMS / 2
    assert job.node not in (None, node)
    job.cancel()


def test_as_slurm_waits(cluster):
    cluster.conf("requeue-wait=slurm\n")
    job = start(cluster)
    cluster.ctl(f"scontrol requeue {job.number}")
    assert begins(job) in (SLURMS - 1, SLURMS)
    job.cancel()


def test_as_long_as_the_administrator_says(cluster):
    cluster.conf("requeue-wait=40s\n")
    job = start(cluster)
    cluster.ctl(f"scontrol requeue {job.number}")
    assert OURS < begins(job) <= 40
    job.cancel()


def test_deferred(cluster):
    """By its owner, while it was being stopped."""
    job = start(cluster)
    with while_it_stops(cluster, job):
        cluster.ctl(f"scontrol update JobId={job.number} StartTime=now+3600")
        wanted = job.record()["eligible_time"]["number"]
        assert wanted > time.time() + 3000
    until("the end of its run", lambda: job.state == ["PENDING"])
    assert job.generations() == [1]
    assert job.record()["eligible_time"]["number"] == wanted
    job.cancel()


@pytest.mark.parametrize("user", ["user1", "root"])
def test_held(cluster, user):
    job = start(cluster)
    with while_it_stops(cluster, job):
        cluster.ctl(f"scontrol hold {job.number}", user=user)
    until("the end of its run", lambda: job.state == ["PENDING"])
    assert job.generations() == [1]
    record = job.record()
    assert record["hold"] and record["priority"]["number"] == 0
    # Slurm's own wait is as it was, too.
    assert record["eligible_time"]["number"] > time.time() + OURS + 10
    # The time at which it would have started.
    time.sleep(OURS + 3)
    assert job.state == ["PENDING"] and job.record()["hold"]
    job.cancel()


def test_requeuehold(cluster):
    job = start(cluster)
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("the hold", lambda: "PENDING" in job.state and "COMPLETING" not in job.state)
    assert job.generations() == [1]
    record = job.record()
    # Slurm's own wait is as it was: before 23.02 6 s.
    assert record["hold"]
    assert SUITE == "bookworm" or record["eligible_time"]["number"] > time.time() + OURS + 10
    job.cancel()


def test_task_with_the_number_of_its_array(cluster):
    """Only that task is meant, and only its record is looked at."""
    script = cluster.script("job.sh", LOOP)
    job = cluster.submit(script, options="--requeue --checkpoint -w n1 --array=1-2 -n1 "
                         "--mem=100 -o out%a -e err")
    outs = [cluster.home() / f"out{i}" for i in (1, 2)]
    for out in outs:
        until("output", lambda: out.exists() and "line 10\n" in out.read_text())

    def tasks():
        rows = cluster.ctl(f"squeue -h -r -j {job.number} -o '%A %K %T'").stdout.split("\n")
        return {int(r.split()[1]): r.split()[::2] for r in rows if r}

    task = [k for k, (number, _) in tasks().items() if int(number) == job.number]
    assert len(task) == 1, tasks()
    other = 3 - task[0]
    cluster.ctl(f"scontrol requeue {job.number}_{task[0]}")
    until("the requeue", lambda: tasks()[task[0]][1] == "PENDING")
    assert job.manifest()["reason"] == "requeue"
    assert tasks()[other][1] == "RUNNING"
    began = time.monotonic()
    until("the next run", lambda: tasks()[task[0]][1] == "RUNNING", 60)
    assert time.monotonic() - began < SLURMS / 2
    n = outs[task[0] - 1].stat().st_size
    until("progress", lambda: outs[task[0] - 1].stat().st_size > n + 50)
    # All that it says; the supervisor does, when the program runs already.
    until("words", lambda: re.fullmatch(
        r"sckpt: restored from checkpoint 1 on n1 after \d+ s\n", said(cluster)))
    lines = outs[task[0] - 1].read_text().splitlines()
    assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]
    job.cancel()
