# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints between stops: --checkpoint=every=TIME."""
import json
import math
import re

from conftest import MANY, until

SUBJECT = "/shared/subject"


def test_every(cluster):
    """They are taken by themselves, and the program does not notice."""
    cluster.conf("overhead=100\n")
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint=every=3s -w n1 -e err")
    until("three checkpoints", lambda: max(job.generations() or [0]) >= 3)
    # keep=; the oldest goes when the newest is there.
    until("two of them", lambda: len(job.generations()) == 2)
    assert job.manifest()["reason"] == "every 3 s"
    times = [json.loads(p.read_text())["time"] for p in job.manifests()]
    assert times[1] - times[0] >= 2
    assert job.node == "n1"
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


def test_reader_stands_still(cluster):
    """Checkpoints while nobody reads what the program writes, more than all on the way
    can hold: every byte comes, once."""
    home = cluster.home()
    cluster.conf("overhead=100\n")
    script = cluster.script(
        "job.sh", "srun --checkpoint=every=1s seq 3000000 |\n"
        "\t{ until [ -e go ]; do sleep 0.2; done; cat; } >out\n")
    job = cluster.submit(script)
    until("four checkpoints", lambda: max(job.generations("0") or [0]) >= 4)
    (home / "go").write_text("")
    assert job.wait_end() == ["COMPLETED"], job.text()
    out = (home / "out").read_text()
    whole = out == "".join(f"{i}\n" for i in range(1, 3000001))
    assert whole, out[-100:]


def test_overhead(cluster):
    """What costs too much is done less often, and that is told once."""
    cluster.conf("overhead=1\n")
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint=every=1s -e err")
    err = cluster.home() / "err"
    until("the back-off", lambda: "of the time is spent" in
          (err.read_text() if err.exists() else ""))
    line = [l for l in err.read_text().splitlines() if "of the time" in l]
    assert len(line) == 1
    assert re.search(r"a checkpoint takes [0-9.]+ m?s; so that no more than 1 % of the time "
                     r"is spent on them, the next are taken every [0-9]", line[0]), line
    assert job.generations() == [1]
    job.cancel()


def test_auto(cluster):
    """By the cost and mtbf=: sqrt(2 C M), not below 10 s."""
    cluster.conf("overhead=100\nmtbf=60s\n")
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 60 exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint=every=auto -e err")
    until("two checkpoints", lambda: job.generations() == [1, 2])
    first, second = (json.loads(p.read_text())["time"] for p in job.manifests())
    # The times are when each was begun; and it is whole before the next is waited for.
    cost = max(json.loads(p.read_text())["dump_us"] for p in job.manifests()) / 1e6
    assert 9 <= second - first <= max(10, math.sqrt(2 * cost * 60)) + cost + 10
    assert job.manifest()["reason"] == "every=auto"
    job.cancel()


def test_refused_once(cluster):
    """One that cannot be is told of once, and the program is not disturbed."""
    home = cluster.home()
    script = cluster.script(
        "job.sh", f"mkdir z; exec {SUBJECT}/zoo --state $PWD/z --only inotify\n")
    job = cluster.submit(script, options="--requeue --checkpoint=every=1s -e err")
    until("the refusal", lambda: "no checkpoint of step" in (home / "err").read_text()
          if (home / "err").exists() else False)
    status = job.store() / "status.json"
    seen = {status.stat().st_mtime_ns}
    until("more refusals", lambda: seen.add(status.stat().st_mtime_ns) or len(seen) >= 4)
    assert (home / "err").read_text().count("no checkpoint of step") == 1
    (home / "z" / "go").write_text("")
    assert job.wait_end() == ["COMPLETED"]
