# SPDX-License-Identifier: GPL-2.0-or-later
"""What people ask of a step on several nodes: sckpt check, export, import, restart."""
import json
import re

import pytest

from conftest import MANY, until
from test_command import FAILED, restarted, said, sckpt
from test_nodes import RANK, expect, lines, parts, preempt, submit
from test_nodes import said as written
from test_steps import strip_times

SUBJECT = "/shared/subject/blocked.py"


def names(cluster, job):
    return cluster.ctl(f"scontrol show hostnames {job.wait_running()}").stdout.split()


def goes_on(job, rank=3):
    before = len(lines(job.text(), rank))
    job.wait_output(f"^{rank} line {before + 5}$")


# ---- sckpt check --------------------------------------------------------------------


def test_check(cluster):
    """Each node rehearses its part; the program notices nothing on any of them."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
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
        f"for i in $(seq {MANY}); do echo $SLURM_PROCID line $i; sleep 0.1; done\n")
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


def test_check_of_a_node_that_is_silent(cluster):
    """It is named, and waited for no longer than for a checkpoint."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    job.wait_output("^3 line 10$")
    node1 = cluster.inside(job.store("0") / "node.1")
    cluster.run("ctl", f"chmod 500 {node1}", user="root")
    done = sckpt(cluster, "check", job.number, rc=FAILED)
    cluster.run("ctl", f"chmod 700 {node1}", user="root")
    assert ": in the way: node 1 of the step" in done.stdout, done.stdout
    assert "node 1: its part was not rehearsed" in done.stdout, done.stdout
    assert "1 thing is in the way" in done.stderr
    goes_on(job)
    (one,) = said(cluster, "check", job.number)
    assert one["good"] and one["restored"]
    goes_on(job)


def test_check_by_itself(cluster):
    """--checkpoint=check: each node tells, 30 s after the start."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint=check {RANK.format(MANY, 'exit 0')}\n")
    nodes = names(cluster, job)
    for node in nodes:
        until("the rehearsal", lambda: f"step {job.number}.0: rehearsal on {node}: it was restored "
              f"beside itself on {node}" in written(cluster), 90)
    goes_on(job)
    assert "in the way" not in written(cluster)
    assert "left out" not in written(cluster)


# ---- sckpt export, sckpt import -----------------------------------------------------


def held_set(cluster):
    """A job whose step on two nodes was saved, and that waits."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    job.wait_output("^3 line 20$")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("both to be saved", lambda: job.node is None and "COMPLETING" not in job.state)
    return job


def test_export_import(cluster):
    """Plain images of each node; from what is imported the step goes on."""
    job = held_set(cluster)
    images = "/shared/home/user1/images"
    text = sckpt(cluster, "export", f"{job.number}.0", images).stdout
    assert re.match(rf"{job.number}\.0:1: \d+ images of all nodes, ", text), text
    sckpt(cluster, "export", f"{job.number}.0", images, rc=FAILED)  # not empty any more
    out = cluster.home() / "images"
    assert sorted(p.name for p in out.iterdir()) == ["node.0", "node.1"]
    for part in (0, 1):
        at = out / f"node.{part}"
        assert at.stat().st_mode & 0o777 == 0o700
        manifest = json.loads((at / "sckpt.json").read_text())
        assert (manifest["nodes"], manifest["part"]) == (2, part)
        for image in manifest["images"]:
            assert (at / image["name"]).stat().st_size == image["size"]
        seen = cluster.run("n1", f"crit x {images}/node.{part} ps").stdout
        assert re.search(r"1000 +1000 +1000 +sckpt-root\n +1001 .* bash\n", seen), seen
    # One part alone is none, nor are parts of two checkpoints, and neither leaves anything.
    done = sckpt(cluster, "import", f"{images}/node.1", "--force", rc=4)
    assert "it is node 1's part of a step on 2 nodes: name the directory with all" in done.stderr
    (out / "node.1").rename(out / "node.x")
    assert "node.1" in sckpt(cluster, "import", images, "--force", rc=4).stderr
    cluster.ctl(f"cp -r {images}/node.x {images}/node.1; "
                f"sed -i 's/\"generation\": *1/\"generation\": 2/' {images}/node.1/sckpt.json")
    assert "another checkpoint" in sckpt(cluster, "import", images, "--force", rc=4).stderr
    cluster.ctl(f"rm -r {images}/node.1; cp -r {images}/node.x {images}/node.1; "
                f"echo x >>{images}/node.0/pstree.img")
    assert "node.0" in sckpt(cluster, "import", images, "--force", rc=FAILED).stderr
    assert [sorted(p.name for p in d.glob("*.json") if p.name[0].isdigit())
            for d in (job.store("0"), job.store("0") / "node.1")] == [["1-0.json"]] * 2
    cluster.ctl(f"rm -r {images}/node.1; mv {images}/node.x {images}/node.1; "
                f"truncate -s -2 {images}/node.0/pstree.img")
    # With nothing left it is all that there is.
    assert "has not ended" in sckpt(cluster, "import", images, rc=FAILED).stderr
    sckpt(cluster, "remove", f"{job.number}.0", "--force")
    assert parts(job, "0") == [set(), set()]
    assert sckpt(cluster, "import", images, "--force").stdout == f"imported {job.number}.0:1\n"
    sckpt(cluster, "verify", f"{job.number}.0")
    # And beside it, it is one more; the newest goes on.
    assert sckpt(cluster, "import", images, "--force").stdout == f"imported {job.number}.0:2\n"
    (listed,) = [g for g in said(cluster, "list", job.number) if g["generation"] == 2]
    assert listed["nodes"] == 2
    sckpt(cluster, "verify", f"{job.number}.0", "--all")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, MANY)
    assert "restored from checkpoint 2 on" in written(cluster)


# ---- sckpt restart ------------------------------------------------------------------


def test_restart_script(cluster):
    """A new job goes on in the script and in all its steps, on several nodes and on one;
    the steps go on from their newest, also where the script's is an old one."""
    one = RANK.format(MANY, "exit 3").replace("$SLURM_PROCID", "9")
    old = cluster.submit(cluster.script("job.sh", (
        "echo begin; srun -N2 -n2 true\n"
        f"srun -N1 -n1 --overlap {one} & p=$!; srun -N2 -n4 --overlap {RANK.format(MANY, 'exit 0')}; echo rc $?\n"
        "wait $p; echo one $?\nsrun -N2 -n2 bash -c 'echo last $SLURM_PROCID'\n")),
        options="--requeue -N2 -n4 --checkpoint -e err")
    old.wait_output("^3 line 15$")
    sckpt(cluster, "create", old.number)
    old.wait_output("^3 line 30$")
    sckpt(cluster, "create", old.number)
    old.cancel()
    old.wait_end()
    new = restarted(cluster, f"{old.number}.batch:1")
    assert new.finish() == ["COMPLETED"], new.text()
    for rank in range(4):
        assert lines(new.text(), rank) == expect(rank, MANY)
    assert lines(new.text(), 9) == ["9 pid 1001"] + [f"9 line {i}" for i in range(1, MANY + 1)]
    out = strip_times(new.text())
    assert out[0] == "begin" and [l for l in out if l.startswith(("rc", "one"))] == ["rc 0", "one 3"]
    assert sorted(out[-2:]) == ["last 0", "last 1"]
    assert len(out) == 5 * (MANY + 1) + 5, out
    assert "afresh" not in new.text()
    # Of the old job nothing is used up.
    assert {g["step"] for g in said(cluster, "list", old.number)} == {"batch", "srun-2", "srun-3"}


def test_restart_step(cluster):
    """A step alone, by its own option; on another number of nodes it does not start."""
    old = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    old.wait_output("^3 line 15$")
    sckpt(cluster, "create", old.number)
    old.wait_output("^3 line 25$")
    old.cancel()
    old.wait_end()
    name = f"{old.number}.0:1"
    assert f"srun --checkpoint=restart={old.number}.0:N" in sckpt(
        cluster, "restart", name, rc=FAILED).stderr
    new = submit(cluster, f"srun -N2 -n4 --checkpoint=restart={name} {RANK.format(MANY, 'exit 0')}\necho rc $?\n")
    new.wait_output("^3 line 35$")
    # It is the new one's now.
    sckpt(cluster, "remove", old.number)
    preempt(cluster, new)
    assert parts(new, "0")[0] == parts(new, "0")[1]
    assert new.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(new.text(), rank) == expect(rank, MANY)
    assert strip_times(new.text())[-1] == "rc 0"


def test_restart_step_elsewhere(cluster):
    old = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    old.wait_output("^3 line 15$")
    sckpt(cluster, "create", old.number)
    old.cancel()
    old.wait_end()
    new = cluster.submit(cluster.script("job.sh", f"srun -N1 -n2 --checkpoint=restart={old.number}.0:1 "
                                        f"{RANK.format(300, 'exit 0')}\n"), options="--requeue -n2 -e err")
    until("words", lambda: "it is of a step on 2 nodes, and this one is started on 1" in written(cluster))
    until("the job to be held", lambda: "PENDING" in new.state)
    assert not lines(new.text(), 0)
