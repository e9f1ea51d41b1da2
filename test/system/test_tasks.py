# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps with several tasks on their node: one tree, one dump."""
import pytest

from cluster import SUITE
from conftest import MANY, PACE, pace, until
from test_steps import strip_times

SUBJECT = "/shared/subject"
SRUN = "srun --checkpoint --overcommit "
# A line every 0.1 s; "line 1" has the PID.
LINES = ("bash -c 'echo $SLURM_PROCID pid $$; for i in $(seq {}); do "
         f"echo $SLURM_PROCID line $i; {PACE}; done; {{}}'\n")


def submit(cluster, text, options=""):
    return cluster.submit(cluster.script("job.sh", text), options=f"--requeue {options}")


def lines(cluster, name):
    path = cluster.home() / name
    return path.read_text().splitlines() if path.exists() else []


def expect(task, count):
    """PIDs are in the order of the tasks, on every node."""
    return [f"{task} pid {1001 + task}"] + [
        f"{task} line {i}" for i in range(1, count + 1)]


def test_output_of_each_and_exit_codes(cluster):
    job = submit(cluster, SRUN + "-n 4 -o out.%t -e err.%t " + LINES.format(
        MANY, "echo $SLURM_PROCID >&2; exit $((SLURM_PROCID * 3))") + "echo rc $?\n")
    until("output", lambda: len(lines(cluster, "out.3")) > 10)
    job.preempt()
    manifest = job.manifest("0")
    assert len(manifest["streams"]) == 12
    assert manifest["reason"] == "preemption"
    assert job.finish() == ["COMPLETED"]
    for task in range(4):
        assert lines(cluster, f"out.{task}") == expect(task, MANY)
        assert strip_times("\n".join(lines(cluster, f"err.{task}"))) == [
            str(task)] or task == 0
    assert strip_times(job.text()) == ["rc 9"]
    for task in (1, 2, 3):
        assert f"task {task}: Exited with exit code {task * 3}" in job.text()


def test_output_through_srun(cluster):
    job = submit(cluster, SRUN + "-n 3 --label " + LINES.format(MANY, "exit 0"))
    job.wait_output("^2: 2 line 20$")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    for task in range(3):
        mine = [l for l in job.text().splitlines() if l.startswith(f"{task}: ")]
        assert mine == [f"{task}: {l}" for l in expect(task, MANY)]


def test_some_had_ended(cluster):
    """What Slurm is told of them in the next run is what they ended with in this."""
    job = submit(cluster, SRUN + "-n 4 -o out.%t bash -c 'case $SLURM_PROCID in "
                 "0) exit 0;; 1) exit 5;; 2) kill -9 $$;; esac; "
                 f"for i in $(seq {MANY}); do echo line $i; {PACE}; done'\necho rc $?\n")
    until("output", lambda: len(lines(cluster, "out.3")) > 20)
    # Slurm has heard of them at once, also of the first.
    for word in ("task 1: Exited with exit code 5", "task 2: Killed"):
        job.wait_output(word)
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert lines(cluster, "out.3") == [f"line {i}" for i in range(1, MANY + 1)]
    for word in ("task 1: Exited with exit code 5", "task 2: Killed", "rc 137"):
        assert word in job.text()


@pytest.mark.parametrize("bad", [0, 2])
def test_kill_on_bad_exit(cluster, bad):
    """Also of the first one, which ends before the others; and after a restore."""
    job = submit(cluster, SRUN + "-n 3 --kill-on-bad-exit=1 -o out.%t bash -c '"
                 "for i in $(seq 3000); do echo line $i; [ $i != 60 ] || until [ -e go ]; do sleep 0.1; done; "
                 f"[ $i = 60 -a $SLURM_PROCID = {bad} ] && exit 3; sleep 0.1; done'\n"
                 "echo rc $?\n")
    until("output", lambda: len(lines(cluster, "out.2")) > 20)
    job.preempt()
    (cluster.home() / "go").touch()
    assert job.wait_end() == ["COMPLETED"]
    assert f"task {bad}: Exited with exit code 3" in job.text()
    assert strip_times("\n".join(lines(cluster, f"out.{bad}"))) == [
        f"line {i}" for i in range(1, 61)]
    assert len(lines(cluster, "out.1")) < 200


def test_multi_prog(cluster):
    home = cluster.home()
    (home / "progs").write_text(f"0 bash -c 'for i in $(seq {MANY}); do echo a $i; {PACE}; done'\n"
                                f"1-2 {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = submit(cluster, SRUN + "-n 3 -o out.%t --multi-prog progs\necho rc $?\n")
    until("output", lambda: len(lines(cluster, "out.2")) > 20)
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    told = (["sckpt: this step is not protected: Slurm before 23.11 does not show plugins the "
             "programs of srun --multi-prog"] if SUITE == "bookworm" else [])
    assert lines(cluster, "out.0") == told + [f"a {i}" for i in range(1, MANY + 1)]
    for task in (1, 2):
        assert lines(cluster, f"out.{task}") == [f"line {i}" for i in range(1, MANY + 1)]
    assert strip_times(job.text()) == ["rc 0"]


def test_shared_memory_is_shared_and_kept_once(cluster):
    (cluster.home() / "shm.py").write_text('''\
import mmap, os, random, struct, time
me, n, size = int(os.environ["SLURM_PROCID"]), 4, 32 << 20
path = "/dev/shm/ranks." + os.environ["SLURM_JOB_ID"]
if me == 0:
    with open(path + ".new", "wb") as f:
        f.write(bytes(4096) + random.Random(7).randbytes(size - 4096))
    os.rename(path + ".new", path)
while not os.path.exists(path):
    time.sleep(0.01)
with open(path, "r+b") as f:
    m = mmap.mmap(f.fileno(), size)
get = lambda i: struct.unpack_from("q", m, 64 * i)[0]
turn = 0
for turn in range(60):
    while me == 0 and turn == 40 and not os.path.exists("go"):
        time.sleep(0.1)
    # All in step: each waits for all the others' counters.
    struct.pack_into("q", m, 64 * me, turn + 1)
    while min(get(i) for i in range(n)) < turn + 1:
        time.sleep(0.002)
    if me == 0:
        print("turn", turn, flush=True)
    time.sleep(0.1)
print(me, "sum", sum(m[4096:]) , flush=True)
if me == 0:
    os.unlink(path)
''')
    job = submit(cluster, SRUN + "-n 4 python3 shm.py\n", "--mem=1000")
    job.wait_output("^turn 20$", 90)
    job.preempt()
    (cluster.home() / "go").touch()
    assert job.wait_end(180) == ["COMPLETED"]
    text = job.text()
    assert [l for l in text.splitlines() if l.startswith("turn")] == [
        f"turn {i}" for i in range(60)]
    sums = {l.split()[2] for l in text.splitlines() if " sum " in l}
    assert len(sums) == 1 and len([l for l in text.splitlines() if " sum " in l]) == 4
    # (The file of /dev/shm travels beside the pages.)
    stored = job.manifest("0")["stored"] if job.generations("0") else 0
    assert stored < 90 << 20


def test_cpu_binding(cluster):
    """Each task runs where Slurm binds it in this run, after a restore, too."""
    count = 600
    look = "awk \"/Cpus_allowed_list/ { print \\$2 }\" /proc/self/status"
    job = submit(cluster, "srun --checkpoint -n 2 --cpu-bind=map_cpu:1,0 -o out.%t bash -c "
                 f"'for i in $(seq {count}); do {look}; {PACE}; done'\n", "-N1 -n2")
    until("output", lambda: len(lines(cluster, "out.1")) > 20)
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert lines(cluster, "out.0") == ["1"] * count
    assert lines(cluster, "out.1") == ["0"] * count


def test_signals_reach_each_task_once(cluster):
    job = submit(cluster, SRUN + f"-n 3 -o out.%t {SUBJECT}/sigs 60 die\n")
    for task in range(3):
        until("ready", lambda: "ready" in lines(cluster, f"out.{task}"))
    cluster.ctl(f"scancel -s USR1 {job.number}.0")
    for task in range(3):
        until("USR1", lambda: "got SIGUSR1" in lines(cluster, f"out.{task}"))
    job.cancel()
    assert job.wait_end()[0] == "CANCELLED"
    for task in range(3):
        until("TERM", lambda: "got SIGTERM" in lines(cluster, f"out.{task}"))
        assert lines(cluster, f"out.{task}").count("got SIGUSR1") == 1
        assert lines(cluster, f"out.{task}").count("got SIGTERM") == 1
    assert job.generations("0") == []


def test_one_does_not_join(cluster):
    """Its TaskProlog fails: so does it, as without sckpt, and the others run."""
    (cluster.home() / "prolog").write_text("#!/bin/sh\n[ $SLURM_PROCID != 1 ]\n")
    (cluster.home() / "prolog").chmod(0o755)
    text = (SRUN + "--task-prolog=$PWD/prolog -n 3 -o out.%t " + LINES.format(30, "exit 0")
            + "echo rc $?\n")
    job = submit(cluster, text)
    assert job.wait_end() == ["COMPLETED"]
    plain = submit(cluster, text.replace("--checkpoint ", ""))
    assert plain.wait_end() == ["COMPLETED"]
    assert strip_times(job.text()) == strip_times(plain.text()) == ["rc 1"]
    for task in (0, 2):
        assert len(lines(cluster, f"out.{task}")) == 31


def test_no_such_program(cluster):
    job = submit(cluster, SRUN + "-n 2 ./not-there\necho rc $?\n")
    assert job.wait_end() == ["COMPLETED"]
    assert "execve(): ./not-there: No such file or directory" in job.text()
    assert strip_times(job.text())[-1] == "rc 2"


def test_a_task_is_killed(cluster):
    """Somebody kills Slurm's process of one task: its program goes, and no other."""
    job = submit(cluster, SRUN + "-n 3 -o out.%t " + LINES.format(MANY, "exit 0"))
    until("output", lambda: len(lines(cluster, "out.2")) > 10)
    cluster.run(job.node, "pkill -9 -f '^/usr/libexec/sckpt/sckpt-task [0-9]+ 1$'")
    job.wait_output("task 1: Killed")
    assert job.finish() == ["FAILED"]
    assert len(lines(cluster, "out.1")) < MANY
    for task in (0, 2):
        assert lines(cluster, f"out.{task}") == expect(task, MANY)


def test_tasks_that_end_while_they_are_dumped(cluster):
    """One after the other, each at another moment of a dump."""
    job = submit(cluster, SRUN + "-n 8 -o out.%t bash -c 'echo begins; "
                 "until [ -e end.$SLURM_PROCID ]; do sleep 0.02; done; "
                 "echo ends; exit $SLURM_PROCID'\necho rc $?\n", "--mem=500")
    until("begin", lambda: all(lines(cluster, f"out.{i}") for i in range(8)))
    taken = 0
    for task in range(8):
        taken += cluster.ctl(f"(sleep 0.{task * 137 % 10}; touch end.{task}) & sckpt create {job.number}.0",
                             check=False).returncode == 0
    assert job.wait_end() == ["COMPLETED"]
    assert taken >= 3
    for task in range(8):
        assert lines(cluster, f"out.{task}") == ["begins", "ends"]
        if task:
            assert f"task {task}: Exited with exit code {task}" in job.text()
    assert strip_times(job.text()) == ["rc 7"]


def test_other_number_of_tasks(cluster):
    """A checkpoint of three tasks is not put into two: the job is held, and says why."""
    cluster.script("step.sh", f"exec {SUBJECT}/ender 60 exit 0\n")
    job = submit(cluster, "n=3; [ ${SLURM_RESTART_COUNT:-0} = 0 ] || n=2\n" + SRUN
                 + "-n $n -o out.%t ./step.sh\n")
    until("output", lambda: len(lines(cluster, "out.2")) > 10)
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the hold", lambda: job.record()["hold"])
    until("words", lambda: "it is of 3 tasks on one node, and this node has 2 of the step"
          in "\n".join(lines(cluster, "out.0")))
    job.cancel()


def test_required_and_not_possible(cluster):
    """Every task hears that the step does not start."""
    done = cluster.run("n1", "srun --checkpoint=required --overcommit -n 3 --container=x true",
                       check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("option, label", [("", "{} "), ("--label", "{}: {} ")])
def test_in_a_protected_script(cluster, option, label):
    """The script goes on where it was, and so do all tasks of its steps. Their lines have
    many lengths: of those that come again as many bytes are dropped as had been there."""
    job = cluster.submit(cluster.script("job.sh", (
        f"export k; for k in 1 2; do echo begin $k; srun --overcommit -n 3 {option} bash -c '"
        f"for i in $(seq {MANY}); do printf \"%s line %s%*s\\n\" $SLURM_PROCID $i "
        f"$((7 + i * 7 * (SLURM_PROCID + 1) % 97)) x; {pace('quick-$k')}; done; exit $SLURM_PROCID'; "
        "echo rc $?; done\n")), options="--requeue --checkpoint")
    prefix = label.format(2, 2)
    job.wait_output(f"^{prefix}line 15 ")
    job.preempt()
    (cluster.home() / "quick-1").touch()
    until("the second", lambda: job.text().count(f"{prefix}line 15 ") == 2)
    job.preempt()
    (cluster.home() / "quick-2").touch()
    assert job.wait_end() == ["COMPLETED"]
    text = strip_times(job.text())
    for task in range(3):
        prefix = label.format(task, task)
        assert [l for l in text if l.startswith(prefix)] == [
            f"{prefix}line {i}{'x':>{7 + i * 7 * (task + 1) % 97}}"
            for i in range(1, MANY + 1)] * 2
    assert [l for l in text if " line " not in l] == ["begin 1", "rc 2", "begin 2", "rc 2"]


def test_not_protected(cluster):
    """Its store cannot be written: all tasks run all the same, and one line says why."""
    home = cluster.home()
    cluster.run("n1", "mkdir -p no; chmod 500 no")
    job = submit(cluster, "srun --checkpoint=dir=$HOME/no/store --overcommit -n 3 -o out.%t "
                 "-e err.%t " + LINES.format(5, "exit $SLURM_PROCID") + "echo rc $?\n")
    assert job.wait_end() == ["COMPLETED"]
    assert strip_times(job.text()) == ["rc 2"]
    for task in range(3):
        assert lines(cluster, f"out.{task}") == expect(task, 5)
    said = [p.read_text().count("this step is not protected") for p in home.glob("err.*")]
    assert sum(said) == 1


def test_on_a_terminal(cluster):
    """The first task has one: nothing of the step is protected, and all of it runs."""
    out = cluster.run("n1", "script -qc 'srun --checkpoint --pty --overcommit -n 2 bash -c "
                      "\"echo task \\$SLURM_PROCID of \\$SLURM_NTASKS\"' /dev/null").stdout
    assert "task 0 of 2" in out and "it runs on a terminal" in out


def test_grace_time(cluster):
    """All tasks are told at its begin, are saved once, and go on."""
    cluster.ctl("scontrol update PartitionName=low GraceTime=20", user="root")
    try:
        job = submit(cluster, SRUN + f"-n 3 -o out.%t {SUBJECT}/ender 600 exit 0\n")
        until("output", lambda: len(lines(cluster, "out.2")) > 10)
        node = job.node
        intruder = cluster.submit("--wrap", "sleep 300", user="user2",
                                  options=f"-w {node} -N1 --exclusive -p high")
        until("the first checkpoint", lambda: job.generations("0") == [1])
        assert job.manifest("0")["reason"] == "preemption, in its grace time"
        until("the end of the grace", lambda: job.node not in (None, node), 90)
        intruder.cancel()
        assert job.generations("0") == [1, 2]
        until("progress", lambda: len(lines(cluster, "out.2")) > 250)
        for task in range(3):
            got = [l for l in lines(cluster, f"out.{task}") if l.startswith("line")]
            assert got == [f"line {i}" for i in range(1, len(got) + 1)]
        job.cancel()
    finally:
        cluster.ctl("scontrol update PartitionName=low GraceTime=0", user="root")


PMI = """\
import os, socket, sys, time
me, n = int(os.environ["PMI_RANK"]), int(os.environ["PMI_SIZE"])
pmi = socket.socket(fileno=int(os.environ["PMI_FD"]))
def ask(text):
    pmi.sendall(b"cmd=" + text.encode() + b"\\n")
    answer = b""
    while not answer.endswith(b"\\n"):
        answer += pmi.recv(1)          # byte by byte: some is unread for long
    return answer.decode().strip()
def say(*words):
    print(*words, flush=True)
def neighbour():
    return ask(f"get kvsname=x key=key{(me + 1) % n}").split("value=")[1]
say(ask("init pmi_version=1 pmi_subversion=1"))
say(ask(f"put kvsname=x key=key{me} value=" + str(me) * 500))
say(ask("barrier_in"))
say(neighbour())
for i in range(60):
    say("line", i)
    if i == 10 and me == 0:
        say(ask("barrier_in"))         # waits for the other one
    if i == 50 and me == 1:
        while not os.path.exists("go"):
            time.sleep(0.1)
        say(ask("barrier_in"))
    time.sleep(0.1)
say(neighbour())
say(os.environ["UCX_TLS"])
say(ask("finalize"))
"""


def test_pmi(cluster):
    """What Slurm's pmi2 was told is told the next slurmstepd: a barrier that one rank
    waited in when it was dumped is passed when the other comes to it."""
    (cluster.home() / "pmi.py").write_text(PMI)
    job = submit(cluster, SRUN + "--mpi=pmi2 -n 2 -o out.%t -e err.%t python3 pmi.py\necho rc $?\n")
    until("output", lambda: "line 25" in lines(cluster, "out.1"))
    assert lines(cluster, "out.0")[-1] == "line 10"
    assert "UCX_TLS=posix,self" in (cluster.home() / "err.0").read_text()
    job.preempt()
    (cluster.home() / "go").touch()
    waits = [p["waits"] for p in job.manifest("0")["pmi"]]
    assert waits == [True, False]
    assert job.wait_end() == ["COMPLETED"]
    assert strip_times(job.text()) == ["rc 0"]
    for task in (0, 1):
        got = lines(cluster, f"out.{task}")
        at = (11 if task == 0 else 51) + 4
        assert got == (["cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1",
                        "cmd=put_result rc=0", got[2], str(1 - task) * 500]
                       + [f"line {i}" for i in range(at - 4)] + [got[at]]
                       + [f"line {i}" for i in range(at - 4, 60)]
                       + [str(1 - task) * 500, "posix,self", "cmd=finalize_ack rc=0"])
        assert got[2].startswith("cmd=barrier_out") and got[at].startswith("cmd=barrier_out")
