# SPDX-License-Identifier: GPL-2.0-or-later
"""The life and death of checkpoints: whose they are, who may still write, and how long they stay."""
import json
import os
import re
import shlex
import subprocess
import time

from conftest import COMMAND, MANY, PACE, until
from test_command import FAILED, NOT_FOUND, restarted, said, sckpt, start


LINES = 10 * MANY  # more than it comes to before the node is given up


def numbers(text):
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]


def test_run_that_was_thought_dead(cluster):
    """Its slurmd is not heard any more, and it itself goes on, and on dumping: what the run that
    took over keeps of its output is that run's alone, and when it hears of that run it ends, and
    its script with it, so that nothing of it ends the other's step when its node is heard again."""
    cluster.conf("overhead=100\n")
    cluster.script("loop.sh", f"for i in $(seq {LINES}); do echo line $i; {PACE}; done\n")
    script = cluster.script("job.sh", "srun --checkpoint=every=2s ./loop.sh\necho over\n")
    job = cluster.submit(script, options="--requeue -o %N.out -e %N.err")
    first = job.wait_running()
    other = [n for n in cluster.nodes if n != first][0]
    until("a checkpoint", lambda: job.generations("0"))
    subprocess.run([str(COMMAND), "cut", first], check=True)
    try:
        until(f"the job to run on {other}", lambda: job.node == other, 150)
        until("a checkpoint of the second run",
              lambda: any(p.name.endswith("-1.json") for p in job.manifests("0")), 60)
        until("the first run to be ended", lambda: not any(
            p[1] == "user1" for p in cluster.ps(first)), 150)
        before = job.generations("0")[-1]
        until("two more checkpoints", lambda: job.generations("0")[-1] > before + 1, 150)
        seen = numbers((job.store("0") / "output.1").read_text())
        assert seen == list(range(1, len(seen) + 1)), seen
        # One that is removed meanwhile is not whole.
        until("whole checkpoints", lambda: all(
            line.endswith("whole") for line in job.verify("0")))
    finally:
        subprocess.run([str(COMMAND), "join", first], check=True)
    until(f"{first} to be back", lambda: cluster.ctl(
        f"sinfo -h -N -p low -n {first} -o %T").stdout.split() == ["idle"], 150)
    assert job.finish() == ["COMPLETED"]
    said = (cluster.home() / f"{other}.out").read_text()
    assert numbers(said) == list(range(1, LINES + 1)), numbers(said)
    assert said.endswith(f"line {LINES}\nover\n"), said[-100:]
    assert "over" not in (cluster.home() / f"{first}.out").read_text()


def ended_job(cluster):
    """A job that has ended, and has left a checkpoint."""
    job = start(cluster, lines=MANY)
    sckpt(cluster, "create", job.number)
    job.cancel()
    job.wait_end()
    return job


def pruned(cluster, *words, node="ctl"):
    """What nothing was done with for 8 s."""
    return said(cluster, "prune", "--older-than", "8s", *words, node=node)


def test_prune_leaves_what_somebody_waits_for(cluster):
    job = ended_job(cluster)
    name = f"{job.number}.batch"
    sckpt(cluster, "export", f"{name}:1", "/home/user1/images")
    until("it to be old", lambda: pruned(cluster, "--dry-run") == [name])
    # Who asks how it is gone on with has time to do so.
    sckpt(cluster, "restart", name, "--print")
    assert pruned(cluster) == []
    until("it to be old", lambda: pruned(cluster, "--dry-run") == [name])
    with cluster.drained(cluster.nodes):
        new = restarted(cluster, name)
        assert (job.store() / f"wanted.{new.number}").read_text() == ""
        (job.store() / "wanted.999999").touch()
        (job.store() / "wanted.x").touch()
        time.sleep(10)
        assert pruned(cluster) == []
        for words in ((name,), (job.number,), (f"{name}:1",)):
            refused = sckpt(cluster, "remove", *words, rc=FAILED).stderr
            assert f"job {new.number} is to go on from {name}" in refused, refused
            assert "--force" in refused
        assert job.generations() == [1]
        new.cancel()
        new.wait_end()
        # Of what stays those go that will not begin any more.
        for wanted in job.store().glob("wanted.[0-9]*"):
            os.utime(wanted, (0, 0))
        assert said(cluster, "prune", "--older-than", "1d") == []
        assert sorted(p.name for p in job.store().glob("wanted.*")) == ["wanted.x"]
        # That made it no younger.
        assert pruned(cluster) == [name]
        # What was brought here is new, whenever the dump was.
        sckpt(cluster, "import", "/home/user1/images")
        assert pruned(cluster) == []
        until("it to be old", lambda: pruned(cluster) == [name])
    assert not job.store().exists()


def test_restart_of_what_was_set_aside(cluster):
    job = ended_job(cluster)
    name = f"{job.number}.batch.old.1"
    job.store().rename(job.store("batch.old.1"))
    assert [x["id"] for x in said(cluster, "list")] == [f"{name}:1"]
    new = restarted(cluster, name)
    assert new.finish() == ["COMPLETED"]
    assert numbers(new.text()) == list(range(1, MANY + 1))


def test_two_clusters_in_one_home(cluster):
    """Slurm before 23.11 does not say whose jobs it tells of."""
    job = start(cluster, lines=30000)
    sckpt(cluster, "create", job.number)
    number = job.number
    home = job.home / ".sckpt"
    cluster.run("n1", "cp -a .sckpt/test .sckpt/other")
    theirs = home / "other" / str(number) / "batch"
    silent = """/usr/bin/squeue.real "$@" | sed 's/"cluster": *"[^"]*"/"cluster": ""/g'\n"""
    with cluster.replaced("squeue", silent):
        # It runs here, and may there.
        assert said(cluster, "prune", "--older-than", "0s", node="n1") == []
        sckpt(cluster, "remove", f"other/{number}", rc=FAILED, node="n1")
        job.cancel()
        job.wait_end()
        assert said(cluster, "prune", "--older-than", "0s", node="n1") == [f"{number}.batch"]
        assert theirs.exists() and not job.store().exists()
    cluster.run("n1", "cp -a .sckpt/other/* .sckpt/test/")
    with cluster.replaced("squeue", silent), cluster.replaced("scontrol", "exit 1\n"):
        assert said(cluster, "prune", "--older-than", "0s", node="n1") == []
        sckpt(cluster, "remove", number, rc=FAILED, node="n1")
    assert theirs.exists() and job.store().exists()
    sckpt(cluster, "remove", f"other/{number}", "--force")
    sckpt(cluster, "remove", f"test/{number}")


def test_remove_all(cluster):
    """Of a job that is to start afresh nothing is known any more; of one that runs nothing takes
    room."""
    job = start(cluster, lines=30000)
    for _ in range(2):
        sckpt(cluster, "create", job.number)
    sckpt(cluster, "remove", job.number, "--force")
    assert [p.name for p in job.store().iterdir() if re.match(r"\d+-\d+\.", p.name)] == []
    sckpt(cluster, "create", job.number)
    assert [line.split()[1] for line in job.verify()] == ["whole"]
    job.cancel()
    job.wait_end()
    held = cluster.submit("--wrap", "true", options="--hold --checkpoint")
    ended = job.home / ".sckpt" / "test" / "ended"
    record = json.dumps({"format": 1, "call": 1, "command": "00" * 32, "length": [0, 0, 0]})
    cluster.run("n1", f"mkdir -p -m 700 {cluster.inside(ended)} && cd {cluster.inside(ended)} && "
                f"echo {shlex.quote(record)} >{held.number}.done-1.json && touch {held.number}.done-1.1")
    assert "--force" in sckpt(cluster, "remove", held.number, rc=FAILED).stderr
    sckpt(cluster, "remove", held.number, "--force", "--dry-run")
    assert len(list(ended.glob(f"{held.number}.*"))) == 2
    assert sckpt(cluster, "remove", held.number, "--force").stdout == f"removed {held.number}.batch\n"
    assert list(ended.glob(f"{held.number}.*")) == []
    sckpt(cluster, "remove", held.number, "--force", rc=NOT_FOUND)
