# SPDX-License-Identifier: GPL-2.0-or-later
"""metrics-dir=: what node_exporter reads of each node."""
import re

from conftest import until

DIR = "/var/lib/metrics"


def begin(cluster, mode="755", owner="root"):
    cluster.conf(f"metrics-dir={DIR}\n")
    for node in cluster.nodes:
        cluster.run(node, f"rm -rf {DIR} /run/sckpt/metrics; mkdir {DIR}; "
                    f"chmod {mode} {DIR}; chown {owner} {DIR}", user="root")


def figures(cluster, node):
    """As node_exporter's user sees them: by name and reason."""
    text = cluster.run(node, f"cat {DIR}/sckpt.prom", user="user2", check=False).stdout
    lines = [l for l in text.splitlines() if not l.startswith("#")]
    found = [re.fullmatch(r'sckpt_(\w+?)(?:\{reason="(\w+)"\})? ([\d.]+)', l) for l in lines]
    assert all(found), text
    return {(m[1], m[2]): float(m[3]) for m in found}


def wait_steps(cluster, node, count):
    return until(f"{count} steps in {node}'s figures",
                 lambda: (f := figures(cluster, node)) and f[("steps_total", None)] == count and f)


def not_zero(f):
    return {k for k, v in f.items() if v}


def test_a_job_that_moves(cluster):
    begin(cluster)
    job = cluster.submit("--wrap", "exec /shared/subject/loop.sh 400 work ids", options="--requeue --checkpoint")
    first = job.wait_running()
    until("progress", lambda: "line 3\n" in job.text() or len(job.text()) > 20)
    assert cluster.run(first, f"sckpt create {job.number}").returncode == 0
    job.preempt()
    second = job.node
    f = wait_steps(cluster, first, 1)
    assert not_zero(f) == {
        ("checkpoints_total", "request"), ("checkpoints_total", "preemption"),
        ("checkpoint_taken_bytes_total", None), ("checkpoint_stored_bytes_total", None),
        ("checkpoint_seconds_total", None), ("stopped_seconds_total", None), ("steps_total", None)}
    assert f["checkpoints_total", "request"] == f["checkpoints_total", "preemption"] == 1
    assert 100_000 < f["checkpoint_taken_bytes_total", None] < 100_000_000
    assert 0.001 < f["stopped_seconds_total", None] <= f["checkpoint_seconds_total", None] < 30
    job.cancel()
    f = wait_steps(cluster, second, 1)
    assert not_zero(f) == {("restores_total", None), ("restore_seconds_total", None),
                           ("steps_total", None)}
    # They add up, and nothing lies beside them.
    cluster.run(second, f"srun -w {second} --checkpoint true")
    f = wait_steps(cluster, second, 2)
    assert f["restores_total", None] == 1
    assert cluster.run(second, f"ls -A {DIR}").stdout == "sckpt.prom\n"


def test_refusals_are_counted(cluster):
    """A dump that is refused, and a checkpoint that is damaged."""
    begin(cluster)
    job = cluster.submit("--wrap", "exec python3 /shared/subject/pair.py 100000",
                         options="--requeue --checkpoint")
    node = job.wait_running()
    until("progress", lambda: "round 2\n" in job.text())
    assert cluster.run(node, f"sckpt create {job.number}", check=False).returncode
    job.cancel()
    f = wait_steps(cluster, node, 1)
    assert f["checkpoint_failures_total", "request"] == 1
    assert not_zero(f) == {("checkpoint_failures_total", "request"), ("steps_total", None)}

    job = cluster.submit("--wrap", "exec /shared/subject/loop.sh 400 work ids", options="--requeue --checkpoint")
    job.wait_running()

    def damage():
        for m in job.manifests():
            m.write_text(m.read_text().replace('"node"', '"nodo"', 1))

    until("progress", lambda: len(job.text()) > 20)
    node = job.node
    cluster.ctl(f"scontrol requeuehold {job.number}", user="root")
    until("the checkpoint", job.manifests)
    until("the end of this run", lambda: job.node is None)
    damage()
    cluster.ctl(f"scontrol release {job.number}", user="root")
    refused = until("the refused restore", lambda: [
        n for n in cluster.nodes if (f := figures(cluster, n)) and f["restore_failures_total", "lost"] == 1])
    assert len(refused) == 1


FORGE = r"""
import os, struct
# The agent is PID 1 of the step, and ours.
for fd in os.listdir("/proc/1/fd"):
    pass
for line in open("/proc/1/maps"):
    if "sckpt-counters" in line:
        start = int(line.split("-")[0], 16)
        with open("/proc/1/mem", "r+b", buffering=0) as f:
            f.seek(start)
            f.write(struct.pack("<Q", int(os.environ["FORGED"])) * 100)
        print("forged", flush=True)
"""


def test_forged(cluster):
    """What a user writes into the counters counts as far as a step can have such, and no further."""
    begin(cluster)
    home = cluster.home()
    (home / "forge.py").write_text(FORGE)
    # Beyond what is possible: left out as a whole, and told.
    done = cluster.run("n1", f"FORGED={2**63} srun -w n1 --checkpoint python3 {cluster.inside(home)}/forge.py")
    assert "forged" in done.stdout
    f = wait_steps(cluster, "n1", 1)
    assert not_zero(f) == {("steps_total", None), ("steps_disbelieved_total", None)}
    assert "are not believed: it counted more" in cluster.log("n1")
    # Within it: the step's own.
    done = cluster.run("n1", f"FORGED=1 srun -w n1 --checkpoint python3 {cluster.inside(home)}/forge.py")
    assert "forged" in done.stdout
    f = wait_steps(cluster, "n1", 2)
    assert f["restores_total", None] == f["checkpoints_total", "clock"] == 1
    assert f["checkpoint_seconds_total", None] < 0.001


def test_sealed(cluster):
    """It cannot be made larger or smaller: neither memory nor a read behind its end."""
    begin(cluster)
    (cluster.home() / "grow.py").write_text(r"""
import os
# The program has none of the agent's descriptors; the agent has closed it.
names = []
for p in ("self", "1"):
    for fd in os.listdir(f"/proc/{p}/fd"):
        try:
            names.append(os.readlink(f"/proc/{p}/fd/{fd}"))
        except OSError:
            pass
assert not [n for n in names if "sckpt-counters" in n], names
import glob
for m in glob.glob("/proc/1/map_files/*"):
    if "sckpt-counters" in os.readlink(m):
        for size in (0, 1 << 20):
            fd = os.open(m, os.O_RDWR)
            try:
                os.ftruncate(fd, size)
                print("size changed")
            except PermissionError:
                print("sealed")
""")
    done = cluster.run("n1", f"srun -w n1 --checkpoint python3 {cluster.inside(cluster.home())}/grow.py")
    assert done.stdout.split() == ["sealed", "sealed"], done.stdout + done.stderr
    wait_steps(cluster, "n1", 1)


def test_a_directory_that_is_not_roots(cluster):
    """Nothing is written there, the step runs as ever, and the log says what to do."""
    for mode, owner in (("777", "root"), ("755", "user1")):
        begin(cluster, mode, owner)
        assert cluster.run("n1", "srun -w n1 --checkpoint echo ran").stdout == "ran\n"
        until("the log", lambda: f"metrics-dir={DIR} is not root's alone: chown root, chmod go-w"
              in cluster.log("n1"))
        assert cluster.run("n1", f"ls -A {DIR}", user="root").stdout == ""


def test_links(cluster):
    """What lies under its names is replaced, never followed."""
    begin(cluster)
    cluster.run("n1", f"echo mine >/root/other; ln -s /root/other {DIR}/sckpt.prom; "
                f"ln -s /root/other {DIR}/sckpt.prom.new", user="root")
    cluster.run("n1", "srun -w n1 --checkpoint true")
    wait_steps(cluster, "n1", 1)
    assert cluster.run("n1", "cat /root/other", user="root").stdout == "mine\n"


def test_many_steps_at_once(cluster):
    """Each is counted once."""
    begin(cluster)
    cluster.run("n1", "salloc -Q -w n1 -n 2 bash -c 'for i in $(seq 6); do "
                "srun -Q --overlap -n 1 --checkpoint true & done; wait'")
    wait_steps(cluster, "n1", 6)


def test_without_it(cluster):
    """No file, and no step has counters."""
    for node in cluster.nodes:
        cluster.run(node, f"rm -rf {DIR} /run/sckpt/metrics", user="root")
    out = cluster.run("n1", "srun -w n1 --checkpoint grep -c sckpt-counters /proc/1/maps", check=False)
    assert out.stdout == "0\n"
    assert "metrics" not in cluster.run("n1", "ls /run/sckpt", user="root").stdout.split()
