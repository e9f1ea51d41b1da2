# SPDX-License-Identifier: GPL-2.0-or-later
"""Output exactly once: what a program writes to files holds the bytes of an
uninterrupted run, whatever happened to it."""
import concurrent.futures
import os

from conftest import COMMAND, sh, until
from test_kill import bring_back, shell

SUBJECT = "/shared/subject"
LINES = 2000


def plain(text):
    """Less what Slurm and sckpt say of the job themselves."""
    return [l for l in text.splitlines()
            if not l.startswith(("sckpt: ", "srun: ", "slurmstepd"))]


def said(text):
    return [l for l in text.splitlines() if l.startswith("sckpt: ")]


def numbered(word, n=LINES):
    return [f"{word} {i}" for i in range(1, n + 1)]


class Writer:
    """A job that runs writer.py as its step."""

    def __init__(self, cluster, name, options="", words="", step="batch", srun="",
                 before=""):
        home = cluster.home()
        self.cluster, self.name, self.step = cluster, name, step
        self.appends = "append" in options
        self.out, self.err = home / f"{name}.out", home / f"{name}.err"
        if "%t" in srun:  # slurmstepd opens them, and not srun
            self.out, self.err = home / f"{name}.0.out", home / f"{name}.0.err"
            srun = f"-o {name}.%t.out -e {name}.%t.err"
        self.append, self.write = home / f"{name}.append", home / f"{name}.write"
        program = f"{SUBJECT}/writer.py {LINES} {name} {words}"
        checkpoint = "--checkpoint" if step == "batch" else ""
        script = cluster.script(
            f"{name}.sh", before + (f"exec {program}\n" if step == "batch" else
                                    f"srun --checkpoint {srun} {program}\n"))
        self.job = cluster.submit(
            script, options=f"--requeue {checkpoint} -o {name}.out -e {name}.err "
            f"{options}")

    def wait_line(self, n, seconds=60):
        until(f"line {n} of {self.name}: {self.err.read_text() if self.err.exists() else ''}",
              lambda: self.append.exists() and f"append {n}\n" in self.append.read_text(),
              seconds)

    def lines(self):
        return self.append.read_text().count("\n")

    def checkpoint(self, name="one"):
        before = self.job.generations(self.step)
        node = self.job.wait_running()
        here = self.cluster.inside(self.job.store(self.step))
        shell(self.cluster, self.job, node,
              f"setpriv --reuid 1001 --regid 1001 --clear-groups sh -c "
              f"'umask 077; echo {name} >{here}/request'; kill -URG $s")
        until(f"a checkpoint of {self.name}",
              lambda: len(set(self.job.generations(self.step)) - set(before)) == 1)

    def kill(self):
        """kill -9 of the agent; returns once nothing of the job runs."""
        node = self.job.wait_running()
        shell(self.cluster, self.job, node, "kill -KILL $a")
        until(f"{self.name} to stop", lambda: "RUNNING" not in self.job.state)

    def go_on(self):
        bring_back(self.cluster, self.job)

    def later(self, n=10):
        """Waits for some lines that are not in the last checkpoint."""
        self.wait_line(self.lines() + n)

    def is_exact(self, out=True):
        (self.job.home / f"{self.name}.fast").touch()
        until(f"the end of {self.name}", lambda: self.job.record()["hold"] or
              self.job.state == ["COMPLETED"], 120)
        assert self.job.state == ["COMPLETED"], said(self.err.read_text())
        assert self.append.read_text().splitlines() == numbered("append")
        assert self.write.read_text().splitlines() == numbered("write")
        if out:
            assert plain(self.out.read_text()) == numbered("out") + ["end"]
            assert plain(self.err.read_text()) == numbered("err")

    def cut(self, file):
        """What was cut off a file, by name."""
        return {p.name: p.read_text(errors="replace") for p in file.parent.iterdir()
                if p.name.startswith(file.name + ".sckpt-cut.")}


def together(work, items):
    """Each item's work beside the others': most of it is waiting for Slurm."""
    with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
        for f in [pool.submit(work, item) for item in items]:
            f.result()


def test_agent_is_killed(cluster):
    """Between checkpoints, twice from the same one; both modes of the output."""
    def work(w):
        w.wait_line(5)
        w.checkpoint()
        for _ in range(2):
            w.later()
            at = w.lines()
            w.kill()
            w.go_on()
        w.is_exact()
        cut = w.cut(w.append)
        assert len(cut) == 2
        # A second time to what it had been cut to, and on from there.
        last = cut[f"{w.append.name}.sckpt-cut.{w.job.number}.2"].splitlines()
        first = int(last[0].split()[1])
        assert last == [f"append {i}" for i in range(first, first + len(last))]
        assert first + len(last) - 1 >= at
        if w.appends:
            assert len(w.cut(w.out)) == len(w.cut(w.err)) == 2
        else:
            assert not w.cut(w.out)
        # Each of them is told, by name.
        if w.name == "appended":
            told = said(w.err.read_text())
            for file in (w.append, w.write, w.out, w.err):
                assert [l for l in told if "were cut off and lie in " in l
                        and l.endswith(f"/{file.name}.sckpt-cut.{w.job.number}.2")]

    together(work, [Writer(cluster, "truncated"),
                    Writer(cluster, "appended", "--open-mode=append"),
                    Writer(cluster, "piped", step="0"),
                    Writer(cluster, "stepped", "--open-mode=append", step="0",
                           srun="%t")])


def test_older_generation(cluster):
    """The newest cannot be restored: the output goes back further."""
    def work(w):
        w.wait_line(5)
        least = w.lines()
        w.checkpoint()
        most = w.lines()
        w.later()
        w.checkpoint("two")
        w.later()
        w.kill()
        pack = max(w.job.store(w.step).glob("2-0.*.pack"))
        data = bytearray(pack.read_bytes())
        for i in range(100, len(data), 1000):
            data[i] ^= 1
        pack.write_bytes(data)
        w.go_on()
        w.is_exact()
        assert "generation 2: " in "\n".join(said(w.err.read_text()))
        cut, = w.cut(w.append).values()
        assert least < int(cut.split()[1]) <= most + 1

    together(work, [Writer(cluster, "truncated"),
                    Writer(cluster, "appended", "--open-mode=append")])


def test_written_in_place(cluster):
    """Without files=copy: told at the dump, once for each file, and not gone on
    from with a data base that has grown since."""
    w = Writer(cluster, "w", words="in-place")
    w.wait_line(5)
    for name in ("one", "two"):
        w.checkpoint(name)
        w.later(5)
    told = said(w.err.read_text())
    for file in ("w.place", "w.db"):
        assert len([l for l in told if f"/{file} (" in l and "is written in place" in l
                    and "files=copy" in l]) == 1, told
    w.later(100)  # so that the data base has grown
    w.kill()
    w.go_on()
    until("the job to be held", lambda: w.job.record()["hold"])
    assert ("/w.db, which the program writes, has another size, and is written in place; "
            "files=copy would have kept its content" in w.err.read_text())
    assert not w.cut(w.append)


def test_files_copy(cluster):
    """What is written in place travels with the checkpoint."""
    cluster.conf("files=copy\n")
    w = Writer(cluster, "w", words="in-place")
    w.wait_line(5)
    w.checkpoint()
    w.later(100)
    w.kill()
    w.go_on()
    w.later(5)
    w.checkpoint("two")
    w.checkpoint("three")
    files = {f["path"].rsplit("/")[-1]: f for f in w.job.manifest()["files"]}
    assert files["w.place"]["copy"] and files["w.db"]["copy"]
    assert not files["w.append"]["copy"] and files["w.append"]["appended"]
    store = w.job.store()
    assert (store / files["w.db"]["copy"]).stat().st_size == files["w.db"]["size"]
    # Two generations are kept, and no file of another: when what was told is tidied up, too.
    until("the files of the first to go", lambda: {p.name.split("-")[0] for p in store.glob("*.file")} == {
        str(g) for g in w.job.generations()})
    w.is_exact()  # it says so when a file is not as it remembers
    for file in ("w.place", "w.db"):
        assert len(w.cut(w.append.with_name(file))) == 1
    assert not store.exists()


def test_changed_otherwise(cluster):
    """A file that is not what it was: the job is held, says which and why, and goes
    on when it is put back."""
    def gone(file, text):
        file.rename(file.with_suffix(".away"))

    def shorter(file, text):
        os.truncate(file, 20)

    def other(file, text):
        file.write_bytes(text.replace(b"1", b"7"))

    def work(case):
        w, change, why = case
        w.wait_line(40)
        w.checkpoint()
        w.later()
        w.kill()
        text = w.append.read_bytes()
        change(w.append, text)
        w.go_on()
        until(f"{w.name} to be held", lambda: w.job.record()["hold"])
        assert (f"/{w.append.name}, which the program writes, {why}"
                in w.err.read_text()), w.err.read_text()
        away = w.append.with_suffix(".away")
        if away.exists():
            away.rename(w.append)
        w.append.write_bytes(text)
        cluster.ctl(f"scontrol release {w.job.number}")
        cluster.ctl(f"scontrol update job {w.job.number} StartTime=now+2", check=False)
        w.is_exact()

    together(work, [
        (Writer(cluster, "gone"), gone, "is gone"),
        (Writer(cluster, "shorter"), shorter, "is shorter than it was"),
        (Writer(cluster, "other"), other, "does not hold any more what it held")])


def test_others_write_too(cluster):
    """What others appended is never cut off: another job with the same output, and
    somebody while the job waited."""
    home = cluster.home()
    log = home / "log"
    script = cluster.script(
        "both.sh", "exec >>$1 5>>log; for i in $(seq 3000); do echo $1 out $i; "
        "echo $1 log $i >&5; [ -e fast ] || sleep 0.1; done\n")

    def lines(name, file=log):
        return [l for l in (file.read_text() if file.exists() else "").splitlines()
                if l.startswith(f"{name} log ")]

    a, b = [cluster.submit(script, name, options="--requeue --checkpoint -o same.out "
                           "--open-mode=append") for name in "ab"]
    until("both to write", lambda: len(lines("a")) > 5 and len(lines("b")) > 5)
    for job in (a, b):
        here = cluster.inside(job.store())
        shell(cluster, job, job.wait_running(),
              f"setpriv --reuid 1001 --regid 1001 --clear-groups sh -c "
              f"'umask 077; echo x >{here}/request'; kill -URG $s")
    until("both checkpoints", lambda: a.generations() and b.generations())
    n = len(lines("a"))
    until("lines of both", lambda: len(lines("a")) > n + 5)
    shell(cluster, a, a.node, "kill -KILL $a")
    until("a to stop", lambda: "RUNNING" not in a.state)
    before = log.read_text()
    bring_back(cluster, a)
    n = len(lines("a"))
    until("a to go on", lambda: len(lines("a")) > n + 3)
    assert log.read_text().startswith(before)
    assert [l for l in said((home / "same.out").read_text()) if "/log was appended to" in l
            and "not by this program alone: nothing is cut off" in l]
    numbers = [int(l.split()[2]) for l in lines("b")]
    assert numbers == list(range(1, len(numbers) + 1))
    b.cancel()
    a.cancel()


def test_appended_while_it_waited(cluster):
    """A preempted job's checkpoint is its last word: what is behind it in a file
    is of others."""
    w = Writer(cluster, "w", "--open-mode=append")
    w.wait_line(20)
    cluster.ctl(f"scontrol requeuehold {w.job.number}")
    until("it to be held", lambda: w.job.record()["hold"]
          and "COMPLETING" not in w.job.state)
    n = w.lines()
    with w.append.open("a") as f:
        f.write("by hand\n")
    cluster.ctl(f"scontrol release {w.job.number}")
    cluster.ctl(f"scontrol update job {w.job.number} StartTime=now+2", check=False)
    w.wait_line(n + 5)
    text = w.append.read_text().splitlines()
    assert text[n] == "by hand"
    # Others write to it: after a crash nothing is cut off, and it is told.
    w.checkpoint()
    w.later()
    w.kill()
    w.go_on()
    until("it to go on", lambda: w.job.node)
    (w.job.home / "w.fast").touch()
    assert w.job.wait_end() == ["COMPLETED"]
    assert not w.cut(w.append)
    assert [l for l in said(w.err.read_text()) if "/w.append was appended to" in l]
    assert w.write.read_text().splitlines() == numbered("write")
    # Slurm's notice that the job was stopped does not stay in its output.
    assert w.out.read_text().splitlines() == numbered("out") + ["end"]


def test_node_crashes(cluster):
    """The node between two checkpoints: as if it had not happened."""
    w = Writer(cluster, "appended", "--open-mode=append")
    w.wait_line(5)
    w.checkpoint()
    w.later(20)
    node = w.job.node
    sh(COMMAND, "crash", node)
    try:
        until("another node", lambda: w.job.node not in (None, node), 90)
        w.is_exact()
        for file in (w.append, w.write, w.out, w.err):
            assert len(w.cut(file)) == 1
    finally:
        sh(COMMAND, "boot", node)
