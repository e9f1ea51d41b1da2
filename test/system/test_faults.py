# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that fails: a file system of the test's own (test/subject/faulty.py) over it
on n1. On demand the program is unharmed; at a stop the generation before stays
and the job goes on from it; the log says what happened. Errors at a point
that a file system cannot know are put into the agent's system calls by strace."""
import contextlib
import time

import pytest

from conftest import pace, until
from test_refusals import held

SUBJECT = "/shared/subject"
AGENT = "a=$(pgrep -f '^/usr/libexec/sckpt/sckpt-agent .* step={0} .*job={1} '); "


@contextlib.contextmanager
def injected(cluster, job, what, options="", step="batch"):
    """strace holds the agent and all its threads while this lasts."""
    node = job.node
    agent = AGENT.format(step, job.number)
    cluster.run(node, agent +
                f"setsid strace -qq -f -o /tmp/trace -p $a -e trace={what.split(':')[0]} "
                f"-e inject={what} {options} >/dev/null 2>&1 </dev/null & echo $! >/tmp/tracer; "
                + agent +
                "for i in $(seq 6000); do grep -q '^TracerPid:\t[1-9]' /proc/$a/status && exit; "
                "sleep 0.01; done; exit 1", user="root")
    yield
    cluster.run(node, "t=$(cat /tmp/tracer); kill $t && tail --pid=$t -s 0.1 -f /dev/null",
                user="root", check=False)


@contextlib.contextmanager
def stopped(cluster, job):
    """The job is requeued, and however slow the machine is, Slurm kills nothing while this lasts."""
    node = job.node
    stepd = f"$(pgrep -f '^slurmstepd: .{job.number}.batch.')"
    told = f"[{job.number}.batch] Sent signal 15 to"
    before = cluster.log(node).count(told)
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the stop", lambda: cluster.log(node).count(told) > before)
    # It has told the step, and is who would kill it.
    cluster.run(node, f"kill -STOP {stepd}", user="root")
    try:
        yield
    finally:
        cluster.run(node, f"kill -CONT {stepd}", user="root")


def start(cluster, seconds=3600, options=""):
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {seconds} exit 0\n")
    job = cluster.submit(script, options=f"--requeue --checkpoint -w n1 -e err {options}")
    job.wait_output("^line 10$")
    return job


def order(cluster, job, name, store=None, signal=True):
    """A checkpoint on demand, as sckpt create orders it."""
    store = store or cluster.inside(job.store())
    cluster.run("n1", f"umask 077; echo {name} >{store}/request")
    cluster.ctl(f"scancel -s URG --batch {job.number}", user=job.user)


def answer(cluster, job, name, seconds=60):
    """The text of status.json when it answers; None: saved."""
    import json

    def answered():
        path = job.store() / "status.json"
        try:
            s = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        return s if s["request"] == name and s["state"] in ("saved", "refused") else None

    s = until(f"the answer to {name}", answered, seconds)
    return None if s["state"] == "saved" else s["text"]


class Faulty:
    """The file system over user1's store on n1; from elsewhere the store is whole."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.state = "/run/faulty"
        cluster.run("n1", "mkdir -p -m 700 ~/.sckpt")
        cluster.run("n1", f"mkdir {self.state}; echo none >{self.state}/fault; "
                    f"touch {self.state}/seen; python3 {SUBJECT}/faulty.py "
                    f"/home/user1/.sckpt {self.state}", user="root")

    def set(self, fault):
        self.cluster.run("n1", f"echo {fault} >{self.state}/new; >{self.state}/seen; "
                         f"mv {self.state}/new {self.state}/fault", user="root")

    def seen(self):
        """What it refused, or held, since then."""
        return self.cluster.run("n1", f"cat {self.state}/seen", user="root").stdout.split("\n")[:-1]

    def end(self):
        self.set("none")
        self.cluster.run("n1", "scancel -u user1; umount -l /home/user1/.sckpt", user="root")
        self.cluster.idle()  # the last who had it open
        self.cluster.run("n1", f"rm -r {self.state}", user="root")


@pytest.fixture
def faulty(cluster):
    f = Faulty(cluster)
    yield f
    f.end()


def refused(cluster, after=0):
    """What the job's log says of a checkpoint that was refused."""
    err = cluster.home() / "err"
    until("the refusal", lambda: "sckpt: no checkpoint of step" in err.read_text()[after:])
    return err.read_text()[after:]


def restored(cluster):
    """Its output is then as it was at the checkpoint."""
    until("the restore", lambda: "restored from checkpoint" in (cluster.home() / "err").read_text())


def goes_on(job, lines=10):
    """Its output grows, and nothing of it is missing."""
    n = len(job.text().splitlines())
    until("progress", lambda: len(job.text().splitlines()) > n + lines)
    got = job.text()[:job.text().rindex("\n")].splitlines()
    assert got == [f"line {i}" for i in range(1, len(got) + 1)]


FAULTS = {
    "write": "Input/output error",
    "fsync": "Input/output error",
    "full": "No space left on device",
    "readonly": "Read-only file system",
}


def test_on_demand(cluster, faulty):
    """Refused with the reason; the program runs on, and the next one works."""
    job = start(cluster)
    order(cluster, job, "one")
    assert answer(cluster, job, "one") is None
    saved = ["1-0 whole"]
    for number, (fault, says) in enumerate(FAULTS.items(), 2):
        before = {p.name for p in job.store().iterdir()}
        log = len((cluster.home() / "err").read_text())
        faulty.set(fault)
        order(cluster, job, f"bad-{fault}")
        text = refused(cluster, log)
        assert says in text, text
        assert faulty.seen(), "the fault was never met"
        goes_on(job)
        assert job.verify() == saved
        faulty.set("none")
        order(cluster, job, f"good-{fault}")
        assert answer(cluster, job, f"good-{fault}") is None
        saved = [f"{number}-0 whole"] + saved[:1]
        assert job.verify() == saved
        after = {p.name for p in job.store().iterdir()}
        left = {n for n in after - before if not n.startswith(f"{number}-0")}
        assert left == set(), "left-overs"
    goes_on(job)


def test_full_while_a_step_prints(cluster, faulty):
    """What comes by a pipe is nowhere else: it waits, and is saved when there is room."""
    script = cluster.script("job.sh", f"srun --checkpoint {SUBJECT}/ender 3600 exit 0\n")
    job = cluster.submit(script, options="--requeue -e err")
    assert job.wait_running() == "n1"  # both are idle: the first of them
    job.wait_output("^line 10$")
    faulty.set("full")
    until("a line that cannot be kept", lambda: "write full" in faulty.seen())
    goes_on(job)
    store = cluster.inside(job.store("0"))
    cluster.run("n1", f"umask 077; echo early >{store}/request")
    cluster.ctl(f"scancel -s URG {job.number}.0")
    text = refused(cluster)
    assert FAULTS["full"] in text and "tried again" in text, text
    faulty.set("none")
    cluster.run("n1", f"sckpt create {job.number}.0")
    assert job.verify("0") == ["1-0 whole"]
    job.preempt()
    goes_on(job)


INJECTED = [
    ("pwrite64:error=EDQUOT", "Disk quota exceeded"),
    ("fsync:error=ENOSPC:when=3+", "No space left on device"),
    ("renameat:error=EIO", "Input/output error"),
]


@pytest.mark.parametrize("what, says", INJECTED)
def test_on_demand_injected(cluster, what, says):
    """As above, by strace."""
    job = start(cluster)
    order(cluster, job, "one")
    assert answer(cluster, job, "one") is None
    assert job.verify() == ["1-0 whole"]
    before = {p.name for p in job.store().iterdir()}
    with injected(cluster, job, what):
        order(cluster, job, "two")
        if not what.startswith("renameat"):  # status.json is renamed too
            text = answer(cluster, job, "two")  # the last word: left-overs are gone
            assert text and says in text, text
        assert says in refused(cluster)
    assert job.verify() == ["1-0 whole"]
    assert {p.name for p in job.store().iterdir()} == before, "left-overs"
    order(cluster, job, "three")
    assert answer(cluster, job, "three") is None
    assert job.verify() == ["2-0 whole", "1-0 whole"]
    goes_on(job)


@pytest.mark.parametrize("fault", ["write", "readonly"])
def test_preempted(cluster, faulty, fault):
    """The generation before stays, and the job goes on from it elsewhere."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 3600 exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -e err")
    assert job.wait_running() == "n1"  # both are idle: the first of them
    job.wait_output("^line 10$")
    order(cluster, job, "one")
    assert answer(cluster, job, "one") is None
    faulty.set(fault)
    log = []
    # Before it runs again: that begins its log anew.
    job.preempt(hold=lambda: log.append(refused(cluster)))
    assert faulty.seen(), "the fault was never met"
    assert FAULTS[fault] in log[0], log
    assert job.verify() == ["1-0 whole"]
    restored(cluster)
    goes_on(job)


def test_store_hangs_for_20_s(cluster, faulty):
    """Whatever is asked of it waits: the program runs meanwhile, and it is saved."""
    job = start(cluster)
    order(cluster, job, "first")
    assert answer(cluster, job, "first") is None
    faulty.set("hang")
    order(cluster, job, "slow")
    until("a request that hangs", faulty.seen)
    begin = time.monotonic()
    goes_on(job, 100)
    assert job.generations() == [1]
    time.sleep(max(0, 20 - (time.monotonic() - begin)))
    faulty.set("none")
    assert answer(cluster, job, "slow", 65) is None
    assert job.verify() == ["2-0 whole", "1-0 whole"]
    goes_on(job)


@contextlib.contextmanager
def writing(cluster, script, seconds, options=""):
    """A job whose second checkpoint is on its way to the disk, and takes so long for it."""
    job = cluster.submit(cluster.script("job.sh", script),
                         options=f"--requeue --checkpoint -w n1 -e err {options}")
    job.wait_output("^line 10$")
    # Criu's probing of the kernel traces a child of its own, and cannot when it
    # is traced itself: what it finds is kept from here on.
    order(cluster, job, "first")
    assert answer(cluster, job, "first") is None
    with injected(cluster, job, f"fsync:delay_enter={seconds}000000:when=1"):
        order(cluster, job, "late")
        until("it to be written", lambda: '"writing", "request": "late"' in
              (job.store() / "status.json").read_text())
        yield job


def test_program_ends_while_it_is_saved(cluster):
    """Its checkpoint is still on its way to the disk: the end is its own."""
    script = "for ((i = 1; ; i++)); do echo line $i; [ -e end ] && exit 0; sleep 0.1; done\n"
    with writing(cluster, script, 10) as job:
        (cluster.home() / "end").touch()
        assert job.wait_end() == ["COMPLETED"]
    assert job.exit() == (0, 0)
    lines = job.text().splitlines()
    assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]
    assert "killed" not in (cluster.home() / "err").read_text()


def test_told_to_end_while_it_is_saved(cluster):
    """And the disk takes longer than Slurm waits: the program is told before it is killed, and the
    generation before stays."""
    script = "trap 'touch told' TERM; for ((i = 1; ; i++)); do echo line $i; sleep 0.1; done\n"
    with writing(cluster, script, 50, "--open-mode=append") as job:
        with stopped(cluster, job):
            until("the program's handler", (cluster.home() / "told").exists)
        until("the end", lambda: job.node is None)
    assert "another one was being written when the step was told to end" in (cluster.home() / "err").read_text()
    restored(cluster)
    goes_on(job)
    # It was still written, or not: SIGKILL comes some seconds later.
    assert job.generations() in ([1], [1, 2])


def test_cancelled_while_it_is_saved(cluster):
    """Nothing is to be saved: the program is told at once, not when that checkpoint is done."""
    script = "trap 'touch told' TERM; for ((i = 1; ; i++)); do echo line $i; sleep 0.1; done\n"
    with writing(cluster, script, 40) as job:
        job.cancel()
        until("the program's handler", (cluster.home() / "told").exists)
        assert "another one was being written" not in (cluster.home() / "err").read_text()
        assert job.generations() == [1]
    job.wait_end()


def test_quota(cluster):
    """The second checkpoint would exceed it: refused in words."""
    cluster.conf("quota=6M\n")
    program = ("import itertools, os, time\nmemory = os.urandom(3 << 20)\n"
               "for i in itertools.count(1):\n    print('line', i, flush=True)\n"
               "    time.sleep(0.1)\n"
               "    if os.path.exists('more'):\n"
               "        memory = os.urandom(3 << 20)\n        os.rename('more', 'done')\n")
    (cluster.home() / "program.py").write_text(program)
    job = cluster.submit(cluster.script("job.sh", "exec python3 program.py\n"),
                         options="--requeue --checkpoint -w n1 -e err")
    job.wait_output("^line 10$")
    order(cluster, job, "one")
    assert answer(cluster, job, "one") is None
    cluster.run("n1", "touch more")
    until("the change", (cluster.home() / "done").exists)
    order(cluster, job, "two")
    text = answer(cluster, job, "two")
    assert text and "left of the quota" in text, text
    assert job.verify() == ["1-0 whole"]
    goes_on(job)


def test_no_room_for_its_output(cluster):
    """Of what was said before, at the restore: the job is held, and what it goes on from when there is room
    is its newest checkpoint."""
    text = "x" * 300
    cluster.run("n1", "mkdir -p /shared/small; mount -t tmpfs -o size=1m,mode=1777 none /shared/small", user="root")
    try:
        job = cluster.submit(cluster.script(
            "job.sh", f"for i in $(seq 3000); do echo line $i {text}; {pace('go')}; done; echo out >&2\n"),
            options="--requeue --checkpoint -w n1 -o /shared/small/out -e err")
        said = lambda: cluster.run("n1", "cat /shared/small/out", check=False).stdout.splitlines()  # noqa: E731
        until("some lines", lambda: len(said()) > 20)
        cluster.run("n1", f"sckpt create {job.number}")
        seen = len(said())
        until("more lines", lambda: len(said()) > seen + 20)
        job.vacate("n1")
        assert job.generations() == [1, 2]
        cluster.run("n1", ">/shared/small/out; head -c 2m /dev/zero >/shared/small/full; true", user="root")
        cluster.ctl(f"scontrol release {job.number}")
        held(job)
        err = (cluster.home() / "err").read_text()
        assert "No space left on device" in err and "generation 1" not in err, err
        cluster.run("n1", "rm /shared/small/full", user="root")
        (cluster.home() / "go").touch()
        cluster.ctl(f"scontrol release {job.number}")
        assert job.wait_end() == ["COMPLETED"]
        assert said() == [f"line {i} {text}" for i in range(1, 3001)]
        err = (cluster.home() / "err").read_text()
        assert "restored from checkpoint 2 on n1" in err, err
    finally:
        cluster.run("n1", "umount /shared/small", user="root")


def test_full_before_it_starts(cluster):
    """No room even for a claim: a fresh job runs unprotected, and says so."""
    cluster.run("n1", "mkdir -p /shared/small; "
                "mount -t tmpfs -o size=1m,mode=1777 none /shared/small; "
                "mkdir -m 700 /shared/small/user1 /shared/small/user1/test; chown -R user1: /shared/small/user1; "
                "head -c 2m /dev/zero >/shared/small/full; true", user="root")
    try:
        cluster.conf("dir=/shared/small/%u\n")
        done = cluster.run("n1", "srun -w n1 --checkpoint echo it runs")
        assert done.stdout == "it runs\n"
        assert "this step is not protected: " in done.stderr
        assert "No space left on device" in done.stderr
    finally:
        cluster.run("n1", "umount /shared/small", user="root")
