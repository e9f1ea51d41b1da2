# SPDX-License-Identifier: GPL-2.0-or-later
"""A requeued job comes to a node where sckpt cannot work. What was saved of it is not
lost by starting at the top: the job goes elsewhere, or is held."""
import pytest

from conftest import MANY, PACE, until
from test_target import goes_to_n2, held, root

LINES = f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n"
WHOLE = [f"line {i}" for i in range(1, MANY + 1)]
CRIU = "/usr/sbin/criu"
CONF = "/etc/slurm/sckpt.conf"
BREAK = {
    "no criu": (f"mv {CRIU} {CRIU}.away", f"[ ! -e {CRIU}.away ] || mv {CRIU}.away {CRIU}",
                f"{CRIU}: No such file or directory"),
    # All nodes have the same /etc/slurm here.
    "a wrong sckpt.conf": (f"touch {CONF}; echo kepp=3 >/root/wrong; mount --bind /root/wrong {CONF}",
                           f"! mountpoint -q {CONF} || umount {CONF}",
                           f"{CONF} line 1: there is no setting 'kepp'"),
}


@pytest.fixture(params=BREAK)
def unable(cluster, request):
    """n2; with what is told of it, and the command that mends it."""
    spoil, mend, text = BREAK[request.param]
    root(cluster, "n2", spoil)
    yield text, mend
    root(cluster, "n2", mend)


def start(cluster, options):
    job = cluster.submit(cluster.script("job.sh", LINES),
                         options=f"--requeue --checkpoint -e err {options}")
    job.wait_output("^line 10$")
    return job


def test_held(cluster, unable):
    text, mend = unable
    job = start(cluster, "-w n1")
    goes_to_n2(cluster, job)
    until("it to be held again", lambda: held(job) and job.record()["restart_cnt"] == 2)
    said = (cluster.home() / "err").read_text()
    assert f"step {job.number}.batch cannot go on: " in said and text in said
    assert f"the job is held and its checkpoints are kept; when it is mended: scontrol release {job.number}" in said
    root(cluster, "n2", mend)
    job.release()
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n2"
    assert job.text().splitlines() == WHOLE


@pytest.mark.parametrize("unable", ["no criu"], indirect=True)
def test_goes_elsewhere(cluster, unable):
    text, _ = unable
    cluster.ctl("scontrol update NodeName=n2 State=DRAIN Reason=test", user="root")
    job = start(cluster, "")
    cluster.ctl("scontrol update NodeName=n2 State=RESUME", user="root")
    intruder = cluster.submit("--wrap", "sleep 300", user="user2",
                              options="-w n1 -N1 --exclusive -p high")
    until("n2 to be left", lambda: job.record()["excluded_nodes"] == "n2")
    said = (cluster.home() / "err").read_text()
    assert f"step {job.number}.batch cannot go on on n2: " in said and text in said
    intruder.cancel()
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n1"
    assert job.text().splitlines() == WHOLE


def test_new_step_starts(cluster, unable):
    """Nothing is saved of it: it runs, and it is told that it is not protected."""
    text, _ = unable
    job = cluster.submit("--wrap", "srun -n1 hostname; echo end",
                         options="--requeue --checkpoint -w n2 -e err")
    assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines() == ["n2", "end"]
    said = (cluster.home() / "err").read_text()
    assert "sckpt: this step is not protected: " in said and text in said


def test_step_of_several_tasks(cluster, unable):
    """Of a script that starts from its top; the other tasks do not start, too."""
    text, mend = unable
    def said(task):
        path = cluster.home() / f"out.{task}"
        return path.read_text() if path.exists() else ""

    script = cluster.script("job.sh", "srun -n2 --checkpoint -o out.%t sh -c '"
                            + LINES.strip() + "'\necho end $?\n")
    job = cluster.submit(script, options="--requeue -n2 -w n1 -e err -t 5")
    until("both to run", lambda: all("line 10\n" in said(t) for t in (0, 1)))
    cluster.ctl(f"scontrol requeuehold {job.number}", user="root")
    until("it to be held", lambda: job.state == ["PENDING"])
    job.release("ReqNodeList=n2")
    until("it to be held again", lambda: held(job) and job.record()["restart_cnt"] == 2)
    assert text in said(0)
    root(cluster, "n2", mend)
    job.release()
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n2"
    assert [said(t).splitlines() for t in (0, 1)] == [WHOLE, WHOLE]
