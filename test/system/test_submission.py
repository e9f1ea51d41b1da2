# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways in which users start things: each is protected, or behaves as
without sckpt."""
import pytest

from conftest import MANY, PACE, Job, until

SUBJECT = "/shared/subject"
HAS = f"CapAmb:\t{1 << 40:016x}"
HAS_NOT = f"CapAmb:\t{0:016x}"


def test_sbatch_lines(cluster):
    """The option stands in the script, and nothing of the environment comes
    along: the batch step and the steps inside are protected all the same."""
    script = cluster.script(
        "job.sh",
        "#SBATCH --requeue\n#SBATCH --checkpoint\n#SBATCH --export=NONE\n"
        "grep CapAmb /proc/self/status; TEST_PACE=0.1\n"
        f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")
    job = cluster.submit(script)
    job.wait_output("^line 20$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [HAS] + [f"line {i}" for i in range(1, MANY + 1)]


def test_step_without_environment(cluster):
    """srun --export=NONE does not tell its step that the job was requeued:
    slurmctld is asked."""
    script = cluster.script(
        "job.sh", f"srun --export=NONE --checkpoint {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue")
    job.wait_output("^line 20$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert [l for l in job.text().splitlines() if l.startswith("line")] == [
        f"line {i}" for i in range(1, MANY + 1)]


def test_array(cluster):
    """Each element has its own job id, and so its own store and generations."""
    script = cluster.script(
        "job.sh", f"for i in $(seq {MANY}); do echo $SLURM_ARRAY_TASK_ID $i; {PACE}; done\n")
    number = int(cluster.ctl(
        f"sbatch --parsable --requeue --checkpoint --array=1-2 -n1 -c1 -o a%a.out {script}"
    ).stdout)
    home = cluster.home()
    for i in "12":
        until("both elements", lambda i=i: (home / f"a{i}.out").exists()
              and f"{i} 20\n" in (home / f"a{i}.out").read_text())
    ids = cluster.ctl(f"squeue -h -r -j {number} -o %A").stdout.split()
    assert len(set(ids)) == 2
    cluster.ctl(f"scontrol requeue {number}")
    stores = [home / ".sckpt" / "test" / i / "batch" for i in ids]
    until("both dumps", lambda: all((s / "1-0.json").exists() for s in stores))
    (home / "quick").touch()
    until("the array's end", lambda: not cluster.ctl(f"squeue -h -j {number}").stdout, 120)
    for i in "12":
        assert (home / f"a{i}.out").read_text().splitlines() == [
            f"{i} {n}" for n in range(1, MANY + 1)]
    assert not any(s.exists() for s in stores)


@pytest.mark.parametrize("inherited", ["SLURM_RESTART_COUNT=1", "SLURM_OPEN_MODE=a"])
def test_submitted_by_another_job(cluster, inherited):
    """What sbatch's environment says of the job that it is called in is not the new job's."""
    script = cluster.script(
        "job.sh", "echo \"${SLURM_RESTART_COUNT-} ${SLURM_OPEN_MODE-}\" >mode\n"
        f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n")
    job = Job(cluster, int(cluster.ctl(
        f"SLURM_JOB_ID=1 {inherited} sbatch --parsable --requeue --checkpoint {script}").stdout),
        "user1", cluster.home())
    job.wait_output("^line 20$")
    assert "afresh" not in job.text()
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    # What it says to srun, which reads it, stays.
    assert (cluster.home() / "mode").read_text() == (
        " append\n" if "MODE" in inherited else " \n")


def test_restart_count_of_another_job(cluster):
    """srun in its job's script has the job's own; elsewhere nobody has one."""
    count = "sh -c 'echo [$SLURM_RESTART_COUNT]'"
    for how in (f"salloc -n1 srun --checkpoint {count}", f"srun -n1 --checkpoint {count}"):
        done = cluster.ctl(f"SLURM_RESTART_COUNT=1 {how}")
        assert done.stdout == "[]\n" and "afresh" not in done.stderr, done.stderr


def test_salloc(cluster):
    """What salloc was given holds for the steps inside; off undoes it there."""
    out = cluster.run(
        "n1", "salloc -w n1 --checkpoint sh -c 'srun grep CapAmb /proc/self/status; "
        "srun --checkpoint=off grep CapAmb /proc/self/status; "
        "grep CapAmb /proc/self/status'").stdout
    # The last one runs where salloc was typed, in no step.
    assert out.splitlines() == [HAS, HAS_NOT, HAS_NOT]


def test_interactive_step(cluster):
    """salloc's shell on the node is on a terminal: it runs, not protected, and
    what is started in it is protected."""
    look = "grep CapAmb /proc/self/status"
    with cluster.slurm_conf(lambda text: text + "LaunchParameters=use_interactive_step\n"):
        cluster.idle()
        # The end of what is typed is the terminal's.
        out = cluster.run(
            "ctl", f"(echo '{look}; srun {look} </dev/null; touch over; exit'; "
            "until [ -e over ]; do sleep 0.1; done) | "
            "SHELL=/bin/bash script -qec 'salloc -w n1 --checkpoint' /dev/null").stdout
    assert "this step is not protected: it runs on a terminal" in out
    got = [l.strip() for l in out.splitlines() if l.startswith("CapAmb")]
    assert got == [HAS_NOT, HAS], out


@pytest.mark.parametrize("how", ["", "--checkpoint"])
def test_arguments(cluster, how):
    """They reach the program as they were typed: empty, with newlines, in
    sckpt's own form, and as long as one may be."""
    cluster.script("arguments.sh", 'for a; do echo "${#a} $(md5sum <<<"$a")"; done\n')
    out = cluster.run(
        "n1", f"srun -w n1 {how} $HOME/arguments.sh $'two\\nlines' '' ' ' -- off=x control=9 "
        "\"$(printf 'x%.0s' {1..120000})\" \"$(printf '%s\\n' {1..20000})\"").stdout
    assert [int(l.split()[0]) for l in out.splitlines()] == [
        9, 0, 1, 2, 5, 9, 120000, 108893]
    plain = cluster.run(
        "n1", "$HOME/arguments.sh $'two\\nlines' '' ' ' -- off=x control=9 "
        "\"$(printf 'x%.0s' {1..120000})\" \"$(printf '%s\\n' {1..20000})\"").stdout
    assert out == plain


def test_long_command_goes_on(cluster):
    """A command that does not fit into a manifest's line is still itself."""
    script = cluster.script(
        "job.sh", f"for i in $(seq {MANY}); do echo line $i $#; {PACE}; done\n")
    job = cluster.submit(script, *["word" * 20] * 300, "a\nb",
                         options="--requeue --checkpoint")
    job.wait_output("^line 20 301$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i} 301" for i in range(1, MANY + 1)]


def test_input_of_a_terminal(cluster):
    """srun without --pty, typed at a terminal: the program reads what is typed,
    and sees its end."""
    for option in ("", "--checkpoint"):
        out = cluster.run(
            "n1", "(sleep 2; echo typed; sleep 1; printf '\\004'; sleep 1) | "
            f"script -qec 'srun -w n1 {option} sh -c \"cat; echo the end\"' /dev/null").stdout
        # Echoed by the terminal, and by the program.
        assert out.splitlines()[:3] == ["typed", "typed", "the end"], out
        assert "not protected" not in out


def test_no_input(cluster):
    for option, source in (("", "</dev/null"), ("--input=none", "")):
        done = cluster.run(
            "n1", f"srun -w n1 --checkpoint {option} sh -c 'cat; exit 4' {source}", check=False)
        assert done.returncode == 4 and done.stdout == ""


@pytest.mark.parametrize("step", ["batch", "srun"])
def test_closed_output(cluster, step):
    """A program without stdout and stderr goes on without them; what it had
    written before is there again, once."""
    body = ("echo before; exec >&- 2>&-; touch closed; "
            f"for i in $(seq {MANY}); do echo $i >>kept; {PACE}; done; exit 6")
    script = cluster.script(
        "job.sh", body + "\n" if step == "batch" else
        f"srun --checkpoint bash -c '{body}'\n")
    job = cluster.submit(
        script, options="--requeue " + ("--checkpoint" if step == "batch" else ""))
    kept = cluster.home() / "kept"
    until("twenty lines", lambda: kept.exists() and "\n20\n" in kept.read_text())
    job.preempt()
    assert job.finish() == ["FAILED"]
    assert job.exit() == (6, 0)
    assert kept.read_text().split() == [str(i) for i in range(1, MANY + 1)]
    assert [l for l in job.text().splitlines()
            if not l.startswith(("srun:", "slurmstepd"))] == ["before"]


def test_one_step_after_the_other(cluster):
    """The script starts again from its top: the step that had ended runs once
    more, the one that was stopped goes on."""
    script = cluster.script(
        "job.sh",
        "srun --checkpoint sh -c 'echo first >>log; echo the first step'\n"
        f"srun --checkpoint {SUBJECT}/ender {MANY // 10} exit 0\n"
        "srun --checkpoint echo the third step\n")
    job = cluster.submit(script, options="--requeue")
    job.wait_output("^line 20$")
    assert not job.store("0").exists()
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert [l for l in job.text().splitlines()
            if not l.startswith(("srun:", "slurmstepd", "sckpt:"))] == (
        ["the first step"] + [f"line {i}" for i in range(1, MANY + 1)] + ["the third step"])
    assert (cluster.home() / "log").read_text() == "first\nfirst\n"
    assert not job.store("1").parent.exists()


def test_limits_are_the_programs(cluster):
    """Images larger than what the program may write, and more memory than it
    may map, are the helpers' affair."""
    script = cluster.script(
        "job.sh",
        "ulimit -Sf 64; ulimit -Sv 200000\n"
        "srun --propagate=ALL --checkpoint bash -c 'ulimit -Sf; ulimit -Sv; "
        f"for i in $(seq {MANY}); do echo line $i; {PACE}; done; ulimit -Sf; ulimit -Sv'\n")
    job = cluster.submit(script, options="--requeue")
    job.wait_output("^line 20$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert [l for l in job.text().splitlines()
            if not l.startswith(("srun:", "slurmstepd"))] == (
        ["64", "200000"] + [f"line {i}" for i in range(1, MANY + 1)] + ["64", "200000"])


def test_flood(cluster):
    """A child that writes without end does not keep its step from ending, nor
    signals from arriving."""
    done = cluster.run(
        "n1", "srun -w n1 --checkpoint sh -c 'yes & sleep 1; exit 3' | tail -n 1; "
        "exit ${PIPESTATUS[0]}", check=False)
    assert (done.stdout, done.returncode) == ("y\n", 3)
    done = cluster.run(
        "n1", "srun -w n1 --checkpoint sh -c 'trap \"exit 5\" USR1; yes & touch trapped; "
        "while :; do sleep 0.1; done' >/dev/null & until [ -e trapped ]; do sleep 0.1; done; "
        "scancel -s USR1 $(squeue -h -t R -u user1 -s -o %i | grep -v batch); wait %1", check=False)
    assert done.returncode == 5
