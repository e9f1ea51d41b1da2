# SPDX-License-Identifier: GPL-2.0-or-later
"""A step on three nodes: what holds of two could be a matter of the first and the last."""
import json

import pytest

from conftest import COMMAND, MANY, sh, until
from test_command import said, sckpt
from test_nodes import expect, lines
from test_steps import strip_times

RANK = ("bash -c 'echo $SLURM_PROCID pid $$; for i in $(seq {}); do "
        "echo $SLURM_PROCID line $i; [ -e ~/quick ] || sleep 0.1$SLURM_PROCID; done'")


@pytest.fixture(scope="module")
def three(cluster):
    had = len(cluster.nodes)
    if had < 3:
        sh(COMMAND, "nodes", 3)
        cluster.look()
    yield cluster
    if had < 3:
        sh(COMMAND, "nodes", had)
        cluster.look()


def stores(job, step):
    return [job.store(step) / d for d in (".", "node.1", "node.2")]


def sets(job, step):
    return [sorted(p.name for p in d.glob("[0-9]*.json")) for d in stores(job, step)]


def test_three_nodes(three):
    """Rehearsed, saved, exported, and restored from the last set that is whole on all."""
    job = three.submit(three.script("job.sh", f"srun -N3 -n6 {RANK.format(MANY)}\necho rc $?\n"),
                       options="--requeue -N3 -n6 -e err --checkpoint")
    job.wait_output("^5 line 10$")
    nodes = three.ctl(f"scontrol show hostnames {job.wait_running()}").stdout.split()
    assert len(nodes) == 3
    (batch, step) = said(three, "check", job.number)
    assert batch["restored"] and step["restored"], step
    assert step["id"] == f"{job.number}.srun-1"
    assert {f["node"] for f in step["found"]} == set(nodes)
    at = len(lines(job.text(), 5))
    job.wait_output(f"^5 line {at + 10}$")
    three.ctl(f"scontrol requeuehold {job.number}")
    until("all to be saved", lambda: job.node is None and "COMPLETING" not in job.state)
    assert sets(job, "srun-1") == [["1-0.json", "2-0.json"]] * 3
    assert [json.loads((d / "2-0.json").read_text())["node"] for d in stores(job, "srun-1")] == nodes
    (listed,) = [g for g in said(three, "list", job.number) if g["step"] == "srun-1" and g["generation"] == 2]
    assert (listed["nodes"], listed["node"]) == (3, ",".join(nodes))
    images = "/shared/home/user1/images"
    sckpt(three, "export", f"{job.number}.srun-1", images)
    assert sorted(p.name for p in (three.home() / "images").iterdir()) == ["node.0", "node.1", "node.2"]
    # Of the second set one node has lost its part.
    meta = stores(job, "srun-1")[1] / "2-0.meta"
    meta.write_bytes(meta.read_bytes()[:-8] + b"damaged!")
    three.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    for rank in range(6):
        assert lines(job.text(), rank) == expect(rank, MANY)
    assert strip_times(job.text())[-1] == "rc 0"
    assert len(strip_times(job.text())) == 6 * (MANY + 1) + 1
    assert not job.store("srun-1").exists()
