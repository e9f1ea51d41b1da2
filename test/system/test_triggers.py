# SPDX-License-Identifier: GPL-2.0-or-later
"""What stops a job, one by one, and that it goes on. Preemption is in
test_batch.py and test_steps.py, signals are in test_steps.py, the time limit and
scancel in test_limit.py, crashes in test_command.py and test_integrity.py."""
import contextlib

from conftest import COMMAND, MANY, PACE, sh, until

SUBJECT = "/shared/subject"
LOOP = ("trap 'echo told >&2' TERM\n"
        f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")


def start(cluster, options=""):
    job = cluster.submit(cluster.script("job.sh", LOOP),
                         options=f"--requeue --checkpoint -e err {options}")
    job.wait_output("^line 10$")
    return job


def ends_right(cluster, job):
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    err = (cluster.home() / "err").read_text()
    assert "told" not in err, err


def test_drain(cluster):
    """The admin takes a node out of service: the job goes on on the other. Its own
    SIGTERM handler does not run."""
    job = start(cluster)
    node = job.node
    cluster.ctl(f"scontrol update NodeName={node} State=DRAIN Reason=test", user="root")
    try:
        cluster.ctl(f"scontrol requeue {job.number}", user="root")
        until("the other node", lambda: job.node not in (None, node))
        assert job.manifest()["reason"] == "requeue"
        ends_right(cluster, job)
    finally:
        cluster.ctl(f"scontrol update NodeName={node} State=RESUME", user="root")


def test_suspend(cluster):
    """A suspended job stands still, and is saved as ever when it runs again. When it is
    requeued while it is suspended, Slurm kills it at once (and holds it): it goes on
    from the checkpoint before."""
    job = start(cluster)

    def suspend():
        cluster.ctl(f"scontrol suspend {job.number}", user="root")
        until("the suspension", lambda: job.state == ["SUSPENDED"])
        until("standstill", lambda: (n := job.text()) and
              cluster.run("n1", "sleep 1") and n == job.text())

    suspend()
    cluster.ctl(f"scontrol resume {job.number}", user="root")
    n = len(job.text().splitlines())
    until("progress", lambda: len(job.text().splitlines()) > n + 5)
    cluster.ctl(f"scontrol requeue {job.number}", user="root")
    until("the second run", lambda: job.record()["restart_cnt"] == 1 and job.node)
    assert job.generations() == [1]
    saved = job.manifest()["streams"][1]["length"]
    until("progress", lambda: len(job.text()) > saved + 100)
    suspend()
    cluster.ctl(f"scontrol requeue {job.number}; scontrol release {job.number}", user="root")
    until("the third run", lambda: job.record()["restart_cnt"] == 2 and job.node)
    assert job.generations() == [1]
    ends_right(cluster, job)


def test_suspended_by_the_clock(cluster):
    """A checkpoint that was due meanwhile is not taken of a program that stands still yet: what is
    restored from the first one after that runs."""
    cluster.conf("overhead=100\n")
    job = cluster.submit(cluster.script("job.sh", LOOP),
                         options="--requeue --checkpoint=every=2s -w n1 -e err --open-mode=append")
    until("a checkpoint", job.generations)
    cluster.ctl(f"scontrol suspend {job.number}", user="root")
    until("standstill", lambda: (n := job.text()) and cluster.run("n1", "sleep 3") and n == job.text())
    before = job.generations()[-1]
    cluster.ctl(f"scontrol resume {job.number}", user="root")
    until("the next checkpoint", lambda: job.generations()[-1] > before)
    cluster.run("n1", f"kill -KILL $(pgrep -f '^/usr/libexec/sckpt/sckpt-agent .*job={job.number} ')", user="root")
    job.wait_end()
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the next run", lambda: "restored from checkpoint" in (cluster.home() / "err").read_text())
    n = len(job.text())
    until("progress", lambda: len(job.text()) > n)
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


def test_slurmd_restart(cluster):
    """The node's daemon is started anew: the job does not notice, and is saved as
    ever."""
    job = start(cluster)
    node = job.node
    n = len(job.text().splitlines())
    sh(COMMAND, "restart", node)
    until("progress", lambda: len(job.text().splitlines()) > n + 10)
    assert job.node == node and job.record()["restart_cnt"] == 0
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the next run", lambda: job.record()["restart_cnt"] == 1 and job.node)
    assert job.generations() == [1]
    ends_right(cluster, job)


@contextlib.contextmanager
def slow_supervisor(cluster, job):
    """It hears of its signals 10 s late."""
    find = f"s=$(pgrep -f '^/usr/libexec/sckpt/sckpt-supervise .*job={job.number} '); "
    cluster.run(job.node, find +
                "setsid strace -qq -p $s -e trace=read -e inject=read:delay_enter=10000000 "
                ">/dev/null 2>&1 </dev/null & " + find +
                "for i in $(seq 6000); do grep -q '^TracerPid:\t[1-9]' /proc/$s/status && exit; "
                "sleep 0.01; done; exit 1", user="root")
    yield


def test_slurmctld_down(cluster):
    """While a job is being stopped nobody tells why: it is saved."""
    job = start(cluster)
    node = job.node
    with slow_supervisor(cluster, job):
        cluster.ctl(f"scontrol requeue {job.number}")
        until("SIGTERM", lambda: f"Sent signal 15 to StepId={job.number}.batch" in cluster.log(node))
        with cluster.slurmctld_stopped():
            until("the dump", lambda: job.generations() == [1])
    assert job.manifest()["reason"] == "a stop, with slurmctld not answering why"
    until("the next run", lambda: job.record()["restart_cnt"] == 1 and job.node)
    ends_right(cluster, job)


def test_heterogeneous(cluster):
    """The script of a heterogeneous job is its first component's."""
    job = start(cluster, "-n1 -c1 : -n1 -c1")
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the next run", lambda: job.record()["restart_cnt"] == 1 and job.node)
    assert job.generations() == [1]
    ends_right(cluster, job)


def test_steps_of_several_parts(cluster):
    """Their parts have the same numbers: they run without checkpoints, and what they say is whole."""
    script = cluster.script("job.sh", "srun --het-group=0,1 sh -c 'echo both'\n"
                            "srun -n1 sh -c 'echo a program that is longer' : -n1 sh -c 'echo two'\n"
                            "srun sh -c 'echo first'\nsrun --het-group=1 sh -c 'echo second'\n")
    job = cluster.submit(script, options="--requeue --checkpoint -e err -n1 -c1 : -n1 -c1")
    assert job.wait_end() == ["COMPLETED"]
    lines = job.text().splitlines()
    assert sorted(lines[:4]) == ["a program that is longer", "both", "both", "two"]
    assert lines[4:] == ["first", "second"]
    said = (cluster.home() / "err").read_text()
    assert said.count("it is of several parts of a heterogeneous job") == 4, said


def test_grace_of_a_script(cluster):
    """A batch script is told only at the end of the grace time, and is saved
    then."""
    cluster.ctl("scontrol update PartitionName=low GraceTime=5", user="root")
    try:
        job = start(cluster)
        node = job.preempt()
        assert job.manifest()["reason"] == "preemption"
        assert job.generations() == [1]
        assert job.node != node
        n = len(job.text().splitlines())
        until("progress", lambda: len(job.text().splitlines()) > n + 10)
        lines = job.text().splitlines()
        assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]
        job.cancel()
    finally:
        cluster.ctl("scontrol update PartitionName=low GraceTime=0", user="root")


def test_notify(cluster):
    """A checkpoint that fails is mailed by Slurm's MailProg, to whom the job's mail
    goes."""
    mailer = cluster.etc / "mail"
    mailer.write_text('#!/bin/sh\necho "$@" >>/shared/home/user1/mail\n')
    mailer.chmod(0o755)
    home = cluster.home()
    try:
        script = cluster.script(
            "job.sh", f"mkdir -p z; exec {SUBJECT}/zoo --state $PWD/z --only inotify\n")
        job = cluster.submit(
            script, options="--requeue --checkpoint=notify --mail-user=ann@lab -e err")
        until("zoo", lambda: (home / "z" / "ready").exists())
        cluster.ctl(f"scontrol requeue {job.number}")
        text = until("the mail", lambda: (home / "mail").exists()
                     and (home / "mail").read_text())
        assert text.startswith(
            f"-s Slurm Job_id={job.number} sckpt: step batch: zoo[1001]"), text
        assert text.endswith(" ann@lab\n")
        job.cancel()
    finally:
        mailer.unlink()
