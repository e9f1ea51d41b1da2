# SPDX-License-Identifier: GPL-2.0-or-later
"""What people ask of a step on several nodes: sckpt check, export, import, restart."""
import json
import re

import pytest

from conftest import until
from test_command import FAILED, said, sckpt
from test_nodes import RANK, expect, lines, submit
from test_nodes import said as written

SUBJECT = "/shared/subject/blocked.py"


def names(cluster, job):
    return cluster.ctl(f"scontrol show hostnames {job.wait_running()}").stdout.split()


def goes_on(job, rank=3):
    before = len(lines(job.text(), rank))
    job.wait_output(f"^{rank} line {before + 5}$")


# ---- sckpt check --------------------------------------------------------------------


def test_check(cluster):
    """Each node rehearses its part; the program notices nothing on any of them."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(600, 'exit 0')}\n")
    job.wait_output("^3 line 10$")
    nodes = names(cluster, job)
    text = sckpt(cluster, "check", job.number).stdout
    for node in nodes:
        assert re.search(rf"^step {job.number}\.0: {node}: it was restored beside itself on {node} "
                         r"in \S+ m?s, and was the same: \d+ processes", text, re.M), text
    assert text.count("checkpoint 1 was taken") == 1 and text.endswith(
        f"step {job.number}.0: it can be checkpointed, and restored on nodes like these\n"), text
    goes_on(job)
    (one,) = said(cluster, "check", f"{job.number}.0")
    assert one["good"] and one["restored"] and one["id"] == f"{job.number}.0"
    assert [(f["node"], f["kind"]) for f in one["found"]] == [
        (nodes[0], "ok"), (nodes[0], "ok"), (nodes[1], "ok")]
    goes_on(job)
    for rank in range(4):
        got = [l for l in lines(job.text(), rank) if "line" in l]
        assert got == [f"{rank} line {i}" for i in range(1, len(got) + 1)]
    for node in nodes:  # nothing of the copies is left
        roots = [p for p in cluster.ps(node) if p[1] == "user1" and "sckpt-root" in p[2].split()[0]]
        assert len(roots) == 1, roots


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_check_blocked(cluster, ranks):
    """What is in the way is told of every node that has it, by its name, and of no other."""
    (cluster.home() / "rank.sh").write_text(
        f"case $SLURM_PROCID in {'|'.join(map(str, ranks))}) exec {SUBJECT} io_uring;; esac\n"
        "for i in $(seq 600); do echo $SLURM_PROCID line $i; sleep 0.1; done\n")
    job = cluster.submit(cluster.script("job.sh", "srun -N2 -n2 --checkpoint bash rank.sh\n"),
                         options="--requeue -N2 -n2 -e err")
    job.wait_output("^up " if len(ranks) > 1 else f"^{1 - ranks[0]} line 5$")
    until("all ranks", lambda: job.text().count("up ") == len(ranks))
    nodes = names(cluster, job)
    done = sckpt(cluster, "check", f"{job.number}.0", rc=FAILED)
    for rank, node in enumerate(nodes):
        assert (f"step {job.number}.0: {node}: in the way: blocked.py[1001] holds an io_uring"
                in done.stdout) == (rank in ranks), done.stdout
    assert done.stdout.count(": in the way: ") == len(ranks), done.stdout
    assert (f"{len(ranks)} thing{' is' if len(ranks) == 1 else 's are'} in the way" in done.stderr), done.stderr
    (one,) = said(cluster, "check", job.number, rc=FAILED)
    assert not one["good"] and not one["restored"]
    assert [f["node"] for f in one["found"] if f["kind"] == "blocks"] == [nodes[r] for r in ranks]
    assert not job.generations("0")
    assert job.state == ["RUNNING"]


def test_check_by_itself(cluster):
    """--checkpoint=check: each node tells, 30 s after the start."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint=check {RANK.format(900, 'exit 0')}\n")
    nodes = names(cluster, job)
    for node in nodes:
        until("the rehearsal", lambda: f"step {job.number}.0: rehearsal on {node}: it was restored "
              f"beside itself on {node}" in written(cluster), 90)
    goes_on(job)
    assert "in the way" not in written(cluster)
    assert "left out" not in written(cluster)
