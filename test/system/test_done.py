# SPDX-License-Identifier: GPL-2.0-or-later
"""What was saved of a program goes when it is done, and not when it only ended."""
import pytest

from conftest import MANY, PACE, V2, until
from test_command import restarted
from test_rerun import grace
from test_script import counter, lines, program_lines
from test_target import root

LOOP = f"for i in $(seq {MANY}); do echo line $i; {PACE}; done"
TIDY = f"trap 'echo told >&2; exit 0' TERM; {LOOP}"
WHOLE = [f"line {i}" for i in range(1, MANY + 1)]
# Refused at each checkpoint from then on that `watch` is there.
WATCH = ("[ ! -e watch ] || [ -e watched ] || "
         "/usr/bin/python3 -c \"import ctypes, pathlib, time; l = ctypes.CDLL(None); "
         "l.inotify_add_watch(l.inotify_init(), b'.', 2); pathlib.Path('watched').touch(); time.sleep(600)\" &\n")
TIDY_WATCHED = TIDY.replace("; done", f"\n{WATCH}done")
# Not to be dumped at all.
SOCKET = "exec 3<>/dev/tcp/ctl/6817\n"


def job_lines(text):
    return [l for l in text.splitlines() if l.startswith("line")]


def step(cluster, program):
    """As a step's, of a script that says when it has gone on past it."""
    cluster.script("step.sh", program + "\n")
    return "srun bash step.sh\necho the end\n"


def saved_once(cluster, script):
    """Its job; there is a checkpoint of it, and what is in the way of another one."""
    job = cluster.submit(cluster.script("job.sh", script),
                         options="--requeue --checkpoint --open-mode=append -e err")
    job.wait_output("^line 10$")
    cluster.ctl(f"sckpt create {job.number}")
    (cluster.home() / "watch").touch()
    until("what is in the way", (cluster.home() / "watched").exists)
    return job


def test_tidy_and_cancelled(cluster):
    """Told to end, it ends with 0: that is not done."""
    job = cluster.submit(cluster.script("job.sh", TIDY), options="--checkpoint -e err")
    job.wait_output("^line 10$")
    cluster.ctl(f"sckpt create {job.number} && scancel {job.number}")
    assert job.wait_end() == ["CANCELLED"]
    assert "told\n" in (cluster.home() / "err").read_text()
    assert job.generations() == [1]
    (cluster.home() / "quick").touch()
    new = restarted(cluster, job.number)
    assert new.wait_end() == ["COMPLETED"]
    assert job_lines(new.text()) == WHOLE


def test_tidy_and_refused(cluster):
    """Nor is one that could not be saved at the stop: it goes on from what was saved before."""
    job = saved_once(cluster, TIDY_WATCHED)
    cluster.ctl(f"scontrol requeue {job.number}")
    err = cluster.home() / "err"
    until("the restore", lambda: "restored from" in err.read_text())
    # What it had said since the checkpoint was put aside with its standard error.
    said = (cluster.home() / f"err.sckpt-cut.{job.number}.1").read_text()
    assert "inotify" in said and "told\n" in said
    assert "restored from checkpoint 1 " in err.read_text()
    assert job.finish() == ["COMPLETED"]
    assert job_lines(job.text()) == WHOLE


def test_tidy_step_and_refused(cluster):
    """The same of a script's step: the script does not go on past it."""
    job = saved_once(cluster, step(cluster, TIDY_WATCHED))
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the next run", lambda: job.record()["restart_cnt"] == 1 and job.node)
    until("its step", (job.store("srun-1") / "ran.1").exists)
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == WHOLE + ["the end"]


def test_tidy_step_in_the_grace_time(cluster):
    """Steps alone are told at its begin; its script is saved at its end, where it was."""
    with grace(cluster, 8):
        job = saved_once(cluster, step(cluster, TIDY_WATCHED))
        job.preempt()
    assert "the end" not in job.text()
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == WHOLE + ["the end"]


def test_script_that_was_not_told(cluster):
    """Its step was, and it ends well after it: it runs again, and what was saved of it is there."""
    program = (f"srun --checkpoint=off --overlap bash -c 'trap \"exit 0\" TERM; echo start >>starts; touch ready; "
               "until [ -e go ]; do sleep 0.1; done'\necho the end >>ends\n")
    with grace(cluster, 60):
        job = cluster.submit(cluster.script("job.sh", "echo top >>tops\n" + program),
                             options="--requeue --checkpoint -n2")
        until("the step", (cluster.home() / "ready").exists)
        cluster.ctl(f"sckpt create {job.number}.batch")
        other = cluster.intruder(job.node)
        until("the requeue", lambda: job.record()["restart_cnt"] == 1)
        other.cancel()
        assert job.generations() == [1]
        until("the step again", lambda: (cluster.home() / "starts").read_text() == "start\nstart\n")
    (cluster.home() / "go").touch()
    assert job.wait_end() == ["COMPLETED"]
    assert (cluster.home() / "tops").read_text() == "top\n"


def test_step_of_a_script_without_a_checkpoint(cluster):
    """Cancelled, and started again by hand: the step goes on."""
    job = cluster.submit(cluster.script("job.sh", f"{SOCKET}srun {counter('one')}\n"),
                         options="--requeue --checkpoint")
    job.wait_output("^one 8$")
    cluster.ctl(f"sckpt create {job.number}.srun-1; scancel {job.number}")
    assert job.wait_end() == ["CANCELLED"]
    assert job.generations("srun-1") == [1] and not job.store().exists()
    cluster.ctl(f"scontrol requeue {job.number}")
    job.wait_output("^one 12$")
    assert job.finish() == ["COMPLETED"]
    assert [l for l in job.text().splitlines() if l.startswith("one")] == lines("one")
    assert (cluster.home() / "started").read_text() == "one\n"
    assert not job.store().parent.exists()


def test_failed_step_of_a_script_without_a_checkpoint(cluster):
    """The script fails with it; of a step that was done nothing is left."""
    job = cluster.submit(cluster.script(
        "job.sh", f"{SOCKET}srun {counter('one', 30)}\nsrun {counter('two')} || exit 3\n"),
        options="--requeue --checkpoint=every=1s")
    job.wait_output("^two 8$")
    until("a checkpoint", lambda: job.generations("srun-2"))
    assert not job.store("srun-1").exists()
    cluster.run(job.node, "pkill -KILL -f '^/usr/bin/bash -c echo two'")
    assert job.wait_end() == ["FAILED"]
    assert job.generations("srun-2") and not job.store().exists()


def test_run_that_was_thought_dead(cluster):
    """It ends, and leaves alone what is another's since."""
    job = cluster.submit(cluster.script("job.sh", LOOP), options="--requeue --checkpoint")
    job.wait_output("^line 10$")
    cluster.ctl(f"sckpt create {job.number}")
    # As the next run leaves it, which Slurm has begun on another node.
    cluster.run("n2", f"cd .sckpt/test/{job.number}/batch; sed 's/\"run\": *0/\"run\": 1/' claim.0 >claim.1; grep -c . claim.1")
    assert job.finish() == ["COMPLETED"]
    assert [p.name for p in job.manifests()] == ["1-0.json"]


@pytest.mark.skipif(not V2, reason="Slurm limits no memory where the node cannot give it the controller")
def test_killed_for_its_memory(cluster):
    """Its script ends well all the same. The job is OUT_OF_MEMORY to Slurm."""
    with cluster.slurm_conf(lambda text: text.replace("=CR_Core", "=CR_Core_Memory")):
        job = cluster.submit(cluster.script(
            "job.sh", "echo up; until [ -e go ]; do sleep 0.1; done\n"
            "head -c 300M /dev/zero | tail -c 300M | wc -c\nexit 0\n"),
            options="--requeue --checkpoint --mem=150")
        job.wait_output("^up$")
        cluster.ctl(f"sckpt create {job.number}")
        (cluster.home() / "go").touch()
        assert job.wait_end() == ["OUT_OF_MEMORY"]
    assert job.generations() == [1]


def test_kept_and_requeued(cluster):
    """What keep-after= has left of a program that was done is not gone on from."""
    cluster.conf("keep-after=1\n")
    job = cluster.submit(cluster.script("job.sh", f"echo start >>starts; {LOOP}"),
                         options="--requeue --checkpoint -e err")
    job.wait_output("^line 10$")
    cluster.ctl(f"sckpt create {job.number}")
    assert job.finish() == ["COMPLETED"]
    assert job.generations() == [1]
    (cluster.home() / "quick").touch()
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the next run", lambda: job.record()["restart_cnt"] == 1)
    assert job.wait_end() == ["COMPLETED"]
    assert (cluster.home() / "starts").read_text() == "start\nstart\n"
    assert job_lines(job.text()) == WHOLE


def test_restarted_and_requeue_exit(cluster):
    """From then on it begins at its top, not at the checkpoint of the old job."""
    job = cluster.submit(cluster.script(
        "job.sh", "n=$(cat top 2>/dev/null | wc -l); echo $n >>top; [ $n != 2 ] || exit 0\n"
        "echo up; until [ -e go ]; do sleep 0.1; done\nexit 200\n"),
        options="--requeue --checkpoint")
    job.wait_output("^up$")
    cluster.ctl(f"sckpt create {job.number} && scancel {job.number}")
    assert job.wait_end() == ["CANCELLED"]
    with cluster.slurm_conf(lambda text: text + "RequeueExit=200\n"):
        (cluster.home() / "go").touch()
        new = restarted(cluster, job.number)
        until("the end", lambda: not cluster.ctl(f"squeue -h -j {new.number}").stdout)
    assert (cluster.home() / "top").read_text() == "0\n1\n2\n"


@pytest.mark.parametrize("program", ["ended", "step"])
def test_node_without_criu(cluster, program):
    """What a script's steps have left, and that it had ended, keep it from starting at its top there."""
    script = f"echo top >>tops\n{SOCKET}srun {counter('one')}\n"
    job = cluster.submit(cluster.script("job.sh", script), options="--requeue --checkpoint -e err -w n1")
    job.wait_output("^one 8$")
    cluster.ctl(f"sckpt create {job.number}.srun-1")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("the requeue", lambda: job.state == ["PENDING"])
    assert job.generations("srun-1") and not job.generations()
    if program == "ended":
        # As a program's end in a requeue leaves it (test_rerun.py).
        cluster.run("n1", f"cd .sckpt/test; rm -r {job.number}; mkdir -p ended; chmod 700 ended; "
                    'echo \'{"format": 1, "run": 0, "status": 0, "requeued": true, "batch_flag": 1, "time": 1, '
                    f'"length": [-1, -1, -1]}}\' >ended/{job.number}.batch.json')
    root(cluster, "n2", "mv /usr/sbin/criu /usr/sbin/criu.away")
    try:
        job.release("ReqNodeList=n2")
        until("it to be held again", lambda: job.record()["restart_cnt"] == 2 and job.record()["hold"])
    finally:
        root(cluster, "n2", "mv /usr/sbin/criu.away /usr/sbin/criu")
    assert (cluster.home() / "tops").read_text() == "top\n"
    job.cancel()
