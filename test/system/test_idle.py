# SPDX-License-Identifier: GPL-2.0-or-later
"""A running protected program costs nothing."""
from conftest import until


def ours(cluster):
    return cluster.run("n1", "pgrep -f '^/usr/libexec/sckpt/sckpt-(supervise|agent|root)'",
                       user="root").stdout.split()


def test_idle(cluster):
    script = cluster.script("job.sh", "echo ready; exec sleep 100\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1")
    job.wait_output("ready")
    # What the supervisor looked with at first has ended.
    pids = until("the three", lambda: len(found := ours(cluster)) == 3 and found)
    attach = " ".join(f"-p {p}" for p in pids)
    # Attaching interrupts the call that each sleeps in; nothing may follow.
    out = cluster.run(
        "n1", f"timeout -s INT 10 strace -f {attach} 2>&1 || true", user="root").stdout
    calls = [l for l in out.splitlines() if "(" in l]
    assert len([l for l in calls if "restart_syscall" in l or "wait4" in l]) == 3, out
    assert len(calls) == 3, out
    private = {}
    for p in pids:
        name, rollup = cluster.run("n1", f"cat /proc/{p}/comm /proc/{p}/smaps_rollup",
                                   user="root").stdout.split("\n", 1)
        private[name] = sum(int(l.split()[1]) for l in rollup.splitlines()
                            if l.startswith("Private_"))
    print("KiB of private memory:", private)
    # Their programs count, too, as long as only one step on the node maps them.
    assert private["sckpt-supervise"] + private["sckpt-agent"] < 4096
    # It stands alone: its code is its own (step/alone.c).
    assert private["sckpt-root"] < 1024
    job.cancel()
