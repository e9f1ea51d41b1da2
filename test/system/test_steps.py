# SPDX-License-Identifier: GPL-2.0-or-later
"""srun --checkpoint steps inside a batch script."""
import re

import pytest

from conftest import MANY, PACE, until

SUBJECT = "/shared/subject"


def strip_times(text):
    """srun's report of a task that died names times and nodes: only what the
    program and the script wrote counts. From 25.05 on slurmstepd writes as into its log."""
    return [l for l in text.splitlines()
            if not re.match(r"srun: |slurmstepd|\[[-0-9T:.]+\] error: \*\*\* ", l)]


@pytest.mark.parametrize(
    "how, exit_code, report",
    [
        ("exit 0", (0, 0), None),
        ("exit 7", (7, 0), "Exited with exit code 7"),
        ("abort", (134, 0), "Aborted"),
        ("segv", (139, 0), "Segmentation fault"),
    ],
)
def test_step_survives_and_ends_truly(cluster, how, exit_code, report):
    script = cluster.script(
        "job.sh",
        "echo script begins\n"
        f"srun --checkpoint {SUBJECT}/ender {MANY // 10} {how}\n"
        "rc=$?; echo step ended $rc; exit $rc\n")
    job = cluster.submit(script, options="--requeue")
    job.wait_output("^line 20$")
    job.preempt()
    state = job.finish()
    assert state == (["COMPLETED"] if exit_code == (0, 0) else ["FAILED"])
    assert job.exit() == exit_code
    assert strip_times(job.text()) == (
        ["script begins"] + [f"line {i}" for i in range(1, MANY + 1)]
        + [f"step ended {exit_code[0]}"])
    if report:
        assert report in job.text()
    # The same program without sckpt: Slurm tells the same.
    plain = cluster.submit(
        cluster.script("plain.sh", f"srun {SUBJECT}/ender 0 {how}\nexit $?\n"))
    assert plain.wait_end() == state
    assert plain.exit() == exit_code


def test_step_zoo(cluster):
    home = cluster.home()
    script = cluster.script(
        "job.sh",
        f"mkdir -p z\nsrun --checkpoint {SUBJECT}/zoo --state $PWD/z "
        "--without inotify,sysvshm,semaphore\n")
    job = cluster.submit(script, options="--requeue")
    until("zoo", lambda: (home / "z" / "ready").exists())
    job.preempt()
    (home / "z" / "go").write_text("")
    end = job.wait_end()
    assert "FAILED" not in job.text()
    assert end == ["COMPLETED"]
    assert (home / "z/ids.before").read_text() == (home / "z/ids.after").read_text()


@pytest.mark.parametrize("options, files", [
    ("-o out.txt -e err.txt", ("out.txt", "err.txt")),
    ("--label -o out.txt", ("out.txt", "slurm.err")),
])
def test_step_output_files(cluster, options, files):
    """Files that slurmstepd or srun opens are truncated at the restart, and
    hold everything, once, in the end."""
    home = cluster.home()
    script = cluster.script(
        "job.sh",
        f"srun --checkpoint {options} bash -c "
        f"'for i in $(seq {MANY}); do echo out $i; echo err $i >&2; {PACE}; done'\n")
    job = cluster.submit(script, options="--requeue -e slurm.err")
    until("output", lambda: (home / files[0]).exists()
          and "out 20\n" in (home / files[0]).read_text())
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    label = "0: " if "--label" in options else ""
    out = (home / files[0]).read_text().splitlines()
    assert [l for l in out if "out" in l] == [f"{label}out {i}" for i in range(1, MANY + 1)]
    if files[1] == "err.txt":
        err = (home / files[1]).read_text().splitlines()
        assert [l for l in err if not l.startswith(("slurmstepd", "sckpt: "))] == [
            f"err {i}" for i in range(1, MANY + 1)]


def test_step_input(cluster):
    """What the program had read from srun is not given to it again."""
    home = cluster.home()
    (home / "input").write_text("".join(f"input {i}\n" for i in range(1, 15001)))
    script = cluster.script(
        "job.sh",
        "srun --checkpoint bash -c 'n=0; while read -r l; do n=$((n+1)); "
        f"[ $((n % 50)) = 0 ] && {{ echo $n $l; {PACE}; }}; done; echo end $n' <input\n")
    job = cluster.submit(script, options="--requeue")
    job.wait_output("^1000 ")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert strip_times(job.text()) == [
        f"{i} input {i}" for i in range(50, 15001, 50)] + ["end 15000"]


def test_batch_input_file(cluster):
    """sbatch --input: the descriptor is a file, and its place is kept."""
    home = cluster.home()
    (home / "input").write_text("".join(f"input {i}\n" for i in range(1, 15001)))
    script = cluster.script(
        "job.sh",
        "n=0; while read -r l; do n=$((n+1)); "
        f"[ $((n % 50)) = 0 ] && {{ echo $n $l; {PACE}; }}; done; echo end $n\n")
    job = cluster.submit(script, options="--requeue --checkpoint --input=input")
    job.wait_output("^1000 ")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [
        f"{i} input {i}" for i in range(50, 15001, 50)] + ["end 15000"]


def test_append_mode(cluster):
    """With --open-mode=append the file is there still: nothing is doubled."""
    script = cluster.script(
        "job.sh", f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")
    job = cluster.submit(
        script, options="--requeue --checkpoint --open-mode=append")
    job.wait_output("^line 20$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert strip_times(job.text()) == [f"line {i}" for i in range(1, MANY + 1)]


def test_fresh_job_does_not_restore(cluster):
    """A job that was not requeued starts afresh, whatever lies there."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 3 exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -H")
    store = job.store()
    cluster.ctl(f"mkdir -p {cluster.inside(store)}; echo '{{}}' >{cluster.inside(store)}/5-0.json")
    cluster.ctl("chmod -R go= .sckpt")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, 31)]
    assert (store.parent / "batch.old.1" / "5-0.json").is_file()


def test_signals(cluster):
    """scancel and its signals reach the program; the exit is its own."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/sigs 60 die\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("ready")
    for sig in ("USR1", "HUP", "USR2"):
        job.cancel("--batch", "-s", sig)
        job.wait_output(f"got SIG{sig}")
    job.cancel()
    end = job.wait_end()
    assert end[0] == "CANCELLED"
    until("SIGTERM's line", lambda: "got SIGTERM" in job.text())
    assert job.generations() == []
    # Its own exit code, not the signal's.
    got = [l for l in job.text().splitlines() if l.startswith("got ")]
    # Of two that wait the kernel hands over the lower number first: SIGTERM, which came last.
    assert "got SIGTERM" in got[-2:] and set(got[3:]) <= {"got SIGCONT", "got SIGTERM"}, got


def test_term_by_user_is_passed_on(cluster):
    """A SIGTERM that does not stop the job is the program's."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/sigs 60\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("ready")
    job.cancel("--batch", "-s", "TERM")
    job.wait_output("got SIGTERM")
    assert job.state == ["RUNNING"]
    job.cancel("-s", "KILL")


def test_few_descriptors(cluster):
    """A low limit is the program's own affair."""
    out = cluster.run("n1", "ulimit -Sn 12; srun --checkpoint sh -c 'ulimit -Sn'").stdout
    assert out == "12\n"


def test_grace_time(cluster):
    """A step is told at the start of the grace, is saved, and goes on; told
    again at the end, it is saved as it is then."""
    cluster.ctl("scontrol update PartitionName=low GraceTime=20", user="root")
    try:
        script = cluster.script(
            "job.sh", f"srun --checkpoint {SUBJECT}/ender 600 exit 0\n")
        job = cluster.submit(script, options="--requeue")
        job.wait_output("^line 10$")
        node = job.node
        intruder = cluster.submit(
            "--wrap", "sleep 300", options=f"-w {node} -N1 --exclusive -p high",
            user="user2")
        until("the first checkpoint", lambda: job.generations("0") == [1])
        assert job.manifest("0")["reason"] == "preemption, in its grace time"
        length = job.manifest("0")["streams"][1]["length"]
        until("the end of the grace", lambda: job.node not in (None, node), 90)
        intruder.cancel()
        assert job.generations("0") == [1, 2]
        assert job.manifest("0")["streams"][1]["length"] > length
        # Not to its end: Slurm 24.05 and later would then run it once more.
        job.wait_output("^line 400$")
        lines = strip_times(job.text())
        assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]
        job.cancel()
    finally:
        cluster.ctl("scontrol update PartitionName=low GraceTime=0", user="root")


def test_another_step_of_that_number(cluster):
    """A script that is not protected leaves out what is done: its second step is then not what it
    was, though the command is the same, and does not go on from there."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh", "mkdir -p a b c; touch a/go\nfor i in a b c; do\n[ -e $i/done ] && continue\n"
        "(cd $i && srun --checkpoint bash -c 'w=${PWD##*/}; echo $w begins; until [ -e go ]; do sleep 0.1; done; echo $w ends' >>out)\n"
        "touch $i/done\ndone\n"), options="--requeue -e err")

    def out(i):
        return (home / i / "out").read_text() if (home / i / "out").exists() else ""

    until("the second", lambda: out("b") == "b begins\n")
    job.preempt()
    until("the second once more", lambda: out("b").count("b begins\n") == 2)
    (home / "b/go").touch()
    until("it to be held", lambda: job.state == ["PENDING"] and job.record()["hold"])
    assert "in another directory, or with another input, than this step" in (home / "err").read_text()
    assert out("c") == ""
    job.cancel()
