# SPDX-License-Identifier: GPL-2.0-or-later
"""What the node that a job goes on on has not is found before criu starts, and
named: then nothing is lost, and the job goes on once it is there."""
import pytest

from conftest import until
from test_faults import answer, order

LIBRARY = "/usr/local/lib/needed.so"
# A real library; and the same with another build-id in its note.
OTHER = ("import re, sys; d = open(sys.argv[1], 'rb').read(); "
         "i = d.index(b'GNU\\0', d.index(b'\\x04\\0\\0\\0\\x14\\0\\0\\0\\x03\\0\\0\\0')) + 4; "
         "open(sys.argv[2], 'wb').write(d[:i] + b'\\xaa' * 20 + d[i + 20:])")
PROGRAM = """import ctypes, time
ctypes.CDLL("{library}")
for i in range(1, 101):
    print("line", i, flush=True)
    time.sleep(0.1)
"""


def root(cluster, node, command):
    return cluster.run(node, command, user="root").stdout


def begin(cluster, library, options="-w n1"):
    (cluster.home() / "program.py").write_text(PROGRAM.format(library=library))
    job = cluster.submit(cluster.script("job.sh", "exec python3 program.py\n"),
                         options=f"--requeue --checkpoint -e err {options}")
    job.wait_output("^line 10$")
    return job


def goes_to_n2(cluster, job):
    """Checkpointed on n1, it may only run on n2."""
    order(cluster, job, "one")
    assert answer(cluster, job, "one") is None
    cluster.ctl(f"scontrol requeuehold {job.number}", user="root")
    until("it to be held", lambda: job.state == ["PENDING"])
    cluster.ctl(f"scontrol update job {job.number} ReqNodeList=n2; "
                f"scontrol release {job.number}; "
                f"scontrol update job {job.number} StartTime=now+2", user="root")


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
        until("n2 to be left", lambda: job.record()["excluded_nodes"] == "n2")
        said = (cluster.home() / "err").read_text()
        assert "cannot go on on n2: generation 1: " in said and f"{LIBRARY} is not there" in said
        assert "will go on on another node (ExcNodeList=n2; when n2 is mended:" in said
        intruder.cancel()
        assert job.wait_end() == ["COMPLETED"] and job.record()["nodes"] == "n1"
        assert job.text().splitlines() == [f"line {i}" for i in range(1, 101)]
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
        cluster.ctl(f"scontrol release {job.number}; "
                    f"scontrol update job {job.number} StartTime=now+2", user="root")
        assert job.wait_end() == ["COMPLETED"]
        assert job.text().splitlines() == [f"line {i}" for i in range(1, 101)]
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
