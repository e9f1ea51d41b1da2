# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts what one job costs that is preempted and restored: RPCs at slurmctld, and what is done in
the store. On a cluster that is up, with strace:

    SCKPT_TEST_PACKAGES=strace test/cluster up
    /usr/bin/python3 test/simulate.d/count.py >test/simulate.d/counts.json
"""
import collections
import json
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "system"))
from cluster import COMMAND, Cluster, sh, until  # noqa: E402

# Of what strace sees in the store, what a file server is asked for, by kind.
KINDS = {
    "openat": "lookup", "stat": "lookup", "newfstatat": "lookup", "statx": "lookup", "access": "lookup",
    "faccessat2": "lookup", "readlinkat": "lookup", "statfs": "lookup", "fstatfs": "lookup",
    "getdents64": "list", "mkdirat": "change", "mkdir": "change", "renameat": "change", "renameat2": "change",
    "rename": "change", "unlinkat": "change", "unlink": "change", "linkat": "change", "ftruncate": "change",
    "fallocate": "change", "fsync": "sync", "fdatasync": "sync", "flock": "lock",
    "read": "read", "pread64": "read", "readv": "read", "preadv": "read",
    "write": "write", "pwrite64": "write", "writev": "write", "pwritev": "write", "copy_file_range": "write",
    "sync_file_range": "writeback",
}


def rpcs(c):
    """At slurmctld so far: by type, and those of user1. Ours are root's."""
    text = c.ctl("sdiag", user="root").stdout
    types = text.split("by message type")[1].split("by user")[0]
    users = text.split("by user")[1].split("Pending RPC")[0]
    by_type = {n: int(k) for n, k in re.findall(r"^\s+(\w+)\s*\(\s*\d+\)\s+count:(\d+)", types, re.M)}
    user = re.search(r"^\s+user1\s*\(\s*\d+\)\s+count:(\d+)", users, re.M)
    return by_type, int(user[1]) if user else 0


def one(c, job, field):
    """Asked by root: user1's RPCs are those of the step alone."""
    text = c.ctl(f"scontrol show job {job} --json", user="root").stdout
    return json.loads(text)["jobs"][0][field]


def running_on(c, job):
    return one(c, job, "nodes") if one(c, job, "job_state") == ["RUNNING"] else None


def begin_trace(c, node, when, where):
    sh(COMMAND, "run", node, "--", "sh", "-c", f"rm -rf {where}; mkdir -p {where}")
    p = subprocess.Popen([str(COMMAND), "run", node, "--", "python3", "/shared/on_node.py", when, where],
                         stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    return p


def traced(p):
    assert p.stdout.readline() == "traced\n"
    p.wait()


def operations(c, node, where, store):
    """Calls whose first descriptor or path lies in the store, by kind."""
    counts, calls = collections.Counter(), collections.Counter()
    for name in ("start", "supervisor", "agent"):
        path = pathlib.Path(sh(COMMAND, "path", node, f"{where}/{name}").stdout.strip())
        if not path.exists():
            continue
        for line in path.read_text(errors="replace").splitlines():
            m = re.match(r"^(?:\d+ +)?(\w+)\((.*)", line)
            if m and m[1] in KINDS and store in m[2]:
                counts[KINDS[m[1]]] += 1
                calls[m[1]] += 1
    return dict(sorted(counts.items())), dict(sorted(calls.items()))


def move(c, options, mib, trace):
    """A job that fills so much memory is preempted once, and goes on: RPCs and operations."""
    before, user_before = rpcs(c)
    number = int(c.ctl(f"sbatch --parsable --requeue {options} --wrap 'exec python3 /shared/fill.py {mib}'").stdout)
    first = until("it to run", lambda: running_on(c, number))
    out = c.home() / f"slurm-{number}.out"
    until("its memory", lambda: "filled" in (out.read_text() if out.exists() else ""))
    other = next(n for n in c.nodes if n != first)
    found = {}
    if trace:
        traced(begin_trace(c, first, "now", "/var/tmp/trace"))
        sh(COMMAND, "run", other, "--", "sh", "-c", "rm -f /var/tmp/at-gate /var/tmp/go; : >/var/tmp/gated; chmod 1777 /var/tmp")
        p = begin_trace(c, other, "begin", "/var/tmp/trace")
    intruder = int(c.ctl(f"sbatch --parsable -w {first} -N1 --exclusive -p high --wrap 'sleep 60'",
                         user="user2").stdout)
    if trace:
        traced(p)
    else:
        until("it to be off its node", lambda: one(c, number, "job_state") == ["PENDING"])
        found["rpc_user_until_stopped"] = rpcs(c)[1] - user_before - 1
    until("it to run elsewhere", lambda: running_on(c, number) == other)
    if trace:
        until("its restore", lambda: "beat" in out.read_text().split("filled")[-1] and
              json.loads((c.home() / f".sckpt/test/{number}/batch/status.json").read_text())["restore_us"])
        store = f"/.sckpt/test/{number}"
        files = [p for p in (c.home() / f".sckpt/test/{number}").rglob("*") if p.is_file()]
        found["files"] = len(files)
        found["bytes"] = sum(p.stat().st_size for p in files)
        found["dump"], found["dump_calls"] = operations(c, first, "/var/tmp/trace", store)
        found["restore"], found["restore_calls"] = operations(c, other, "/var/tmp/trace", store)
    after, user_after = rpcs(c)
    c.ctl(f"scancel {number} {intruder}", user="root")
    for node in c.nodes:
        sh(COMMAND, "run", node, "--", "rm", "-f", "/var/tmp/gated")
    until("no job", lambda: not c.ctl("squeue -h", user="root").stdout)
    types = {k: after[k] - before.get(k, 0) for k in after if after[k] > before.get(k, 0)}
    found["rpc_user"] = user_after - user_before - 1  # sbatch's own
    return found, types


FILL = """import sys, random, time
r = random.Random(1)
data = [r.randbytes(1 << 20) for _ in range(int(sys.argv[1]))]
print("filled", flush=True)
while True:
    time.sleep(0.5)
    print("beat", flush=True)
"""


def main():
    c = Cluster()
    (c.shared / "fill.py").write_text(FILL)
    (c.shared / "on_node.py").write_text((TOP / "test/simulate.d/on_node.py").read_text())
    result = {"of": "one batch job, preempted once and restored; operations are calls in the store"}
    for name, options in (("without", ""), ("with", "--checkpoint")):
        found, types = move(c, options, 16, False)
        result[f"rpc_{name}"] = {"by_the_user": found["rpc_user"],
                                 "of_these_until_stopped": found["rpc_user_until_stopped"], "all": types}
    conf = c.etc / "slurm.conf"
    was = conf.read_text()
    gate = c.shared / "gate"
    gate.write_text("#!/bin/sh\n[ -e /var/tmp/gated ] || exit 0\n: >/var/tmp/at-gate\n"
                    "while [ ! -e /var/tmp/go ]; do sleep 0.05; done\n")
    gate.chmod(0o755)
    try:
        conf.write_text(was + "TaskProlog=/shared/gate\n")
        sh(COMMAND, "reconfigure")
        for mib in (16, 256):
            found, _ = move(c, "--checkpoint", mib, True)
            found.pop("rpc_user")  # counted without strace above
            result[f"store_{mib}_mib"] = found
    finally:
        conf.write_text(was)
        sh(COMMAND, "reconfigure")
    json.dump(result, sys.stdout, indent=1)
    print()


main()
