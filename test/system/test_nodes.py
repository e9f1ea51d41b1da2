# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps on several nodes, whose ranks do not talk over the network: all nodes are
saved and restored together, or none is."""
import json
import re

import pytest

from conftest import COMMAND, MANY, PACE, sh, until
from test_steps import strip_times

# What each rank says; of different speed, so that no order would fit twice.
RANK = ("/usr/bin/bash -c 'echo $SLURM_PROCID pid $$; for i in $(seq {}); do "
        "echo $SLURM_PROCID line $i; [ -e ~/quick ] || sleep 0.0$((6 + SLURM_PROCID)); done; {}'")


def lines(text, rank):
    return [l for l in text.splitlines() if l.startswith(f"{rank} ")]


def expect(rank, count):
    """PIDs count on each node from the same number."""
    return [f"{rank} pid {1001 + rank % 2}"] + [
        f"{rank} line {i}" for i in range(1, count + 1)]


def submit(cluster, text, options=""):
    """Two tasks on each of two nodes."""
    return cluster.submit(cluster.script("job.sh", text),
                          options=f"--requeue -N2 -n4 -e err {options}")


def said(cluster, name="err"):
    path = cluster.home() / name
    return path.read_text() if path.exists() else ""


def preempt(cluster, job):
    """On both nodes; goes on on others where there are some. Returns the new ones."""
    was = job.wait_running()
    intruder = cluster.submit("--wrap", "sleep 300", user="user2",
                              options=f"-w {was} -N2 --exclusive -p high")
    until(f"job {job.number} to leave {was}", lambda: job.node is None)
    if len(cluster.nodes) < 4:
        until("the step to be over", lambda: "COMPLETING" not in job.state)
        intruder.cancel()
    until(f"job {job.number} to go on", lambda: job.node, 90)
    assert len(cluster.nodes) < 4 or job.node != was
    intruder.cancel()


def parts(job, step):
    """(number, run) of what each of the two nodes has."""
    found = []
    for d in (job.store(step), job.store(step) / "node.1"):
        found.append({(int(m[1]), int(m[2])) for p in d.glob("*.json")
                      if (m := re.match(r"^(\d+)-(\d+)\.json$", p.name))})
    return found


def order(job, step):
    try:
        return json.loads((job.store(step) / "order").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def whole(job, step, number):
    """That set is complete, and the first node has said so."""
    have = parts(job, step)
    return any(g[0] == number for g in have[0] & have[1]) and order(job, step)["word"] == 8


# ---- preempted ------------------------------------------------------------------------


@pytest.mark.parametrize("protected, options", [(True, ""), (True, "--export=NONE"), (False, "--checkpoint")])
def test_preempted(cluster, protected, options):
    """In a protected script, which hears each byte once, and in one that is not."""
    srun = f"srun -N2 -n4 {options} "
    job = submit(cluster, f"{srun}{RANK.format(MANY, 'exit 0')}\necho rc $?\n",
                 "--checkpoint" if protected else "")
    step = "srun-1" if protected else "0"
    job.wait_output("^3 line 20$")
    if protected:
        supervisors = [args for n in cluster.nodes for _, _, args in cluster.ps(n)
                       if "sckpt-supervise" in args and " nodes=2 " in args]
        assert len(supervisors) == 2 and all("script-out=1 script-err=1" in a for a in supervisors)
    preempt(cluster, job)
    manifest = job.manifest(step)
    assert (manifest["nodes"], manifest["part"], manifest["reason"]) == (2, 0, "preemption")
    assert parts(job, step)[0] == parts(job, step)[1] == {(1, 0)}
    # That the programs were gone with it was known when the set was whole.
    assert not manifest["ended"]
    assert all((job.store(step) / d / "1-0.ended").exists() for d in (".", "node.1"))
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, MANY)
    assert strip_times(job.text())[-1] == "rc 0"
    assert len(strip_times(job.text())) == 4 * (MANY + 1) + 1
    assert not job.store(step).exists()


@pytest.mark.parametrize("nodes, label", [(2, ""), (1, ""), (1, "-l"), (2, "-l")])
def test_lines_are_whole(cluster, nodes, label):
    """As srun has them: what one task has begun waits for its end, and others' lines do not; also
    over a restore, though slurmstepd takes a stop for the end of all streams."""
    program = cluster.script("program", """
case $SLURM_PROCID in
0) echo -n "0 begins, "; touch begun-0; until [ -e on ]; do sleep 0.1; done; echo ends ;;
1) echo -n "1 has no end" ;;
2) printf '2 %01500d\\n' 0 ;;
3) until [ -e begun-0 ]; do sleep 0.1; done; echo 3 between; until [ -e on ]; do sleep 0.1; done ;;
esac
""")
    job = submit(cluster, f"srun -N{nodes} -n4 --overcommit {label} ./{program}\necho rc $?\n",
                 "--checkpoint")
    job.wait_output("3 between$")
    preempt(cluster, job)
    (cluster.home() / "on").touch()
    assert job.wait_end() == ["COMPLETED"]
    # Of one line of more than 1024 bytes srun may put others between.
    text = job.text()
    assert text.count("0" * 400) >= 2 and text.count("0" * 100) <= 15, text
    said = [f"{i}: " if label else "" for i in range(4)]
    assert {f"{said[0]}0 begins, ends", f"{said[3]}3 between"} <= set(text.splitlines()), text
    assert f"{said[1]}1 has no end" in text and text.count("begins") == 1, text
    assert text.index("3 between") < text.index("0 begins")


def test_first_node_begins_late(cluster):
    """It waits for a criu of the program's own, for half of the time that there is; the others wait for it."""
    cluster.script("criu", "until [ -e stopped ]; do sleep 0.1; done; sleep 7\n")
    with cluster.kill_wait(40):
        job = submit(cluster, "srun -N2 -n4 --checkpoint bash -c '[ $SLURM_PROCID != 0 ] || ./criu dump & "
                     f"for i in $(seq {MANY}); do echo $SLURM_PROCID line $i; {PACE}; done'\n")
        job.wait_output("^3 line 5$")
        cluster.ctl(f"scontrol requeue {job.number}")
        (cluster.home() / "stopped").touch()
        until("the step to be over", lambda: job.node is None and "COMPLETING" not in job.state)
        assert parts(job, "0") == [{(1, 0)}] * 2
        assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == [f"{rank} line {i}" for i in range(1, MANY + 1)]


def test_twice_and_some_had_ended(cluster):
    """All ranks of a node may have ended long before those of the other one do."""
    job = submit(cluster, f"srun -N2 -n4 bash -c 'n=$((SLURM_PROCID < 2 ? 10 : {MANY})); "
                 "echo $SLURM_PROCID pid $$; for i in $(seq $n); do "
                 f"echo $SLURM_PROCID line $i; {PACE}; done'\necho rc $?\n",
                 "--checkpoint")
    job.wait_output("^3 line 30$")
    preempt(cluster, job)
    at = len(lines(job.text(), 3))
    job.wait_output(f"^3 line {at + 10}$")
    preempt(cluster, job)
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, 10 if rank < 2 else MANY)
    assert strip_times(job.text())[-1] == "rc 0"


def test_output_files_of_each_task(cluster):
    """Which slurmstepd opens on its node, or srun for all."""
    job = submit(cluster, "srun -N2 -n4 --overlap -o out.%t " + RANK.format(MANY, "exit $SLURM_PROCID")
                 + " &\nsrun -N2 -n4 --overlap -o both.txt " + RANK.format(MANY, "exit 0")
                 + "\nwait %1; echo rc $?\n", "--checkpoint")
    until("output", lambda: len(lines(said(cluster, "out.3"), 3)) > 10
          and len(lines(said(cluster, "both.txt"), 3)) > 10)
    preempt(cluster, job)
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(said(cluster, f"out.{rank}"), rank) == expect(rank, MANY)
        assert lines(said(cluster, "both.txt"), rank) == expect(rank, MANY)
    assert "rc 3" in job.text()


# ---- when a node fails -------------------------------------------------------------


def test_a_node_that_cannot_save_fails_the_set(cluster):
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    job.wait_output("^3 line 15$")
    cluster.ctl(f"sckpt create {job.number}.0")
    assert whole(job, "0", 1)
    # Its directory is still there, and nobody can make anything in it.
    node1 = cluster.inside(job.store("0") / "node.1")
    cluster.run("ctl", f"chmod 500 {node1}", user="root")
    job.wait_output("^3 line 30$")
    refused = cluster.ctl(f"sckpt create {job.number}.0", check=False)
    assert refused.returncode == 1 and "node 1 of the step" in refused.stderr
    assert parts(job, "0") == [{(1, 0)}, {(1, 0)}]
    cluster.run("ctl", f"chmod 700 {node1}", user="root")
    assert job.state == ["RUNNING"]
    job.wait_output("^3 line 40$")
    # And the next one is as if nothing had been.
    cluster.ctl(f"sckpt create {job.number}.0")
    assert [len(p) for p in parts(job, "0")] == [2, 2]
    listed = json.loads(cluster.ctl(f"sckpt list --json {job.number}").stdout)
    assert [g["node"] for g in listed] == [",".join(
        json.loads(p.read_text())["node"]
        for p in (job.manifests("0")[i], job.store("0") / "node.1" / job.manifests("0")[i].name))
        for i in range(2)]
    assert cluster.ctl(f"sckpt remove {job.number}.0:1").stdout == f"removed {job.number}.0:1\n"
    assert [len(p) for p in parts(job, "0")] == [1, 1]
    job.cancel()


@pytest.mark.parametrize("node", [0, 1])
def test_damaged_part(cluster, node):
    """All nodes go on from the set before."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    job.wait_output("^3 line 15$")
    cluster.ctl(f"sckpt create {job.number}.0")
    job.wait_output("^3 line 30$")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("both to be saved", lambda: job.node is None and "COMPLETING" not in job.state)
    newest = max(parts(job, "0")[0])
    d = job.store("0") / "node.1" if node else job.store("0")
    assert newest[0] == 2 and parts(job, "0")[0] == parts(job, "0")[1]
    meta = d / f"{newest[0]}-{newest[1]}.meta"
    meta.write_bytes(meta.read_bytes()[:-8] + b"damaged!")
    verified = cluster.ctl(f"sckpt verify {job.number}.0", check=False)
    assert verified.returncode == 4
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, MANY)
    assert "generation 2" in job.text() + said(cluster)


def test_crash(cluster):
    """Of the second node, between checkpoints: from the last set, output exact."""
    cluster.conf("overhead=100\n")
    job = submit(cluster, "srun -N2 -n4 --checkpoint=every=3s "
                 f"{RANK.format(MANY, 'exit 0')}\n")
    until("a set", lambda: order(job, "0").get("word") == 8)
    job.wait_output("^3 line 30$")
    node = cluster.ctl(f"scontrol show hostnames {job.wait_running()}").stdout.split()[1]
    sh(COMMAND, "crash", node)
    try:
        # As slurmctld finds out by itself, later.
        cluster.ctl(f"scontrol update NodeName={node} State=DOWN Reason=crash", user="root")
        until("the job to be queued again", lambda: job.node is None, 90)
        if len(cluster.nodes) < 3:
            sh(COMMAND, "boot", node)
        assert job.finish() == ["COMPLETED"]
    finally:
        sh(COMMAND, "boot", node, check=False)
        cluster.ctl(f"scontrol update NodeName={node} State=RESUME", user="root", check=False)
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, MANY)


def test_another_shape(cluster):
    """Is refused in words, and the work stays."""
    job = cluster.submit(cluster.script("job.sh", (
        "[ -f one ] && n='-N1 -n2' || n='-N2 -n4'\n"
        f"srun $n --checkpoint {RANK.format(MANY, 'exit 0')}\necho rc $?\n")),
        options="--requeue -N2 -n4 -e err")
    job.wait_output("^3 line 15$")
    cluster.ctl(f"touch one; scontrol requeuehold {job.number}")
    until("the set", lambda: job.node is None and "COMPLETING" not in job.state)
    cluster.ctl(f"scontrol release {job.number}")
    until("words", lambda: "are of a step on 2 nodes, and it is started on 1" in
          job.text() + said(cluster))
    until("the job to be held", lambda: "PENDING" in job.state)
    assert job.record()["priority"]["number"] == 0
    cluster.ctl("rm one")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, MANY)


def test_a_rank_that_fails(cluster):
    """Slurm hears of it at once, and ends the step if it is to."""
    job = submit(cluster, "srun -N2 -n4 --checkpoint --kill-on-bad-exit=1 bash -c 'for i in "
                 "$(seq 20); do echo $SLURM_PROCID line $i; sleep 0.1; "
                 "[ $i = 20 -a $SLURM_PROCID -ge 2 ] && exit 3; done; exec sleep 600'\n")
    job.wait_output("^3 line 20$")
    assert job.wait_end() == ["FAILED"]
    assert "Exited with exit code 3" in said(cluster)


def test_what_a_failed_rank_leaves(cluster):
    """Runs on to its end, and is not saved: a set is of all nodes."""
    cluster.conf("overhead=100\n")
    job = submit(cluster, "srun -N2 -n4 --checkpoint=every=2s bash -c 'for i in $(seq 70); do "
                 "echo $SLURM_PROCID line $i; sleep 0.1; "
                 "[ $i = 30 -a $SLURM_PROCID -ge 2 ] && exit 3; "
                 "[ $i != 30 ] || until [ -e go ]; do sleep 0.1; done; done; :'\necho rc $?\n")
    until("words", lambda: "node 1 of the step, has failed" in said(cluster))
    (cluster.home() / "go").touch()
    assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines()[-1] == "rc 3"
    for rank in range(4):
        assert len(lines(job.text(), rank)) == (70 if rank < 2 else 30)


def test_first_node_fails_while_a_set_is_made(cluster):
    """That is still whole, and what the job may go on from."""
    job = submit(cluster, "srun -N2 -n4 --checkpoint bash -c 'echo $SLURM_PROCID line 1; "
                 "[ $SLURM_PROCID -ge 2 ] || until [ -e fail ]; do sleep 0.1; done; "
                 "[ $SLURM_PROCID -ge 2 ] || exit 3; sleep 12'\n")
    job.wait_output("^3 line 1$")
    other = cluster.ctl(f"scontrol show hostnames {job.wait_running()}").stdout.split()[1]
    agent = cluster.run(other, f"pgrep -f '^/usr/libexec/sckpt/sckpt-agent .*job={job.number} '",
                        user="root").stdout.split()[0]
    cluster.run(other, f"kill -STOP {agent}", user="root")
    try:
        cluster.ctl(f"(sckpt create {job.number}.0 >created 2>&1 &)")
        until("the first part", lambda: parts(job, "0")[0] == {(1, 0)})
        # At once, for the first node waits some seconds.
        cluster.run(other, "setsid timeout 100 bash -c 'until grep -qi exit.code.3 /home/user1/err; do sleep 0.1; done; "
                    f"kill -CONT {agent}' >/dev/null 2>&1 </dev/null &", user="root")
        (cluster.home() / "fail").write_text("")
        until("its end", lambda: "exit code 3" in said(cluster).lower())
    finally:
        cluster.run(other, f"kill -CONT {agent}", user="root")
    until("the other part", lambda: parts(job, "0")[1] == {(1, 0)})
    assert job.wait_end() == ["FAILED"]
    assert parts(job, "0") == [{(1, 0)}, {(1, 0)}]


def test_no_set_is_left(cluster):
    """The job is held, once and with its words, and nothing has started on any node."""
    job = submit(cluster, f"srun -N2 -n4 --checkpoint {RANK.format(MANY, 'exit 0')}\n")
    job.wait_output("^3 line 15$")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("both to be saved", lambda: job.node is None and "COMPLETING" not in job.state)
    meta = job.store("0") / "node.1" / "1-0.meta"
    was = meta.read_bytes()
    meta.write_bytes(was[:-8] + b"damaged!")
    cluster.ctl(f"scontrol release {job.number}")
    until("words", lambda: "cannot go on" in job.text() + said(cluster))
    until("the job to be held", lambda: job.state == ["PENDING"] and job.node is None)
    assert job.record()["priority"]["number"] == 0
    words = [l for l in said(cluster).splitlines() if "cannot go on" in l]
    assert len(words) == 1 and "generation 1: on " in words[0] and "node 1 of the step" in words[0]
    assert not lines(job.text(), 0) and not lines(job.text(), 3)
    meta.write_bytes(was)
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    for rank in range(4):
        assert lines(job.text(), rank) == expect(rank, MANY)


def test_signals_and_grace(cluster):
    """A SIGTERM that is the program's reaches it on all nodes. At the begin of a grace time
    the step is saved, and runs on."""
    cluster.ctl("scontrol update PartitionName=low GraceTime=60", user="root")
    try:
        job = submit(cluster, "srun -N2 -n4 --checkpoint bash -c \"trap 'echo \\$SLURM_PROCID "
                     "term' TERM; echo \\$SLURM_PROCID pid \\$\\$; for i in \\$(seq 3000); do "
                     "echo \\$SLURM_PROCID line \\$i; sleep 0.1; done\"\n")
        job.wait_output("^3 line 5$")
        cluster.ctl(f"scancel -s TERM {job.number}.0")
        for rank in range(4):
            job.wait_output(f"^{rank} term$")
        # What comes just behind it is taken for the same (agent.c, FRESH_NS), and the first
        # node's word of it may be younger than the program's.
        job.wait_output(f"^3 line {len(lines(job.text(), 3)) + 90}$")
        node = job.wait_running()
        intruder = cluster.submit("--wrap", "sleep 300", user="user2",
                                  options=f"-w {node} -N2 --exclusive -p high")
        until("the first set", lambda: parts(job, "0") == [{(1, 0)}] * 2)
        assert job.node == node
        intruder.cancel()
        job.wait_output(f"^3 line {len(lines(job.text(), 3)) + 20}$")
        for rank in range(4):
            got = [l for l in lines(job.text(), rank) if "line" in l]
            assert got == [f"{rank} line {i}" for i in range(1, len(got) + 1)]
            assert job.text().count(f"{rank} term") == 1
        job.cancel()
    finally:
        cluster.ctl("scontrol update PartitionName=low GraceTime=0", user="root")
