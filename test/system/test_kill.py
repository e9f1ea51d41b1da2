# SPDX-License-Identifier: GPL-2.0-or-later
"""Kill -9 at many points of dump, commit, prune and restore: what is in the
store afterwards is whole, and the job goes on from it with its result right.

A point is a system call of the agent or of criu (strace kills at the Nth), or
a moment. By default a part of them is run; --full runs all (CONTRIBUTING.md)."""
import concurrent.futures
import math
import random
import time

import pytest

from conftest import COMMAND, sh, until

SUBJECT = "/shared/subject"
FIND = ("a=$(pgrep -f '^/usr/libexec/sckpt/sckpt-agent .*job={0} ' | head -n 1); "
        "s=$(pgrep -f '^/usr/libexec/sckpt/sckpt-supervise .*job={0} ' | head -n 1); ")
# The calls by which the store changes, and those that criu's end is seen by.
CALLS = ["pwrite64", "fsync", "linkat", "renameat", "unlinkat", "openat", "write",
         "clone3", "epoll_wait", "close"]


def points(full):
    """(phase, victim, where): 196 of them, or every tenth."""
    rng = random.Random(4711)
    found = []
    for call in CALLS:
        for when in range(1, 9):
            found.append(("dump", call, when))
    for victim in ("agent", "criu", "supervise", "step"):
        for _ in range(14):
            found.append(("dump", victim, round(rng.uniform(0, 0.35), 3)))
        for _ in range(8):
            found.append(("end", victim, round(rng.uniform(0.05, 0.4), 3)))
        for _ in range(7):
            found.append(("restore", victim, round(rng.uniform(0, 0.25), 3)))
    return found if full else found[::10]


def shell(cluster, job, node, text):
    return cluster.run(node, FIND.format(job.number) + text, user="root", check=False)


def victim_is(victim):
    return {"agent": "$a", "supervise": "$s", "criu": "$(pgrep -P $a -x criu)",
            "step": "$a $s $(pgrep -P $a)"}[victim]


def order(cluster, job, name):
    """As sckpt create does: the order lies in the store, SIGURG wakes the step."""
    here = cluster.inside(job.store())
    return (f"setpriv --reuid 1001 --regid 1001 --clear-groups sh -c "
            f"'umask 077; echo {name} >{here}/request'; kill -URG $s; ")


def lines_of(job):
    return [l for l in job.text().splitlines() if l.startswith("line ")]


def is_right(job, at_least):
    """Every line once and in order, at least so many, by one that runs now."""
    until(f"job {job.number} to go on", lambda: len(lines_of(job)) >= at_least, 60)
    lines = lines_of(job)
    assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]
    assert "starts afresh" not in job.text() + (job.home / f"err-{job.number}").read_text()


def begun(job):
    """When its run began, or will; a number alone up to 22.05."""
    at = job.record()["start_time"]
    return at["number"] if isinstance(at, dict) else at


def ended(job, run):
    state = job.state
    return "COMPLETING" not in state and ("RUNNING" not in state or begun(job) > run)


def bring_back(cluster, job, run=math.inf):
    """Slurm's part after the death, and the restore. run: when the one began that ended, where the
    next may run already."""
    until(f"job {job.number} to have ended", lambda: ended(job, run))
    if not {"PENDING", "RUNNING"} & set(job.state):
        cluster.ctl(f"scontrol requeue {job.number}", user="root")
    cluster.ctl(f"scontrol update job {job.number} StartTime=now+2", user="root", check=False)


def runs(cluster, job):
    node = job.node
    return node and shell(cluster, job, node, "[ -n \"$a\" ] && kill -0 $a && kill -0 $s").returncode == 0


def fire(cluster, job, point, number):
    phase, victim, where = point
    node = job.wait_running()
    # It begins by itself once more.
    run = begun(job) if phase == "end" else math.inf
    if phase == "dump" and victim in CALLS:
        # -f: criu and the writing threads too. The call does not happen.
        shell(cluster, job, node,
              f"strace -qq -f -o /dev/null -p $a -e trace={victim} "
              f"-e inject={victim}:signal=KILL:when={where} & t=$!; "
              "while ! grep -q '^TracerPid:\t[1-9]' /proc/$a/status; do sleep 0.01; done; "
              + order(cluster, job, f"k{number}") +
              # It dies, or the dump is through without so many such calls.
              f"for i in $(seq 60); do kill -0 $a 2>/dev/null || break; "
              f"grep -qs '\"(saved|refused)\", \"request\": \"k{number}\"' -E "
              f"{cluster.inside(job.store())}/status.json && break; "
              "sleep 0.1; done; kill $t 2>/dev/null; wait $t")
    elif phase == "dump":
        shell(cluster, job, node, order(cluster, job, f"k{number}") +
              f"sleep {where}; kill -KILL {victim_is(victim)}")
    elif phase == "end":
        shell(cluster, job, node, f"scontrol requeue {job.number}; sleep {where}; "
              f"kill -KILL {victim_is(victim)}")
    else:
        shell(cluster, job, node, "kill -KILL $a")
        bring_back(cluster, job)

        def hit():  # wherever it comes up
            for n in cluster.nodes:
                done = shell(cluster, job, n, f"[ -n \"$a\" ] && sleep {where} && "
                             f"kill -KILL {victim_is(victim)}")
                if done.returncode == 0:
                    return True
                if job.node:
                    return "late"
            return None
        until("the restore", hit, 60)
    return run


def series(cluster, mine, killed):
    script = cluster.script("kill.sh", f"exec {SUBJECT}/ender 36000 exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -e err-%j")
    err = job.home / f"err-{job.number}"
    node = job.wait_running()
    job.wait_output("^line 5$")
    shell(cluster, job, node, order(cluster, job, "first"))
    until("the first checkpoint", job.generations)
    for number, point in mine:
        before = max(job.generations())
        err.write_text("")
        run = fire(cluster, job, point, number)
        # What was killed may still be dying.
        at = len(lines_of(job))
        until("its death or progress", lambda: not runs(cluster, job) or len(lines_of(job)) > at + 5)
        if runs(cluster, job):
            killed["unharmed"] += 1
        else:
            killed["died"] += 1
            until("the end", lambda: "RUNNING" not in job.state or begun(job) > run)  # noqa: B023
        found = job.verify()
        assert found and all(l.endswith(" whole") for l in found), (point, found)
        assert int(found[0].split("-")[0]) >= before, (point, found)
        if not runs(cluster, job):
            bring_back(cluster, job, run)
            # Its output is then as it was at the checkpoint.
            until("a new run", lambda: "restored from checkpoint" in err.read_text(), 60)
        is_right(job, 6)
        n = len(lines_of(job))
        is_right(job, n + 3)
        killed[point[0]] += 1
    job.cancel()


def test_points(cluster, request):
    full = request.config.getoption("--full")
    todo = list(enumerate(points(full)))
    killed = {"dump": 0, "end": 0, "restore": 0, "died": 0, "unharmed": 0}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for f in [pool.submit(series, cluster, todo[i::3], killed) for i in range(3)]:
            f.result()
    print("points:", killed)
    assert killed["dump"] + killed["end"] + killed["restore"] == len(todo)
    assert killed["died"] > len(todo) / 3


def test_node_crashes(cluster, request):
    """The whole node, at moments of a dump; its job goes on on the other."""
    moments = [0.02, 0.1, 0.2, 0.4] if request.config.getoption("--full") else [0.15]
    for i, moment in enumerate(moments):
        job = cluster.submit(
            cluster.script("job.sh", f"exec {SUBJECT}/ender 36000 exit 0\n"),
            options="--requeue --checkpoint -e err-%j")
        node = job.wait_running()
        job.wait_output("^line 5$")
        shell(cluster, job, node, order(cluster, job, "first"))
        until("the first checkpoint", job.generations)
        shell(cluster, job, node, order(cluster, job, "second"))
        time.sleep(moment)
        sh(COMMAND, "crash", node)
        try:
            until("another node", lambda: job.node not in (None, node), 90)
            is_right(job, 10)
            assert all(l.endswith(" whole") for l in job.verify())
        finally:
            sh(COMMAND, "boot", node)
        job.cancel()
        cluster.idle()
