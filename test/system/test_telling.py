# SPDX-License-Identifier: GPL-2.0-or-later
"""What people are told of checkpoints: lines on standard error, the job's Comment,
the log in the store, and sckpt report made of it."""
import html.parser
import re
import time
import xml.etree.ElementTree

from conftest import COMMAND, MANY, PACE, sh, until
from test_command import FAILED, NOT_FOUND, USAGE, said, sckpt
from test_kill import bring_back, shell

HOSTILE = "\"><script>alert('x')</script>&amp;"


def lines_script(cluster, count, name="lines.sh"):
    return cluster.script(
        name, f"for i in $(seq {count}); do echo line $i; echo err $i >&2; {PACE}; done\n")


def ours(text):
    return [l for l in text.splitlines() if l.startswith("sckpt: ")]


def others(text):
    return [l for l in text.splitlines() if not l.startswith(("sckpt: ", "slurmstepd"))]


def comment(job):
    return job.record()["comment"]


class Page(html.parser.HTMLParser):
    """Every tag is closed, and what is in them."""
    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data):
        self.words.append(data)


def is_page(text):
    """Whole, with drawings that are XML, and nothing that loads or runs."""
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "href"), (name, value)
    assert "http" not in text.replace("http-equiv", "")
    drawings = re.findall(r"<svg.*?</svg>", text, re.S)
    for svg in drawings:
        xml.etree.ElementTree.fromstring(svg)
    return page, drawings


def test_twice_preempted_and_crashed(cluster):
    """The figures are right, as far as can be known."""
    home = cluster.home()
    begun = time.time()
    job = cluster.submit(lines_script(cluster, MANY), "x",
                         options=f"--requeue --checkpoint -e err -J '{HOSTILE}'"
                         .replace("'x'", "'\"'\"'x'\"'\"'"))
    job.wait_output("^line 20$")
    stops = []
    for n in (1, 2):
        stops.append(job.preempt())
        # At the stop it is not waited for for long.
        until("the restore in the Comment",
              lambda: f": restored from checkpoint {n} on {job.node} after" in comment(job))  # noqa: B023
        job.wait_output(f"^line {20 + 20 * n}$")
    (made,) = said(cluster, "create", job.number)
    assert made["generation"] == 3
    taken = time.time()
    at = len(job.text().splitlines())
    job.wait_output(f"^line {at + 30}$")
    node = job.node
    crashed = time.time()
    sh(COMMAND, "crash", node)
    try:
        until("the job to be put back", lambda: job.node != node, 120)
        back = time.time()
        until("another node", lambda: job.node not in (None, node), 120)
        # Slurm's RUNNING comes before the restore: what is lost is known by that.
        while_it_runs = until("the restore in the report", lambda: [
            r for r in said(cluster, "report", job.number) if r["restores"] == 3])
        assert job.finish() == ["COMPLETED"]
    finally:
        sh(COMMAND, "boot", node)
    ended = time.time()

    # Output exactly once; on standard error sckpt's own lines, too.
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    err = (home / "err").read_text()
    assert others(err) == [f"err {i}" for i in range(1, MANY + 1)]
    told = ours(err)
    assert any(re.fullmatch(r"sckpt: restored from checkpoint 3 on n[12] after "
                            r"(\d+ s|\d+ min \d+ s)", l) for l in told), told

    (report,) = said(cluster, "report", job.number)
    assert set(report) == {
        "id", "cluster", "job", "step", "array", "name", "command", "state", "checkpoints",
        "restores", "refused", "work_us", "saved_us", "lost_us", "lost_at_most", "stopped_us",
        "waited_us", "stored_bytes", "runs", "events"}
    assert report["id"] == f"{job.number}.batch" and report["state"] == "exit 0"
    assert report["name"] == HOSTILE
    assert (report["checkpoints"], report["restores"], report["refused"]) == (3, 3, 0)
    runs = report["runs"]
    assert [r["run"] for r in runs] == [0, 1, 2, 3]
    assert [r["restored_from"] for r in runs] == [0, 1, 2, 3]
    assert [r["end_known"] for r in runs] == [True, True, False, True]
    assert [r["node"] for r in runs[:2]] == stops
    for r in runs:
        assert set(r) == {"run", "node", "waited_us", "begin_us", "from_us", "end_us",
                          "end_known", "kept_until_us", "restored_from"}
        assert begun <= r["begin_us"] / 1e6 <= r["from_us"] / 1e6 <= r["end_us"] / 1e6 <= ended
    # All that ran counts, or was lost.
    ran = sum(r["end_us"] - r["from_us"] for r in runs)
    assert ran == report["work_us"] + report["lost_us"]
    # What came before the last restore.
    assert report["saved_us"] + runs[3]["end_us"] - runs[3]["from_us"] == report["work_us"]
    # Lines of a tenth of a second, and a little for each.
    assert at * 0.1 - 2 <= report["saved_us"] / 1e6 <= at * 0.5 + 15
    # Lost is what ran from the checkpoint to the crash, and said to be at most so
    # much: Slurm's word of it came later.
    assert report["lost_at_most"]
    assert crashed - taken - 1 <= report["lost_us"] / 1e6 <= back - made["time"] + 2
    assert while_it_runs[0]["state"] in ("RUNNING", "COMPLETING")
    assert while_it_runs[0]["lost_us"] > 0
    kinds = [e["event"] for e in report["events"]]
    assert kinds.count("begin") == 4 and kinds[-1] == "end"
    reasons = [e["reason"] for e in report["events"] if e["event"] == "checkpoint"]
    assert reasons == ["preemption", "preemption", "sckpt create"], reasons

    table = sckpt(cluster, "report").stdout.splitlines()
    assert table[0].split() == ["ID", "STATE", "RUNS", "CHECKPOINTS", "WORK", "SAVED", "LOST",
                                "STOPPED", "WAITED", "NAME"]
    (row,) = [l for l in table if l.startswith(f"{job.number}.batch ")]
    assert " <= " in row

    sckpt(cluster, "report", "--html", "r.html")
    page, drawings = is_page((home / "r.html").read_text())
    # The job's name is text, and nothing else.
    assert HOSTILE in "".join(page.words)
    timeline = xml.etree.ElementTree.fromstring(drawings[-1])
    classes = [e.get("class") for e in timeline.iter() if e.get("class")]
    assert classes.count("work") == 4 and classes.count("lost") == 1
    assert classes.count("wait") == 3 and classes.count("restore") == 3
    assert classes.count("mark end") == 2 and classes.count("mark") == 1
    assert sckpt(cluster, "report", "--html", "-").stdout.startswith("<!DOCTYPE html>")

    # Nothing else is left in the store; remove takes the log, too.
    assert said(cluster, "list") == [] and not job.store().parent.exists()
    sckpt(cluster, "report", job.number, "--since", "1h")
    assert said(cluster, "report", "--since", "0") == []
    assert f"removed {job.number}.batch" in sckpt(cluster, "remove", job.number).stdout
    sckpt(cluster, "report", job.number, rc=NOT_FOUND)


def test_comment_of_the_users(cluster):
    """A Comment of the user's own is left alone, whenever it came."""
    first = cluster.submit(lines_script(cluster, 3000), options="--requeue --checkpoint "
                           "--comment='my own'")
    later = cluster.submit(lines_script(cluster, 3000), options="--requeue --checkpoint")
    for job in (first, later):
        job.wait_output("^line 5$")
        sckpt(cluster, "create", job.number)
    until("ours", lambda: comment(later).startswith("sckpt: batch: "))
    assert re.fullmatch(r"sckpt: batch: \d{4}-\d\d-\d\dT[\d:]{8}: checkpoint 1 taken in [\d.]+ m?s "
                        r"\(stopped [\d.]+ m?s\), [\d.]+ MiB, on n[12]", comment(later).strip())
    # The next one is no reason to ask slurmctld again.
    sckpt(cluster, "create", later.number)
    cluster.ctl(f"scontrol update job {later.number} Comment=theirs")
    for job in (first, later):
        job.cluster.ctl(f"scontrol requeue {job.number}")
    for job in (first, later):
        until("the restore", lambda: job.node and "restore" in [
            e["event"] for e in said(cluster, "report", job.number)[0]["events"]])
    # It is asked once the program runs: then, too.
    for job in (first, later):
        until("slurmctld's answer", lambda: "requeued" in [
            e["event"] for e in said(cluster, "report", job.number)[0]["events"]])
    assert (comment(first), comment(later)) == ("my own", "theirs")


def test_one_file_for_both(cluster):
    """Where standard output and error are one file it holds the program's bytes alone."""
    job = cluster.submit(lines_script(cluster, MANY), options="--requeue --checkpoint")
    job.wait_output("^line 5$")
    sckpt(cluster, "create", job.number)
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the next run", lambda: job.record()["restart_cnt"] == 1 and job.node)
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [
        f"{word} {i}" for i in range(1, MANY + 1) for word in ("line", "err")]
    # A checkpoint that cannot be taken is told all the same.
    script = cluster.script("zoo.sh", "mkdir -p z; exec /shared/subject/zoo --state $PWD/z "
                                      "--only inotify\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    until("zoo", lambda: (cluster.home() / "z" / "ready").exists())
    sckpt(cluster, "create", job.number, rc=FAILED)
    job.wait_output(f"^sckpt: no checkpoint of step {job.number}.batch: .*inotify")
    until("the refusal in the Comment", lambda: "no checkpoint: zoo[1001]" in comment(job))
    (report,) = said(cluster, "report", job.number)
    assert report["refused"] == 1 and report["checkpoints"] == 0
    job.cancel()


def test_lines_stay_in_append_mode(cluster):
    """sckpt's own lines are no reason to cut a file, nor a sign of others."""
    script = cluster.script("quiet.sh", f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n"
                            "echo last >&2\n")
    job = cluster.submit(script, options="--requeue --checkpoint --open-mode=append "
                         "-o out -e err")
    home = cluster.home()
    until("some lines", lambda: (home / "out").exists() and
          "line 9\n" in (home / "out").read_text())
    sckpt(cluster, "create", job.number)
    cluster.ctl(f"scontrol requeue {job.number}")
    until("the restore", lambda: "restored from checkpoint 2" in (home / "err").read_text())
    sckpt(cluster, "create", job.number)
    at = (home / "out").read_text().count("\n")
    until("more lines", lambda: (home / "out").read_text().count("\n") > at + 5)
    node = job.wait_running()
    shell(cluster, job, node, "kill -KILL $a")
    until("the end of it", lambda: "RUNNING" not in job.state)
    bring_back(cluster, job)
    assert job.finish() == ["COMPLETED"]
    assert others((home / "out").read_text()) == [f"line {i}" for i in range(1, MANY + 1)]
    err = (home / "err").read_text()
    assert others(err) == ["last"]
    assert [re.sub(r" (taken|on) .*", "", l) for l in ours(err)
            if re.match("sckpt: (checkpoint|restored) ", l)] == [
        "sckpt: checkpoint 1", "sckpt: checkpoint 2", "sckpt: restored from checkpoint 2",
        "sckpt: checkpoint 3", "sckpt: restored from checkpoint 3"], err
    cut = [p.name for p in home.iterdir() if ".sckpt-cut." in p.name]
    assert len(cut) == 1 and cut[0].startswith("out."), cut


def test_steps(cluster):
    """A step that srun starts tells by way of srun; one of a protected script does
    not, for its script tells."""
    script = cluster.script(
        "steps.sh", "srun --checkpoint -e err bash -c 'echo on; sleep 1000' &\nwait\n")
    job = cluster.submit(script, options="-e slurm.err")
    job.wait_output("^on$")
    sckpt(cluster, "create", f"{job.number}.0")
    until("the line", lambda: "sckpt: checkpoint 1 taken" in
          (cluster.home() / "err").read_text())
    until("the Comment", lambda: comment(job).startswith("sckpt: 0: "))
    # Where srun's own are one file, slurmstepd's pipes end in it.
    one = cluster.submit(cluster.script(
        "one.sh", "srun --checkpoint bash -c 'env | grep SCKPT_; echo on; sleep 1000'\n"))
    one.wait_output("^on$")
    sckpt(cluster, "create", f"{one.number}.0")
    assert one.text() == "on\n"
    one.cancel()
    job.cancel()
    script = cluster.script("both.sh", "srun bash -c 'echo on; until [ -e go ]; do sleep 0.1; done; echo off'\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("^on$")
    until("the step", lambda: job.store("srun-1").exists())
    sckpt(cluster, "create", job.number)
    (cluster.home() / "go").touch()
    assert job.wait_end() == ["COMPLETED"]
    assert job.text() == "on\noff\n"
    until("the logs of both", lambda: {
        r["id"] for r in said(cluster, "report", job.number)} == {
            f"{job.number}.batch", f"{job.number}.srun-1"})


def test_prune_and_usage(cluster):
    job = cluster.submit(lines_script(cluster, MANY), options="--requeue --checkpoint")
    job.wait_output("^line 5$")
    sckpt(cluster, "create", job.number)
    assert job.finish() == ["COMPLETED"]
    until("the end in the log", lambda: said(cluster, "report")[0]["state"] == "exit 0")
    sckpt(cluster, "prune")
    assert len(said(cluster, "report")) == 1
    assert said(cluster, "prune", "--older-than", "0", "--dry-run") == [f"{job.number}.batch"]
    assert len(said(cluster, "report")) == 1
    assert said(cluster, "prune", "--older-than", "0") == [f"{job.number}.batch"]
    assert said(cluster, "report") == []
    is_page(sckpt(cluster, "report", "--html", "-").stdout)
    sckpt(cluster, "report", "--html", "/nowhere/x", rc=FAILED)
    sckpt(cluster, "report", "--html", "x", "--json", rc=USAGE)
    sckpt(cluster, "report", "--since", "soon", rc=USAGE)
    sckpt(cluster, "report", "12", rc=NOT_FOUND)
    # A step that was never stopped leaves nothing.
    job = cluster.submit("--wrap", "true", options="--requeue --checkpoint")
    assert job.wait_end() == ["COMPLETED"]
    until("an idle store", lambda: not (job.store().parent).exists())
    assert said(cluster, "report") == []
