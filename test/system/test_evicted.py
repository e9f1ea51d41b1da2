# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs that are preempted and that Slurm does not start again: they are saved all the
same, and how to go on is told."""
import contextlib
import re
import subprocess

from conftest import COMMAND, MANY, PACE, until
from test_command import restarted

LOOP = ("trap 'echo told >&2' TERM\n"
        f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")


@contextlib.contextmanager
def intruder(cluster, node):
    job = cluster.intruder(node)
    yield
    job.cancel()


def quick(cluster):
    (cluster.home() / "quick").touch()


def test_batch(cluster):
    """A batch job that may not be requeued."""
    job = cluster.submit(cluster.script("job.sh", LOOP),
                         options="--no-requeue --checkpoint -e err")
    job.wait_output("^line 10$")
    with intruder(cluster, job.node):
        assert job.wait_end()[0] == "PREEMPTED"
    assert job.manifest()["reason"] == "preemption"
    said = (cluster.home() / "err").read_text()
    assert (f"step {job.number}.batch: the job was preempted, and Slurm does not start it again: it was saved, "
            f"and sckpt restart {job.number} goes on from there in a new job") in said
    assert "told" not in said
    quick(cluster)
    new = restarted(cluster, job.number)
    assert new.wait_end() == ["COMPLETED"]
    assert [l for l in new.text().splitlines() if l.startswith("line")] == [f"line {i}" for i in range(1, MANY + 1)]


def test_step_of_a_script(cluster):
    """The script's own way is that of its step, too: no other is told."""
    cluster.script("loop.sh", LOOP)
    job = cluster.submit(cluster.script("job.sh", "srun bash loop.sh\n"),
                         options="--no-requeue --checkpoint -e err")
    job.wait_output("^line 10$")
    with intruder(cluster, job.node):
        assert job.wait_end()[0] == "PREEMPTED"
    assert job.generations("srun-1") == [1]
    said = (cluster.home() / "err").read_text()
    assert f"sckpt restart {job.number} goes on from there" in said
    assert "srun --checkpoint=restart" not in said


def test_step(cluster):
    """srun typed by hand, which Slurm never requeues."""
    cluster.script("job.sh", LOOP)
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
    quick(cluster)
    done = cluster.ctl(f"srun --checkpoint=restart={found[1]} bash job.sh")
    assert f"line {MANY}" in done.stdout
    lines = [l for l in out.read_text().splitlines() + done.stdout.splitlines()
             if l.startswith("line")]
    assert set(lines) == {f"line {i}" for i in range(1, MANY + 1)}


def step_of(cluster, options=""):
    """A checkpoint of step 1 of a job that is gone: its id."""
    out = cluster.home() / "out"
    salloc = subprocess.Popen(
        [COMMAND, "run", "ctl", "--user", "user1", "--", "salloc", "sh", "-c",
         f"srun true; exec srun --checkpoint -o out {options} /usr/bin/bash job.sh"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("line 10", lambda: out.exists() and "line 10\n" in out.read_text())
    number = cluster.ctl("squeue -h -u user1 -o %A").stdout.strip()
    cluster.ctl(f"sckpt create {number}.1 && scancel {number}")
    salloc.wait(60)
    quick(cluster)
    return f"{number}.1:1"


def test_step_of_another_number(cluster):
    """The step that is asked for by its own srun goes on, whatever its number."""
    cluster.script("job.sh", "echo >>begun\n" + LOOP)
    old = step_of(cluster)

    def lines(text):
        return [l for l in text.splitlines() if l.startswith("line")]

    whole = [f"line {i}" for i in range(1, MANY + 1)]
    for how in (f"srun --checkpoint=restart={old}", f"srun --export=NONE --checkpoint=required,restart={old}",
                f"salloc srun --checkpoint=restart={old}"):
        done = cluster.ctl(f"{how} /usr/bin/bash job.sh")
        assert "another step" not in done.stderr
        assert lines(done.stdout) == whole
    # Of a whole job's steps only one can be meant.
    done = cluster.ctl(f"salloc --checkpoint=restart={old} sh -c 'srun echo first; srun /usr/bin/bash job.sh'")
    assert done.stdout.startswith("first\n") and lines(done.stdout) == whole
    assert done.stderr.count(f"it starts from its top, for restart={old} is of another step") == 1, done.stderr
    assert (cluster.home() / "begun").read_text() == "\n"


def test_step_is_no_script(cluster):
    """Neither sbatch's script nor what it calls."""
    cluster.script("job.sh", LOOP)
    old = step_of(cluster)
    script = cluster.script("other.sh", "echo here\n")
    job = cluster.submit(script, options=f"--checkpoint=restart={old}")
    assert job.wait_end() == ["COMPLETED"]
    assert f"it starts from its top, for restart={old} is of another step" in job.text()
    job = cluster.submit(script, options=f"--checkpoint=required,restart={old}")
    until("its refusal", lambda: f"--checkpoint=required, and restart={old} is of another step" in job.text())
    assert "here\n" not in job.text()
