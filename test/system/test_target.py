# SPDX-License-Identifier: GPL-2.0-or-later
"""What the node that a job goes on on has not is found before criu starts, and
named: then nothing is lost, and the job goes on once it is there."""
import re

import pytest

from conftest import COMMAND, MANY, V2, sh, until
from test_faults import answer, order

LIBRARY = "/usr/local/lib/needed.so"
# A real library; and the same with another build-id in its note.
OTHER = ("import re, sys; d = open(sys.argv[1], 'rb').read(); "
         "i = d.index(b'GNU\\0', d.index(b'\\x04\\0\\0\\0\\x14\\0\\0\\0\\x03\\0\\0\\0')) + 4; "
         "open(sys.argv[2], 'wb').write(d[:i] + b'\\xaa' * 20 + d[i + 20:])")
# Both say MANY lines, and are quick once there is that file (PACE).
PROGRAM = """import ctypes, os, time
ctypes.CDLL("{library}")
for i in range(1, {many} + 1):
    print("line", i, flush=True)
    os.path.exists("quick") or time.sleep(float(os.environ["TEST_PACE"]))
"""


def root(cluster, node, command):
    return cluster.run(node, command, user="root").stdout


def begin(cluster, library, options="-w n1"):
    (cluster.home() / "program.py").write_text(PROGRAM.format(library=library, many=MANY))
    job = cluster.submit(cluster.script("job.sh", "exec python3 program.py\n"),
                         options=f"--requeue --checkpoint -e err {options}")
    job.wait_output("^line 10$")
    return job


def goes_to_n2(cluster, job, only="ReqNodeList=n2"):
    """Checkpointed on n1, it may only run on n2."""
    order(cluster, job, "one")
    assert answer(cluster, job, "one") is None
    cluster.ctl(f"scontrol requeuehold {job.number}", user="root")
    until("it to be held", lambda: job.state == ["PENDING"])
    job.release(only)


def test_goes_elsewhere(cluster):
    """Not held: it is queued again, and a node that has the library is found."""
    root(cluster, "n1", f"cp -L /usr/lib/x86_64-linux-gnu/libz.so.1 {LIBRARY}")
    root(cluster, "n2", f"rm -f {LIBRARY}")
    try:
        cluster.ctl("scontrol update NodeName=n2 State=DRAIN Reason=test", user="root")
        job = begin(cluster, LIBRARY, "")
        cluster.ctl("scontrol update NodeName=n2 State=RESUME", user="root")
        intruder = cluster.submit("--wrap", "sleep 300", user="user2",
                                  options="-w n1 -N1 --exclusive -p high")
        said = until("n2 to be left", lambda: (text := (cluster.home() / "err").read_text()) and
                     "will go on on another node (ExcNodeList=n2; when n2 is mended:" in text and text)
        assert job.record()["excluded_nodes"] == "n2"
        assert "cannot go on on n2: generation 1: " in said and f"{LIBRARY} is not there" in said
        intruder.cancel()
        assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n1"
        assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    finally:
        root(cluster, "n1", f"rm -f {LIBRARY}")


def held(job):
    r = job.record()
    return job.state == ["PENDING"] and r["priority"]["number"] == 0


@pytest.mark.parametrize("what", ["other", "missing"])
def test_library(cluster, what):
    root(cluster, "n1", f"cp -L /usr/lib/x86_64-linux-gnu/libz.so.1 {LIBRARY}")
    if what == "other":
        root(cluster, "n2", f"python3 -c \"{OTHER}\" /usr/lib/x86_64-linux-gnu/libz.so.1 {LIBRARY}")
    else:
        root(cluster, "n2", f"rm -f {LIBRARY}")
    try:
        job = begin(cluster, LIBRARY)
        goes_to_n2(cluster, job)
        until("it to be held again", lambda: held(job) and job.record()["restart_cnt"] == 2)
        said = (cluster.home() / "err").read_text()
        assert "the program has files mapped that are not the same on n2 as on n1" in said
        assert (f"{LIBRARY} is of another build (aaaaaaaa, and was " if what == "other"
                else f"{LIBRARY} is not there") in said
        assert "criu" not in said
        root(cluster, "n2", f"cp -L /usr/lib/x86_64-linux-gnu/libz.so.1 {LIBRARY}")
        job.release()
        assert job.finish() == ["COMPLETED"]
        assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    finally:
        for node in ("n1", "n2"):
            root(cluster, node, f"rm -f {LIBRARY}")


def test_package_is_named(cluster):
    """An update of a package on one node, as the program sees it."""
    path = root(cluster, "n2", "ls /usr/lib/python3.*/lib-dynload/_codecs_hk.*.so").strip()
    root(cluster, "n2", f"cp -p {path} /root/kept; python3 -c \"{OTHER}\" /root/kept {path}")
    try:
        job = begin(cluster, path)
        goes_to_n2(cluster, job)
        until("it to be held again", lambda: held(job) and job.record()["restart_cnt"] == 2)
        version = root(cluster, "n2", "dpkg-query -W -f '${Package} ${Version}' "
                       f"$(dpkg-query -S {path} | cut -d: -f1)")
        assert f", here of package {version}" in (cluster.home() / "err").read_text()
    finally:
        root(cluster, "n2", f"cp -p /root/kept {path}; rm /root/kept")


# What the node of the checkpoint has and n2 has not: how n1 is made ready, how n2 is
# spoilt and mended, options of the job, and what is said.
EVERYWHERE = "mkdir -p /data /shared/data/in; touch /shared/data/in/file; chmod -R a+rwX /shared/data"
MOUNT = EVERYWHERE + "; mountpoint -q /data || mount --bind /shared/data /data"
MEMORY = "/sys/fs/cgroup/" + ("memory.max" if V2 else "memory/memory.limit_in_bytes")
NO_LIMIT = "max" if V2 else "-1"
PIDS = "/sys/fs/cgroup/" + ("pids" if V2 else "pids/pids")
LACKS = {
    "mount": (MOUNT, "umount /data", MOUNT, "",
              r"the program uses /data/in(/file)?, of the file system \S+ \(\S+\) that n1 has mounted on /data, "
              "and nothing is mounted there on n2: mount it there"),
    "memory": ("true", f"echo 150M >{MEMORY}", f"echo {NO_LIMIT} >{MEMORY}", "--mem=400M",
               r"the program had 2\d\d MiB of memory in use, and the step may use 150 MiB here: give it more "
               r"\(scontrol update job \d+ MinMemoryNode=\d+, or --mem of srun\)"),
    "memory of the node": ("true", f"echo 150M >{MEMORY}", f"echo {NO_LIMIT} >{MEMORY}", "",
                           r"the program had 2\d\d MiB of memory in use, and a cgroup of n2 lets the step have 150 MiB"),
    "threads": ("true", f"echo $(($(cat {PIDS}.current) + 30)) >{PIDS}.max", f"echo max >{PIDS}.max", "",
                r"the program has 4\d processes and threads, and a cgroup of n2 leaves room for \d+: raise its pids.max"),
    "groups": ("true", "gpasswd -d user1 project", "usermod -aG project user1", "", "only root can change a program's groups, and its user is not in 2001 \\(project\\) any more: "
               "have it as before, or start afresh"),
}
JOBS_OWN = ("memory", "groups")
USER = """import os, threading, time
what = "{what}"
if what == "mount":
    os.chdir("/data/in")
    kept = open("/data/in/file")
if what.startswith("memory"):
    kept = bytearray(b"x" * (200 << 20))
if what == "threads":
    for _ in range(40):
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
for i in range(1, {many} + 1):
    print("line", i, flush=True)
    os.path.exists("/home/user1/quick") or time.sleep(float(os.environ["TEST_PACE"]))
"""


def join(cluster, command):
    """slurmctld says which groups a user is in, and remembers it."""
    for node in ("ctl", "n1", "n2"):
        root(cluster, node, command)
    sh(COMMAND, "restart", "ctl")
    until("slurmctld to answer", lambda: cluster.ctl("scontrol ping", check=False).returncode == 0)


@pytest.fixture(params=LACKS)
def lacks(cluster, request):
    ready, spoil, mend, options, text = LACKS[request.param]
    root(cluster, "n1", ready)
    if request.param == "groups":
        join(cluster, "groupadd -g 2001 project; usermod -aG project user1")
    if request.param == "mount":
        root(cluster, "n2", EVERYWHERE)
    (cluster.home() / "program.py").write_text(USER.format(what=request.param, many=MANY))
    yield request.param, spoil, mend, options, text
    if request.param == "groups":
        return join(cluster, "groupdel project")
    root(cluster, "n2", mend)
    for node in ("n1", "n2"):
        root(cluster, node, "! mountpoint -q /data || umount /data; rm -rf /shared/data; rmdir /data || true")


def test_lacks(cluster, lacks):
    """Refused before criu starts, named, held; and once it is there the job goes on."""
    what, spoil, mend, options, text = lacks
    job = cluster.submit(cluster.script("job.sh", "exec python3 program.py\n"),
                         options=f"--requeue --checkpoint -e err {options} "
                         + ("-x n2" if what in JOBS_OWN else "-w n1"))
    job.wait_output("^line 10$")
    change = join if what == "groups" else lambda c, command: root(c, "n2", command)
    if what != "mount":
        change(cluster, spoil)
    # What another node would not have either does not keep the job from this one.
    goes_to_n2(cluster, job, "ExcNodeList=n1" if what in JOBS_OWN else "ReqNodeList=n2")
    until("it to be held again", lambda: held(job) and job.record()["restart_cnt"] == 2)
    said = (cluster.home() / "err").read_text()
    assert re.search(text, said), said
    assert "criu" not in said and job.record()["excluded_nodes"] in ("", "n1")
    change(cluster, mend)
    job.release()
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n2"
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


def test_memory_of_others(cluster):
    """Without a memory cgroup for the step, the memory of all that runs on the node
    is not taken for the program's."""
    used = "/tmp/used"
    root(cluster, "n1", f"mkdir {used} && mount -t tmpfs none {used} && "
         f"head -c 200M /dev/zero >{used}/file")
    try:
        job = cluster.submit(cluster.script("job.sh", "echo line; exec sleep 60\n"),
                             options="--requeue --checkpoint -w n1")
        job.wait_output("^line$")
        order(cluster, job, "one")
        assert answer(cluster, job, "one") is None
        m = job.manifest()
        assert 0 < m["needs"]["memory_bytes"] <= m["resident_bytes"]
    finally:
        root(cluster, "n1", f"umount {used}; rmdir {used}")
    job.cancel()
