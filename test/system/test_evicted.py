# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs that are preempted and that Slurm does not start again: they are saved all the
same, and how to go on is told."""
import contextlib
import re
import subprocess

from conftest import COMMAND, until
from test_triggers import LOOP


@contextlib.contextmanager
def intruder(cluster, node):
    job = cluster.intruder(node)
    yield
    job.cancel()


def test_batch(cluster):
    """A batch job that may not be requeued."""
    job = cluster.submit(cluster.script("job.sh", LOOP.format(80)),
                         options="--no-requeue --checkpoint -e err")
    job.wait_output("^line 10$")
    with intruder(cluster, job.node):
        assert job.wait_end()[0] == "PREEMPTED"
    assert job.manifest()["reason"] == "preemption"
    said = (cluster.home() / "err").read_text()
    assert (f"step {job.number}.batch: the job was preempted, and Slurm does not start it again: it was saved, "
            f"and sckpt restart {job.number} goes on from there in a new job") in said
    assert "told" not in said
    number = int(cluster.ctl(f"sckpt restart {job.number}").stdout.split()[-1])
    until("the end", lambda: not cluster.ctl(f"squeue -h -j {number}").stdout)
    out = (cluster.home() / f"slurm-{number}.out").read_text()
    assert [l for l in out.splitlines() if l.startswith("line")] == [f"line {i}" for i in range(1, 81)]


def test_step(cluster):
    """srun typed by hand, which Slurm never requeues."""
    cluster.script("job.sh", LOOP.format(80))
    out, err = cluster.home() / "out", cluster.home() / "err"
    with open(err, "w") as to:
        srun = subprocess.Popen(
            [COMMAND, "run", "ctl", "--user", "user1", "--", "srun", "--checkpoint", "-o", "out",
             "bash", "job.sh"], stdin=subprocess.DEVNULL, stdout=to, stderr=to)
    until("line 10", lambda: out.exists() and "line 10\n" in out.read_text())
    node = cluster.ctl("squeue -h -u user1 -o %N").stdout.strip()
    with intruder(cluster, node):
        assert srun.wait(60)
    # The step's own words are in its output: the two are one with -o alone.
    found = re.search(r"srun --checkpoint=restart=(\d+\.0:1) with the same program, nodes and tasks goes on from there",
                      out.read_text() + err.read_text())
    assert found, out.read_text() + err.read_text()
    done = cluster.ctl(f"srun --checkpoint=restart={found[1]} bash job.sh")
    assert "line 80" in done.stdout
    lines = [l for l in out.read_text().splitlines() + done.stdout.splitlines()
             if l.startswith("line")]
    assert set(lines) == {f"line {i}" for i in range(1, 81)}
