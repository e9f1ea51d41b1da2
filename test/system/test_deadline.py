# SPDX-License-Identifier: GPL-2.0-or-later
"""KillWait is all the time that a dump has."""
import time

from conftest import MANY, PACE, until
from test_faults import answer, injected, order, stopped

SUBJECT = "/shared/subject"


def test_given_up(cluster):
    """The disk is too slow: before Slurm kills the job the dump is given up, the
    program runs its own SIGTERM handler, and the job goes on from the
    checkpoint before."""
    script = cluster.script(
        "job.sh", "trap 'echo told >&2' TERM\n"
        f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")
    with cluster.kill_wait(10):
        job = cluster.submit(script, options="--requeue --checkpoint -w n1 -e err --open-mode=append")
        job.wait_output("^line 10$")
        order(cluster, job, "one")
        assert answer(cluster, job, "one") is None
        err = cluster.home() / "err"
        # It is over long after the kill: that comes KillWait after slurmstepd goes on.
        with injected(cluster, job, "fsync:delay_enter=40000000:when=1"):
            with stopped(cluster, job):
                until("its handler", lambda: "told" in err.read_text())
            # With strace gone the late thread would end its fsync, and the dump; what
            # is killed in its delay ends when that does.
            until("the kill", lambda: "COMPLETING" not in job.state, 120)
        text = err.read_text()
        assert "no checkpoint of step" in text and "(KillWait=10 s): of " in text, text
        until("the next run", lambda: job.node and job.record()["restart_cnt"] == 1)
        assert job.verify() == ["1-0 whole"]
        assert job.finish() == ["COMPLETED"]
    assert f"line {MANY}" in job.text()


def test_whole_too_late(cluster):
    """The dump is given up and is whole before Slurm kills the job: the job goes on from
    it, and the checkpoint knows that the program ran on after it."""
    script = cluster.script(
        "job.sh", "exec 3>>log\ntrap 'echo told >&3' TERM\n"
        f"for i in $(seq {MANY}); do echo line $i >&3; echo $i; {PACE}; done\n")
    home = cluster.home()
    job = cluster.submit(script, options="--requeue --checkpoint -w n1 -e err --open-mode=append")
    job.wait_output("^10$")
    meta = f"/home/user1/.sckpt/test/{job.number}/batch/1-0.meta"
    # Less than KillWait is the dump's.
    with injected(cluster, job, "fsync:delay_enter=40000000:when=1", f"-P {meta}"), stopped(cluster, job):
        until("its handler", lambda: "told" in (home / "log").read_text())
        assert job.generations() == []
        until("the checkpoint", lambda: job.generations() == [1])
    assert job.manifest()["ended"] is False
    assert job.finish() == ["COMPLETED"]
    assert "came too late is whole now" in (home / "err").read_text()
    assert "restored from checkpoint 1" in (home / "err").read_text()
    assert (home / "log").read_text() == "".join(f"line {i}\n" for i in range(1, MANY + 1))
    assert "told" in (home / f"log.sckpt-cut.{job.number}.1").read_text()


def test_step_takes_longer_than_its_script_waits(cluster):
    """The script is saved when a third of the time is left, and the step when it is done:
    both go on."""
    script = cluster.script(
        "job.sh", f"srun bash -c 'echo begun >>started; for i in $(seq {MANY}); do echo line $i; "
        f"{PACE}; done'\necho the end $?\n")
    with cluster.kill_wait(60):
        job = cluster.submit(script, options="--requeue --checkpoint -w n1")
        job.wait_output("^line 10$")
        meta = f"/home/user1/.sckpt/test/{job.number}/srun-1/1-0.meta"
        # 53.5 of the 60 s are the dump's, and the script waits for two thirds of them.
        with injected(cluster, job, "fsync:delay_enter=44000000:when=1", f"-P {meta}", "srun-1"):
            cluster.ctl(f"scontrol requeue {job.number}")
            until("the script's checkpoint", lambda: job.generations() == [1], 120)
            assert job.generations("srun-1") == []
            until("the step's", lambda: job.generations("srun-1") == [1])
        assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)] + ["the end 0"]
    assert (cluster.home() / "started").read_text() == "begun\n"


def test_warned(cluster):
    """What will not fit is told as soon as it is known: here by the speed that
    the store is known for."""
    home = cluster.home()
    cluster.run("n1", "mkdir -m 700 .sckpt; echo 1000000 >.sckpt/.speed")
    script = cluster.script(
        "job.sh", f"exec {SUBJECT}/memory --mib 60 --content zeros --seconds 600\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1 -e err")
    job.wait_output("ready")
    until("the warning", lambda: "does not fit" in (home / "err").read_text()
          if (home / "err").exists() else False, 120)
    text = (home / "err").read_text()
    assert "does not fit into KillWait=30 s: add every=TIME to --checkpoint" in text
    assert "MiB at 977 KiB/s takes about" in text
    job.cancel()


def test_grace_time_of_a_hidden_partition(cluster):
    """A step that fits into it is not warned."""
    home = cluster.home()
    cluster.run("n1", "mkdir -m 700 .sckpt; echo 1000000 >.sckpt/.speed")
    step = f"srun --checkpoint {SUBJECT}/memory --mib 60 --content zeros --seconds 600"
    try:
        cluster.ctl("scontrol update PartitionName=low Hidden=YES GraceTime=300", user="root")
        jobs = [cluster.submit("--wrap", f"{step} 2>{where}", options=f"--requeue -p {where} -w {node}")
                for where, node in (("low", "n1"), ("high", "n2"))]
        for job in jobs:
            job.wait_output("ready")
        until("the other's warning", lambda: "does not fit" in (home / "high").read_text(), 120)
        time.sleep(2)
        assert "does not fit" not in (home / "low").read_text()
    finally:
        for user in ("user1", "user2"):
            cluster.ctl(f"scancel -u {user}", user="root")
        cluster.ctl("scontrol update PartitionName=low Hidden=NO GraceTime=0", user="root")


def test_early_warning(cluster):
    """sbatch --signal: the program gets the signal, and a step with every= is
    saved while there is time."""
    script = cluster.script(
        "job.sh", "trap 'echo warned >&2' USR1\n"
        "for i in $(seq 900); do echo line $i; sleep 0.2; done\n")
    job = cluster.submit(
        script, options="--requeue --checkpoint=every=30d --time=2 --signal=B:USR1@60 -e err")
    until("the warning", lambda: (cluster.home() / "err").exists() and
          "warned" in (cluster.home() / "err").read_text(), 100)
    until("the checkpoint", lambda: job.generations() == [1])
    assert job.manifest()["reason"] == "a warning signal"
    assert job.state == ["RUNNING"]
    job.cancel()
