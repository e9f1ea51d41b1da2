# SPDX-License-Identifier: GPL-2.0-or-later
"""--checkpoint=timelimit: a job longer than its limit runs on in slices; and
--checkpoint=cancel."""
import contextlib
import json

from conftest import MANY, PACE, until
from test_command import restarted

LINES = ("trap 'echo warned >&2' USR1; trap 'echo told >&2' TERM\n"
         "for i in $(seq {}); do echo line $i; sleep 0.2; done\n")


def lines(job):
    return len(job.text().splitlines())


def reasons(job, run):
    """Of the checkpoints of a run; the oldest may be removed just now."""
    found = []
    for path in job.manifests():
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(path.read_text()))
    return [m["reason"] for m in found if m["run"] == run]


def shorten(cluster, job, seconds):
    cluster.ctl(f"scontrol update job {job.number} EndTime=now+{seconds}seconds", user="root")


def test_slices(cluster):
    """One minute by the clock; one whose limit was lowered unseen, so that
    Slurm ends the job for it; two after a warning signal."""
    script = cluster.script("job.sh", LINES.format(3000))
    job = cluster.submit(
        script, options="--requeue --checkpoint=timelimit --time=1 -w n1 -e err "
        "--open-mode=append")
    last = 0
    for run in range(4):
        # It goes on, in the same job.
        # Until the first look at the limit is over, and the next far away; and before a
        # warning, which is none within 10 s of a look.
        until("progress", lambda: lines(job) > last + (10, 130, 190, 190)[run], 120)
        assert job.record()["restart_cnt"] == run
        if run == 1:
            shorten(cluster, job, 0)
        elif run > 1:
            shorten(cluster, job, 12)
            job.cancel("--batch", "-s", "USR1")
        until("the end of the slice", lambda: job.record()["restart_cnt"] == run + 1, 90)
        # With the limit near it is saved first, and then requeued and saved.
        until(f"the dumps of {run}", lambda: reasons(job, run) == (  # noqa: B023
            ["time limit"] if run == 1 else ["time limit", "requeue"]))  # noqa: B023
        until("the node's end", lambda: "COMPLETING" not in job.state)
        last = lines(job)
        cluster.ctl(f"scontrol update job {job.number} TimeLimit=60", user="root")
        # It may run already.
        cluster.ctl(f"scontrol update job {job.number} StartTime=now+2", user="root", check=False)
    whole = last + 20
    until("progress", lambda: lines(job) > whole, 90)
    err = (cluster.home() / "err").read_text()
    # The warnings reach the program untouched, SIGTERM does not.
    assert err.count("warned") == 2
    assert "told" not in err
    assert "no checkpoint" not in err
    job.cancel()
    until("its own handler", lambda: "told" in (cluster.home() / "err").read_text())
    job.wait_end()
    assert job.text().splitlines()[:whole] == [f"line {i}" for i in range(1, whole + 1)]


def test_no_slices(cluster):
    """A job that may not be requeued is told so at the first look."""
    script = cluster.script("job.sh", LINES.format(3000))
    job = cluster.submit(
        script, options="--no-requeue --checkpoint=timelimit --time=3 -e err")
    until("the reason", lambda: (cluster.home() / "err").exists() and
          "the job may not be requeued" in (cluster.home() / "err").read_text(), 150)
    job.cancel("-s", "KILL")


def test_cancel(cluster):
    """scancel takes a checkpoint; the job has ended, and sckpt restart goes on
    from there."""
    script = cluster.script("job.sh", f"trap 'echo told >&2' TERM; for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")
    job = cluster.submit(script, options="--requeue --checkpoint=cancel -e err")
    job.wait_output("^line 10$")
    job.cancel()
    assert job.wait_end()[0] == "CANCELLED"
    assert job.generations() == [1]
    assert job.manifest()["reason"] == "scancel"
    assert "told" not in (cluster.home() / "err").read_text()
    before = job.text().splitlines()
    assert len(before) < MANY
    (cluster.home() / "quick").touch()
    new = restarted(cluster, job.number)
    assert new.wait_end() == ["COMPLETED"]
    assert [l for l in new.text().splitlines() if l.startswith("line")] == [
        f"line {i}" for i in range(1, MANY + 1)]


def test_slices_of_a_step(cluster):
    """A step of an unprotected script has the job requeued, and goes on."""
    (cluster.home() / "step.sh").write_text(
        f"for i in $(seq 3000); do echo $i; {PACE}; done\n")
    script = cluster.script(
        "job.sh", "srun --checkpoint=timelimit -o a bash step.sh\n")
    job = cluster.submit(script, options="--requeue -n1 -w n1 --time=1")
    until("the second slice", lambda: job.record()["restart_cnt"] == 1 and job.node, 120)
    assert job.finish() == ["COMPLETED"], job.text()
    assert (cluster.home() / "a").read_text().splitlines() == [
        str(i) for i in range(1, 3001)]
    assert "could not be requeued" not in job.text()
