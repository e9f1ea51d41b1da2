# SPDX-License-Identifier: GPL-2.0-or-later
"""Protected batch scripts that call srun go on where they were."""
import pytest

from conftest import COMMAND, MANY, PACE, pace, sh, until

SUBJECT = "/shared/subject"
NOISE = ("srun:", "slurmstepd", "sckpt: error: execve")


def program_lines(text):
    """Without what tells of nodes and PIDs."""
    return [l for l in text.splitlines()
            if not l.startswith(NOISE) and "slurm_script: line" not in l]


def counter(name, lines=MANY, pace=PACE):
    """A step's program: says its lines, and that it was started, in a file."""
    return (f"bash -c 'echo {name} >>started; for i in $(seq {lines}); do "
            f"echo {name} $i; {pace}; done'")


def lines(name, count=MANY):
    return [f"{name} {i}" for i in range(1, count + 1)]


def what_was_said(job):
    """Preempts it; its output when it was off its node, which Slurm truncates."""
    said = []

    def look():
        until("the job to be off its node", lambda: job.state == ["PENDING"])
        said.append(job.text())

    job.preempt(hold=look)
    return said[0]


def preempt(job):
    """As Job.preempt, and what was said when it was stopped is no refusal."""
    said = what_was_said(job)
    assert "no checkpoint of" not in said, said


def test_four_steps(cluster):
    """Preempted in each of its steps: none is run twice, and the shell's variables
    and place are what they were."""
    names = ["one", "two", "three", "four"]
    body = "state=begin\n"
    for name in names:
        body += (f"srun {counter(name, MANY, pace(name))}\n"
                 f"state=\"$state $name {name}:$?\"\nsh -c 'echo $$ >>pids'\n")
    job = cluster.submit(cluster.script("job.sh", body + "echo $state\n"),
                         options="--requeue --checkpoint")
    for name in names:
        job.wait_output(f"^{name} 8$")
        preempt(job)
        (cluster.home() / name).touch()
    assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines() == (
        sum((lines(n) for n in names), []) + ["begin one:0 two:0 three:0 four:0"])
    assert (cluster.home() / "started").read_text().split() == names
    # Low PIDs are criu's at the next restore.
    pids = [int(l) for l in (cluster.home() / "pids").read_text().split()]
    assert len(pids) == 4 and pids == sorted(pids) and pids[0] > 1000
    assert not job.store().parent.exists()


def test_in_the_background(cluster):
    """Steps side by side go on as themselves, end with their own codes, and what
    is started later sees the job as it is now."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh",
        "mkdir -p sub; cd sub; umask 027; export TWO=$'two\\nlines'\n"
        f"srun -n1 --exact {counter('a')[:-1]}; exit 3' >a.out &\na=$!\n"
        f"srun -n1 --exact {counter('b')[:-1]}; kill -9 $$' >b.out 2>b.err &\nb=$!\n"
        "wait $a; echo a $?; wait $b; echo b $?\n"
        "srun -n1 bash -c 'echo \"$TWO\"; pwd; umask; echo $SLURM_RESTART_COUNT; "
        "[ $SLURM_JOB_NODELIST = $(hostname) ] && echo here'\n"),
        options="--requeue --checkpoint -n2")
    until("output of both", lambda: all(
        (p := home / "sub" / f"{n}.out").exists() and f"{n} 8\n" in p.read_text()
        for n in "ab"))
    assert f"a {MANY}\n" not in (home / "sub/a.out").read_text()  # or Slurm runs one by one
    preempt(job)
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == [
        "a 3", "b 137", "two", "lines", "/home/user1/sub", "0027",
        "1", "here"]
    assert (home / "sub/a.out").read_text().splitlines() == lines("a")
    assert (home / "sub/b.out").read_text().splitlines() == lines("b")
    assert "Killed" in (home / "sub/b.err").read_text()
    assert "CANCELLED" not in (home / "sub/b.err").read_text()
    assert sorted((home / "sub/started").read_text().split()) == ["a", "b"]


def test_input_and_pipes(cluster):
    """A step in the middle of a pipeline, and one that reads a file, have read every
    line once."""
    home = cluster.home()
    (home / "input").write_text("".join(f"file {i}\n" for i in range(1, 30001)))
    reader = ("bash -c 'n=0; while read -r l; do n=$((n+1)); [ $((n % 100)) = 0 ] && "
              "{{ echo $n $l; {}; }}; done; echo end $n'")
    job = cluster.submit(cluster.script(
        "job.sh",
        f"seq 30000 | srun {reader.format(pace('first'))} | while read -r l; do echo got $l; done\n"
        f"srun {reader.format(PACE)} <input\n"),
        options="--requeue --checkpoint")
    job.wait_output("^got 800 ")
    preempt(job)
    (home / "first").touch()
    job.wait_output("^800 file")
    preempt(job)
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == (
        [f"got {i} {i}" for i in range(100, 30001, 100)] + ["got end 30000"]
        + [f"{i} file {i}" for i in range(100, 30001, 100)] + ["end 30000"])


def without_and_with(cluster, script):
    """What it says without sckpt, and with it."""
    said = []
    for options in ("", "--checkpoint"):
        job = cluster.submit(script, options=f"--requeue {options}")
        assert job.wait_end(600) == ["COMPLETED"], job.text()
        said.append(program_lines(job.text()))
    return said


def test_srun_as_it_is(cluster):
    """Codes, input and signals of srun are what they are without sckpt."""
    script = cluster.script(
        "job.sh",
        "rm -f ready; srun true; echo $?; srun sh -c 'exit 9'; echo $?; srun sh -c 'kill -SEGV $$'; echo $?\n"
        "srun /nowhere; echo $?; srun --no-such-option true; echo $?\n"
        "echo from a pipe | srun cat; srun cat </dev/null\n"
        "srun sh -c 'trap \"echo got it; exit 4\" USR1; touch ready; "
        "while :; do sleep 0.1; done' & until [ -e ready ]; do sleep 0.1; done\n"
        "kill -USR1 $!; wait $!; echo $?; rm ready\n"
        "srun sh -c 'touch ready; exec sleep 60' & until [ -e ready ]; do sleep 0.1; done\n"
        "kill $!; wait $!; echo $?; rm ready\n"
        "srun sh -c 'touch ready; exec sleep 60' & until [ -e ready ]; do sleep 0.1; done\n"
        "kill -KILL $!; wait $!; echo $?\n"
        "until [ -z \"$(squeue -h -s -j $SLURM_JOB_ID | grep -v -e batch -e extern)\" ]; "
        "do sleep 0.2; done; echo none is left\n")
    said = without_and_with(cluster, script)
    assert said[0] == said[1]
    assert "got it" in said[0] and said[0][-1] == "none is left"


def test_streams_of_srun_as_they_are(cluster):
    """What is read and written, and what becomes of the program when it cannot be."""
    script = cluster.script(
        "job.sh",
        "rm -f done\n"
        # A program whose output nobody wants any more goes on, or does not (Slurm 26.05).
        "srun sh -c 'for i in $(seq 30); do echo $i; sleep 0.1; done; echo $? >>done' | head -n 1; cat done\n"
        "srun sh -c 'seq 100000; echo $? >>done' >/dev/full; echo $?; cat done\n"
        # Its input is the loop's, which srun is not to read.
        "printf 'a\\nb\\nc\\n' | while read x; do srun -i none echo none $x; done\n"
        "printf 'a\\nb\\nc\\n' | while read x; do srun --input done cat; echo $x; done\n"
        "printf 'a\\nb\\nc\\n' | while read x; do srun -i 0 cat; echo $x; done\n"
        "printf 'a\\nb\\nc\\n' | while read x; do SLURM_STDINMODE=none srun echo $x; done\n"
        "printf 'a\\nb\\nc\\n' | SLURM_STDINMODE=none srun -i all sh -c 'cat; echo $0' -i none\n"
        # Labels, and lines without an end.
        "srun -lE printf 'a\\nb\\nc'\n"
        "srun --label -n 2 --overcommit sh -c 'echo begin; echo >&2 error; printf no.end >&$((1 + SLURM_PROCID))' 2>&1 | sort\n"
        "SLURM_LABELIO=1 srun -n1 printf '%01500d\\n' 7\n"
        "srun -lEo file printf 'a\\nb\\n'; cat file\n"
        "srun -n 2 --overcommit -o file sh -c 'echo $SLURM_PROCID'; sort file\n"
        "srun --open-mode=append -o file echo more; srun --open-mode append -o file echo more; grep -c more file; rm file\n"
        "srun printf 'no end'\n")
    said = [[l for l in one if "error: *** STEP" not in l] for one in without_and_with(cluster, script)]
    assert said[0] == said[1]
    assert len(said[0]) > 30


@pytest.mark.parametrize("mode", ("truncate", "append"))
def test_back_to_an_older_checkpoint(cluster, mode):
    """After sckpt create the job is lost: the script goes on from there, the step
    that ran goes on from its own, and what was written since is written again. How Slurm
    opens files is nothing to what the script's srun passes on, and a step may know more than its script."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh",
        f"srun {counter('one', 15)}\nsrun {counter('two')}\necho the end\n"),
        options=f"--requeue --checkpoint --open-mode={mode}")
    job.wait_output("^two 8$")
    done = cluster.ctl(f"sckpt create {job.number}")
    assert [l.split(":")[0] for l in done.stdout.splitlines()] == [
        f"step {job.number}.batch", f"step {job.number}.srun-2"]
    count = int(job.text().splitlines()[-1].split()[1])
    job.wait_output(f"^two {count + 8}$")

    def lose():
        for step in ("batch", "srun-2"):
            until("the dump at the stop", lambda s=step: job.generations(s)[-1:] == [2])
            if mode == "truncate" or step == "batch":
                job.manifests(step)[-1].unlink()

    job.preempt(hold=lose)
    assert job.finish() == ["COMPLETED"]
    assert [l for l in program_lines(job.text()) if not l.startswith("sckpt: step ")] == lines("one", 15) + lines("two") + ["the end"]
    assert (home / "started").read_text().split() == ["one", "two"]


def test_log_of_steps_that_are_over(cluster):
    """Two steps append to one file; the first has ended, and writes to it no more when the second
    goes back."""
    home = cluster.home()
    part = ("bash -c 'exec >>run.log; for i in $(seq {}); do echo {} $i; [ -e {} ] || sleep 0.1; done'")
    job = cluster.submit(cluster.script(
        "job.sh", f"srun {part.format(200, 'one', 'quick-1')}\necho next\nsrun {part.format(MANY, 'two', 'quick-2')}\n"),
        options="--requeue --checkpoint -e err")
    written = lambda: (home / "run.log").read_text().splitlines() if (home / "run.log").exists() else []  # noqa: E731
    until("the first", lambda: "one 10" in written())
    cluster.ctl(f"sckpt create {job.number}")
    (home / "quick-1").touch()
    until("the second", lambda: "two 10" in written())
    cluster.ctl(f"sckpt create {job.number}")
    count = len(written())
    until("more", lambda: len(written()) > count + 10)

    def lose():
        for step, last in (("batch", 3), ("srun-2", 2)):
            until("the dump at the stop", lambda s=step, n=last: job.generations(s)[-1:] == [n])  # noqa: B023
            job.manifests(step)[-1].unlink()
        assert job.generations("srun-1")

    job.preempt(hold=lose)
    (home / "quick-2").touch()
    assert job.wait_end() == ["COMPLETED"]
    assert written() == [f"one {i}" for i in range(1, 201)] + [f"two {i}" for i in range(1, MANY + 1)]


def test_step_whose_checkpoint_is_lost(cluster):
    """It starts afresh and its output comes whole; and when that run of it is saved and
    goes on, what comes again is what that run had said."""
    job = cluster.submit(cluster.script(
        "job.sh", f"srun {counter('one')}\necho the end $?\n"),
        options="--requeue --checkpoint")

    def lose():
        until("the step's dump", lambda: job.generations("srun-1") == [1])
        job.manifests("srun-1")[0].unlink()

    job.wait_output("^one 8$")
    job.preempt(hold=lose)
    job.wait_output("afresh\n(one .*\n)+one 8$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    said = program_lines(job.text())
    again = said.index("sckpt: there is no checkpoint of srun-1: it starts afresh")
    assert said[:again] == lines("one", again)
    assert said[again + 1:] == lines("one") + ["the end 0"]


def test_srun_that_cannot_start_again(cluster):
    """slurmctld does not take the step that goes on (it is restarted just then, say):
    srun is started once more, and the script hears nothing of it."""
    job = cluster.submit(cluster.script(
        "job.sh", f"srun {counter('one')}\necho the end $?\n"),
        options="--requeue --checkpoint")
    job.wait_output("^one 8$")
    fails = ("[ -e /home/user1/works ] && exec /usr/bin/srun.real \"$@\"\n"
             "mkdir /home/user1/works\n"
             "echo srun: error: Unable to create step >&2; exit 1\n")
    with cluster.replaced("srun", fails):
        job.preempt()
        job.wait_output("could not start srun-1 again, .* next try in 5 s")
        assert job.finish() == ["COMPLETED"]
    said = program_lines(job.text())
    assert [l for l in said if not l.startswith("sckpt: ")] == lines("one") + ["the end 0"]
    assert (cluster.home() / "started").read_text().split() == ["one"]


def test_script_that_cannot_be_dumped(cluster):
    """It holds a connection, and starts again from its top; the step that ran goes
    on all the same."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh",
        "exec 3<>/dev/tcp/ctl/6817\n"
        f"srun {counter('one', 15)}\nsrun {counter('two')}\necho the end\n"),
        options="--requeue --checkpoint")
    job.wait_output("^two 8$")
    assert "holds a TCP connection" in what_was_said(job)
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == [
        f"sckpt: nothing was saved of step {job.number}.batch before; it starts afresh"
        ] + lines("one", 15) + lines("two") + ["the end"]
    assert (home / "started").read_text().split() == ["one", "two", "one"]


def test_step_that_is_not_protected(cluster):
    """It was stopped with the job, and starts afresh; its script is where it was."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh",
        f"srun {counter('one', 10)}\nsrun --checkpoint=off {counter('two')}\n"
        "echo the end $?\n"),
        options="--requeue --checkpoint")
    job.wait_output("^two 8$")
    preempt(job)
    assert job.finish() == ["COMPLETED"]
    said = program_lines(job.text())
    again = said.index("sckpt: there is no checkpoint of srun-2: it starts afresh")
    assert said[:10] == lines("one", 10)
    assert said[10:again] == lines("two", again - 10)
    assert said[again + 1:] == lines("two") + ["the end 0"]
    assert (home / "started").read_text().split() == ["one", "two", "two"]


@pytest.mark.parametrize("options, begin", [("--checkpoint=off", ""),
                                            ("", "exec 3<>/dev/tcp/ctl/6817; ")])
def test_step_that_does_not_end(cluster, options, begin):
    """It cannot be dumped and ignores SIGTERM, until it is killed: its script is saved
    all the same, and where it was."""
    job = cluster.submit(cluster.script(
        "job.sh",
        f"srun {counter('one', 5)}\n"
        f"srun {options} bash -c '{begin}trap \"\" TERM; echo two >>started; echo two; "
        "[ \"$SLURM_RESTART_COUNT\" = 1 ] || exec sleep 600'\necho the end $?\n"),
        options="--requeue --checkpoint")
    job.wait_output("^two$")
    job.preempt(seconds=120)
    assert job.wait_end() == ["COMPLETED"]
    refusal = f"sckpt: no checkpoint of step {job.number}.srun-2: "
    assert [l for l in program_lines(job.text()) if not l.startswith(refusal)] == lines("one", 5) + [
        "two", "sckpt: there is no checkpoint of srun-2: it starts afresh", "two", "the end 0"]
    assert (cluster.home() / "started").read_text().split() == ["one", "two", "two"]


# What holds a connection, and starts again from its top.
UNDUMPABLE = "exec 3<>/dev/tcp/ctl/6817\n"
SKIP = "--requeue --checkpoint=steps=skip-done -e err"


def test_skip_done(cluster):
    """The script starts from its top, and of its steps only the one that was not
    done is run: what the others wrote is there again, wherever it went."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh", UNDUMPABLE +
        f"srun {counter('one', 15)}\n"
        f"x=$(srun {counter('two', 20)}; echo $?)\n"
        # It reads its input, and so what the script would read after it.
        "printf 'a\\nb\\nc\\n' | { srun bash -c 'echo three >>started; read x; cat >/dev/null; echo $x; echo oh >&2'; cat; }\n"
        f"srun -l -o out.txt {counter('four', 10)}\n"
        f"srun {counter('five')}\necho the end: $x\n"),
        options=SKIP)
    job.wait_output("^five 8$")
    said = []
    job.preempt(hold=lambda: until("the refusal", lambda: said.append(
        (home / "err").read_text()) or "holds a TCP connection" in said[-1]))
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == (
        lines("one", 15) + ["a"] + lines("five") +
        ["the end: " + " ".join(lines("two", 20)) + " 0"])
    assert (home / "out.txt").read_text().splitlines() == [
        f"0: {l}" for l in lines("four", 10)]
    err = (home / "err").read_text().splitlines()
    assert err.count("oh") == 1
    assert [l for l in err if "was done in an earlier run" in l] == [
        f"sckpt: srun call {i} of the script was done in an earlier run: it is not run again"
        for i in (1, 2, 3, 4)]
    # The fifth went on from its checkpoint.
    assert (home / "started").read_text().split() == ["one", "two", "three", "four", "five"]


def test_skip_done_not(cluster):
    """A step that failed, one that is called otherwise, and one that never ended
    are run; so are those that were done when people have the job run once more."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh", UNDUMPABLE +
        "srun bash -c 'echo fails >>started; exit 3'\necho $?\n"
        "srun bash -c \"echo other $SLURM_RESTART_COUNT >>started\"\n"
        "srun bash -c 'echo same >>started; echo same'\n"
        "srun bash -c 'echo same >>started; echo same'\n"
        f"srun --checkpoint=off {counter('last')}\n"),
        options=SKIP)
    job.wait_output("^last 8$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == ["3", "same", "same"] + lines("last")
    first = ["fails", "other", "same", "same", "last"]
    again = ["fails", "other", "1", "last"]
    assert (home / "started").read_text().split() == first + again
    assert not list((cluster.home() / ".sckpt/test/ended").glob(f"{job.number}.done*"))
    cluster.ctl(f"scontrol requeue {job.number}", user="root")
    cluster.ctl(f"scontrol update job {job.number} StartTime=now+2", user="root", check=False)
    until("the third run", lambda: job.record()["restart_cnt"] == 2 and
          job.finish() == ["COMPLETED"])
    assert (home / "started").read_text().split() == (
        first + again + ["fails", "other", "2", "same", "same", "last"])


def test_skip_done_after_a_crash(cluster):
    """Nobody could save anything."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh", f"srun {counter('one', 10)}\nsrun {counter('two', 10)} | tac\n"
        f"srun {counter('three')}\necho the end\n"),
        options=SKIP)
    job.wait_output("^three 8$")
    node = job.node
    sh(COMMAND, "crash", node)
    try:
        assert job.finish() == ["COMPLETED"]
    finally:
        sh(COMMAND, "boot", node)
    assert program_lines(job.text()) == (
        lines("one", 10) + lines("two", 10)[::-1] + lines("three") + ["the end"])
    assert (home / "started").read_text().split() == ["one", "two", "three", "three"]


def test_skip_done_is_stopped(cluster):
    """The script can be dumped this time, while the output of a step that was done
    is being said again: it goes on there, and nothing is run."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh", "[ -e second ] || exec 3<>/dev/tcp/ctl/6817; touch second\n"
        "srun bash -c 'echo one >>started; seq 60000' | while read l; do echo $l; "
        f"[ $((l % 200)) != 0 ] || {PACE}; done\n"
        "[ ! -e /proc/self/fd/3 ] || sleep 600\necho the end\n"),
        options=SKIP)
    (home / "quick").touch()
    job.wait_output("^60000$")
    (home / "quick").unlink()
    job.preempt()
    job.wait_output("^4000$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert program_lines(job.text()) == [str(i) for i in range(1, 60001)] + ["the end"]
    assert (home / "started").read_text().split() == ["one"]


# ---- calls that come in another order, or not at all ------------------------------------

# Three times the same; what is done is left out when it starts from its top.
LEAVES_OUT = UNDUMPABLE + """for i in a b c; do
[ -e $i/done ] && continue
mkdir -p $i; echo $i >input
{}
touch $i/done
done
"""
SAYS_WHO = "bash -c 'w={}; echo $w >>~/started; for i in $(seq 60); do echo $w $i; "
SAYS_WHO += "[ $w$i != b30 ] || until [ -e ~/go ]; do sleep 0.1; done; sleep 0.1; done'"


@pytest.mark.parametrize("call, goes_on", [
    (f"(cd $i && srun {SAYS_WHO.format('${PWD##*/}')} >out)", True),
    (f"cd $i; srun {SAYS_WHO.format('$(cat)')} <../input >out; cd ..", True),
    (f"export WHO=$i; cd /tmp; srun {SAYS_WHO.format('$WHO')} | cat >~/$i/out; cd", True),
    # Nobody can tell which of them it was.
    (f"srun {SAYS_WHO.format('$(cat input)')} | cat >$i/out", False)])
def test_calls_left_out(cluster, call, goes_on):
    """The second call is the first one then, and the third the second: each goes on from its own
    checkpoint, or starts afresh, and never from another's."""
    home = cluster.home()
    job = cluster.submit(cluster.script("job.sh", LEAVES_OUT.format(call)), options="--requeue --checkpoint -e err")
    until("the second", lambda: (home / "b/out").exists() and "b 8\n" in (home / "b/out").read_text())
    job.preempt()
    (home / "go").touch()
    assert job.wait_end() == ["COMPLETED"]
    for i in "abc":
        assert program_lines((home / i / "out").read_text()) == lines(i, 60)
    assert (home / "started").read_text().split() == ["a", *["b"] * (1 if goes_on else 2), "c"]
    said = (home / "err").read_text()
    assert ("is not used: its srun was called with other" in said) == (not goes_on), said


# ---- slurmctld is away ---------------------------------------------------------------------


def test_step_that_fails_meanwhile(cluster):
    """Whether it was stopped with its job is asked until there is an answer."""
    home = cluster.home()
    job = cluster.submit(cluster.script(
        "job.sh", "srun --checkpoint=off bash -c 'touch up; until [ -e down ]; do sleep 0.1; done; exit 3'\n"
        "echo rc $?\n"), options="--requeue --checkpoint")
    until("the step", lambda: (home / "up").exists())
    node = job.node
    asked = set()

    def asks_again():
        asked.update(cluster.run(node, f"pgrep -u user1 -f '^[^ ]*(scontrol show|sckpt-record) job {job.number}'",
                                 check=False).stdout.split())
        return len(asked) > 1
    with cluster.slurmctld_stopped():
        (home / "down").touch()
        until("two questions", asks_again)
    assert job.wait_end() == ["COMPLETED"]
    assert program_lines(job.text()) == ["rc 3"]
