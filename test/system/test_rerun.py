# SPDX-License-Identifier: GPL-2.0-or-later
"""A job whose program has ended is started once more. Where nobody asked for it, the
run ends at once as the program had, and its output is what it was; a requeue of a
completed job runs afresh."""
import contextlib

import pytest

from conftest import until

# Every start of the program leaves a line in `starts`, outside of its output.
PROGRAM = ("echo start >>starts\n"
           "for i in $(seq 5); do echo line $i; done\n"
           "echo problem >&2\n"
           "touch ready; until [ -e go ]; do sleep 0.1; done\n"
           "echo the end\n"
           "exit {}\n")
OUT = [f"line {i}" for i in range(1, 6)] + ["problem", "the end"]
NOT_AGAIN = "nobody asked for another: it is not run again"
AT_ITS_TOP = "it starts at its top, not from a checkpoint"


@pytest.fixture(scope="module", autouse=True)
def long_kill_wait(cluster):
    with cluster.kill_wait(60):
        yield


def begin(cluster, status, options="", program=PROGRAM):
    job = cluster.submit(cluster.script("job.sh", program.replace("{}", str(status))),
                         options=f"--requeue --checkpoint {options}")
    until("the program", lambda: (cluster.home() / "ready").exists())
    return job


def starts(cluster):
    return (cluster.home() / "starts").read_text().count("start")


def end_of(job, status, restarts):
    """The last run has begun and ended, so."""
    until("the next run", lambda: job.record()["restart_cnt"] == restarts)
    state = job.wait_end()
    assert job.record()["restart_cnt"] == restarts
    assert state == (["COMPLETED"] if status == 0 else ["FAILED"])
    assert job.exit() == (status, 0)


def go(cluster):
    (cluster.home() / "go").touch()


def own(job):
    """What it has written itself."""
    return [l for l in job.text().splitlines() if not l.startswith("sckpt: ")]


@contextlib.contextmanager
def agent_stopped(cluster, job):
    """It does not hear of an order, nor of the program's end."""
    node = job.node
    agent = cluster.run(node, f"pgrep -f '^/usr/libexec/sckpt/sckpt-agent .*job={job.number} '",
                        user="root").stdout.split()[0]
    cluster.run(node, f"kill -STOP {agent}", user="root")
    try:
        yield
    finally:
        cluster.run(node, f"kill -CONT {agent}", user="root")


def ends_while_preempted(cluster, job):
    """The job is put back, and while the step's agent has not heard of it, the program
    ends."""
    with agent_stopped(cluster, job):
        other = intruder(cluster, job)
        until("the stop", lambda: "DUE TO PREEMPTION" in job.text())
        go(cluster)
        until("the program's end", lambda: "the end" in job.text())
    until("the requeue", lambda: job.record()["restart_cnt"] == 1)
    other.cancel()


@contextlib.contextmanager
def grace(cluster, seconds):
    cluster.ctl(f"scontrol update PartitionName=low GraceTime={seconds}", user="root")
    try:
        yield
    finally:
        cluster.ctl("scontrol update PartitionName=low GraceTime=0", user="root")


def intruder(cluster, job):
    return cluster.submit("--wrap", "sleep 300", user="user2",
                          options=f"-w {job.node} -N1 --exclusive -p high")


@pytest.mark.parametrize("status", [0, 7])
def test_ends_while_preempted(cluster, status):
    job = begin(cluster, status)
    ends_while_preempted(cluster, job)
    end_of(job, status, 1)
    assert starts(cluster) == 1
    assert own(job) == OUT
    assert job.text().count(NOT_AGAIN) == 1


@pytest.mark.parametrize("status, checkpoint, how", [(0, False, "requeue"), (7, True, "requeue"),
                                                     (7, False, "requeuehold")])
def test_requeues_itself(cluster, status, checkpoint, how):
    """And ends: its author means it to run again, from its top, also when a checkpoint lies there."""
    again = "[ -e go ] && { echo start >>starts; echo second; exit 0; }\n"
    job = begin(cluster, status, "-e err", again + PROGRAM.replace(
        "exit", f"scontrol {how} $SLURM_JOB_ID; echo ordered\nexit"))
    if checkpoint:
        cluster.ctl(f"sckpt create {job.number}")
        assert job.generations() == [1]
    with agent_stopped(cluster, job):
        go(cluster)
        until("its order", lambda: "ordered" in job.text())
    if how == "requeuehold":
        until("the hold", lambda: job.state == ["PENDING"])
        cluster.ctl(f"scontrol release {job.number}")
    end_of(job, 0, 1)
    assert starts(cluster) == 2
    assert job.text() == "second\n"
    said = (cluster.home() / "err").read_text()
    assert AT_ITS_TOP in said and "starts afresh" not in said


def test_requeues_itself_for_a_signal(cluster):
    """The warning of its time limit, say. What it had saved before is not gone on from."""
    job = begin(cluster, 0, "-e err", "[ -e go ] && { echo start >>starts; echo second; exit 0; }\n"
                "trap 'touch go; until [ -e order ]; do sleep 0.1; done; "
                "scontrol requeue $SLURM_JOB_ID; echo ordered; exit 7' USR1\n" + PROGRAM)
    cluster.ctl(f"sckpt create {job.number}")
    assert job.generations() == [1]
    cluster.ctl(f"scancel --signal=USR1 --batch {job.number}")
    until("its handler", (cluster.home() / "go").exists)
    with agent_stopped(cluster, job):
        (cluster.home() / "order").touch()
        until("its order", lambda: "ordered" in job.text())
    end_of(job, 0, 1)
    assert starts(cluster) == 2
    assert job.text() == "second\n"
    assert AT_ITS_TOP in (cluster.home() / "err").read_text()


def test_requeue_exit(cluster):
    """Its own state says where it goes on, not a checkpoint, which would come to the same exit for ever."""
    with cluster.slurm_conf(lambda text: text + "RequeueExit=200-210\n"):
        job = begin(cluster, 207, "-e err", "[ -e go ] && { echo start >>starts; echo second; exit 0; }\n" + PROGRAM)
        cluster.ctl(f"sckpt create {job.number}")
        assert job.generations() == [1]
        go(cluster)
        end_of(job, 0, 1)
    assert starts(cluster) == 2
    assert job.text() == "second\n"
    assert AT_ITS_TOP in (cluster.home() / "err").read_text()


def test_told_to_end_by_a_requeue(cluster):
    """It cannot be saved, and ends for that: it goes on from what was saved before."""
    job = begin(cluster, 0, "-e err --open-mode=append", "trap 'echo told; exit 7' TERM\n" + PROGRAM)
    cluster.ctl(f"sckpt create {job.number}")
    assert job.generations() == [1]
    cluster.run(job.node, f"chmod 500 {cluster.inside(job.store())}")
    cluster.ctl(f"scontrol requeue {job.number}")
    until("its end", lambda: "told" in job.text())
    until("the requeue", lambda: job.record()["restart_cnt"] == 1)
    cluster.run("ctl", f"chmod 700 {cluster.inside(job.store())}")
    until("the next run", lambda: "restored from checkpoint 1" in (cluster.home() / "err").read_text())
    go(cluster)
    end_of(job, 0, 1)
    assert starts(cluster) == 1


@pytest.mark.parametrize("status", [0, 7])
def test_ends_in_its_grace_time(cluster, status):
    """Slurm 24.05 and later put back what ends in its grace time."""
    with grace(cluster, 60):
        job = begin(cluster, status)
        other = intruder(cluster, job)
        until("the grace time", lambda: job.record()["preempt_time"]["number"])
        go(cluster)
        until("the requeue", lambda: job.record()["restart_cnt"] == 1)
        other.cancel()
        end_of(job, status, 1)
    assert starts(cluster) == 1
    assert own(job) == OUT


@pytest.mark.parametrize("status", [0, 7])
def test_flag_of_an_earlier_grace_time(cluster, status):
    """Preempted at the end of its grace time, the job goes on, and when it has ended Slurm
    puts it back for the flag that is still set."""
    with grace(cluster, 2):
        job = begin(cluster, status)
        job.preempt()
        go(cluster)
        end_of(job, status, 2)
    assert starts(cluster) == 1
    assert own(job) == OUT


def test_with_steps(cluster):
    """Steps that have ended are no reason to run anything again."""
    step = "srun sh -c 'echo step >>steps; echo from a step'\n"
    job = begin(cluster, 0, program=step + PROGRAM)
    ends_while_preempted(cluster, job)
    end_of(job, 0, 1)
    assert starts(cluster) == 1
    assert (cluster.home() / "steps").read_text() == "step\n"
    assert own(job) == ["from a step"] + OUT


def test_protected_step_ends_in_its_grace_time(cluster):
    """The step is dumped and goes on, ends, and its script with it."""
    with grace(cluster, 60):
        job = begin(cluster, 0, program="srun bash -c '" + PROGRAM.format(0) + "'\n")
        other = intruder(cluster, job)
        until("the step's dump", lambda: job.generations("srun-1") == [1])
        go(cluster)
        until("the requeue", lambda: job.record()["restart_cnt"] == 1)
        other.cancel()
        end_of(job, 0, 1)
    assert starts(cluster) == 1
    # Its two streams come by pipes of their own.
    assert sorted(own(job)) == sorted(OUT)


def test_step_that_was_told_to_end(cluster):
    """One that is not protected ends for its SIGTERM, and its script after it: that has not
    done its work, and runs again."""
    step = ("srun --checkpoint=off --overlap bash -c 'trap \"exit 0\" TERM; touch ready; "
            "until [ -e go ]; do sleep 0.1; done'\n")
    with grace(cluster, 60):
        job = begin(cluster, 0, "-n2", program="echo start >>starts\n" + step)
        other = intruder(cluster, job)
        until("the requeue", lambda: job.record()["restart_cnt"] == 1)
        other.cancel()
        until("the next run", lambda: job.node)
        until("its program", lambda: starts(cluster) == 2)
        go(cluster)
        end_of(job, 0, 1)


@pytest.mark.parametrize("status", [0, 7])
def test_on_purpose(cluster, status):
    """By the owner and by the admin, after it has ended: it runs again, from its top."""
    job = begin(cluster, status)
    go(cluster)
    for restarts, user in [(1, "user1"), (2, "root")]:
        job.wait_end()
        cluster.ctl(f"scontrol requeue {job.number}", user=user)
        end_of(job, status, restarts)
        assert starts(cluster) == restarts + 1
    assert own(job) == OUT


def test_on_purpose_after_a_spurious_one(cluster):
    job = begin(cluster, 0)
    ends_while_preempted(cluster, job)
    end_of(job, 0, 1)
    assert starts(cluster) == 1
    cluster.ctl(f"scontrol requeue {job.number}")
    end_of(job, 0, 2)
    assert starts(cluster) == 2
    assert own(job) == OUT


def test_steps_on_purpose(cluster):
    """What keep-after= has left of them is nothing to go on from."""
    cluster.conf("keep-after=1\n")
    step = "bash -c 'echo start >>starts; for i in $(seq 60); do echo line $i; "
    step += "[ $i != 30 ] || until [ -e go ]; do sleep 0.1; done; sleep 0.1; done'"
    job = cluster.submit(cluster.script("job.sh", f"srun {step}\n"), options="--requeue --checkpoint")
    job.wait_output("^line 8$")
    job.preempt()
    go(cluster)
    end_of(job, 0, 1)
    assert starts(cluster) == 1 and job.generations("srun-1") == [1]
    cluster.ctl(f"scontrol requeue {job.number}")
    end_of(job, 0, 2)
    assert starts(cluster) == 2
    assert [l for l in job.text().splitlines() if l.startswith("line")] == [f"line {i}" for i in range(1, 61)]
    assert {p.name for p in job.store().parent.iterdir()} >= {"batch.old.1", "srun-1.old.1"}
