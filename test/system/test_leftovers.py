# SPDX-License-Identifier: GPL-2.0-or-later
"""However a step ends, nothing of it stays; the clean fixture then checks that
no user process is left and every node is idle and takes the next job."""
import os
import signal
import time

import pytest

from conftest import SLOW, until

SUBJECT = "/shared/subject"


def start(cluster, command, options=""):
    script = cluster.script("job.sh", f"exec {command}\n")
    job = cluster.submit(script, options=f"--requeue --checkpoint -w n1 {options}")
    job.wait_output("line 5|ready")
    return job


def pid_of(cluster, name):
    out = cluster.run("n1", f"pgrep -f '^/usr/libexec/sckpt/{name}'", user="root").stdout
    assert len(out.split()) == 1
    return out.strip()


def gone(cluster):
    """Nothing of the step is on the node."""
    until("the step's end", lambda: cluster.left("n1") == [])


def next_job_runs(cluster):
    assert cluster.run("n1", "srun --checkpoint -w n1 hostname").stdout == "n1\n"


def test_normal_end_with_orphans(cluster):
    job = start(cluster, "bash -c 'echo ready; (setsid sleep 500 &); sleep 1; exit 0'")
    assert job.wait_end() == ["COMPLETED"]
    gone(cluster)
    next_job_runs(cluster)


def test_scancel(cluster):
    job = start(cluster, f"{SUBJECT}/ender 60 exit 0")
    assert [l for l in cluster.left("n1") if l.startswith("pid:")]
    job.cancel()
    assert job.wait_end()[0] == "CANCELLED"
    gone(cluster)
    next_job_runs(cluster)


@pytest.mark.parametrize("victim", ["sckpt-supervise", "sckpt-agent", "sckpt-root"])
def test_killed_helper(cluster, victim):
    job = start(cluster, f"{SUBJECT}/ender 60 exit 0")
    cluster.run("n1", f"kill -KILL {pid_of(cluster, victim)}", user="root")
    assert job.wait_end()[0] in ("FAILED", "NODE_FAIL", "CANCELLED")
    assert job.exit()[1] == signal.SIGKILL
    gone(cluster)
    next_job_runs(cluster)


def test_kill_wait_runs_out_in_mid_dump(cluster):
    """criu is held up; Slurm kills the step. No generation is left, whole or
    half, that a restart takes for one: the job starts afresh and says so."""
    slow = cluster.etc / "slow-criu"
    slow.write_text(f"#!/bin/sh\ncase $1 in --version | cpuinfo) ;; *) sleep {100 * SLOW} ;; esac\n"
                    "exec /usr/sbin/criu \"$@\"\n")
    slow.chmod(0o755)
    cluster.conf("criu=/etc/slurm/slow-criu\n")
    job = start(cluster, f"{SUBJECT}/ender 3600 exit 0")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("the kill", lambda: "RUNNING" not in job.state and
          "COMPLETING" not in job.state)
    gone(cluster)
    assert job.generations() == []
    cluster.conf("")
    cluster.ctl(f"scontrol release {job.number}")
    job.wait_running()
    job.wait_output("starts afresh")
    job.wait_output("^line 3$")
    job.cancel()


def test_sigkill_at_any_moment(cluster):
    """The step is killed at 5 moments during a dump (test_kill.py has more): what is in the store is
    a whole generation or none, and the job goes on from it or afresh."""
    for i in range(5):
        home = cluster.home()
        job = start(cluster, f"{SUBJECT}/ender 3600 exit 0")
        agent = pid_of(cluster, "sckpt-agent")
        cluster.ctl(f"scontrol requeue {job.number}")
        time.sleep(0.02 + i * 0.05)  # the moment is what varies here
        cluster.run("n1", f"kill -KILL {agent}", user="root", check=False)
        until("the requeue", lambda: "PENDING" in job.state and
              "COMPLETING" not in job.state)
        whole = job.generations()
        if job.store().exists():
            assert job.verify() == [f"{g}-0 whole" for g in reversed(whole)]
        job.wait_running()
        # Said before the output is this run's.
        if not whole:
            job.wait_output("starts afresh")
        job.wait_output("^line 30$")
        text = job.text()
        assert ("starts afresh" in text) == (whole == [])
        lines = [l for l in text.splitlines() if l.startswith("line")]
        assert lines == [f"line {n}" for n in range(1, len(lines) + 1)]
        job.cancel()
        job.wait_end()
    assert os.path.exists(home)
