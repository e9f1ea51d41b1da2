# SPDX-License-Identifier: GPL-2.0-or-later
"""What only the node has (/tmp, /dev/shm, …) comes along to the next one."""
import re

import pytest

from test_refusals import held

SUBJECT = "/shared/subject"
LINES = 2000


def start(cluster, name, options="-w n1", lines=LINES):
    script = cluster.script(f"{name}.sh", f"exec {SUBJECT}/local.py {lines}\n")
    return cluster.submit(script, options=f"--requeue --checkpoint {options}")


def test_files_come_along(cluster):
    """Two nodes, three hops, and the node is not the one it began on."""
    whole = start(cluster, "whole", "-w n2", 50)
    assert whole.wait_end() == ["COMPLETED"], whole.text()
    # Of old copies that it finds it may say that they were kept.
    job = start(cluster, "hops", "-e err")
    job.wait_output("^line 50$")
    for _ in range(3):
        job.preempt()
        # It was stopped before it could say that.
        job.wait_output(f"^line {len(job.text().splitlines()) + 50}$")
    assert job.finish() == ["COMPLETED"], job.text()
    lines = job.text().splitlines()
    assert lines[:LINES] == [f"line {i}" for i in range(LINES)]
    said = dict(line.split(" ", 1) for line in lines[LINES:])
    like = dict(line.split(" ", 1) for line in whole.text().splitlines()[50:])
    for same in ("input", "deep", "integrity"):
        assert said[same] == like[same], (said, like)
    assert said["input"] == f"0o100440 {10**18}"
    assert said["sparse"] == f"{1 << 30} True {LINES - 1:016x}"
    assert said["nameless"] == str(8 * LINES)
    assert said["names"] == "True two names 2"
    assert said["empty"] == "no more"
    assert said["pipe"] == "0o10640 unread"
    assert said["base"] == f"[({LINES + 1}, {sum(range(LINES)) - 1})]"


def test_somebody_elses_name(cluster):
    """What another user put in the way is not written to, and not followed."""
    job = start(cluster, "way")
    job.wait_output("^line 50$")
    job.vacate("n2")
    there = f"/tmp/local-{job.number}"
    cluster.run("n2", f"mkdir -m 777 {there}", user="user2")
    cluster.ctl(f"scontrol release {job.number}")
    held(job, f"{there} is another user's on this node")
    cluster.run("n2", f"rmdir {there}; ln -s /shared/home/user1 {there}", user="user2")
    cluster.ctl(f"scontrol release {job.number}")
    held(job, f"{there} is another user's on this node")
    cluster.run("n2", f"rm {there}", user="user2")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"], job.text()


def test_what_had_the_name_is_kept(cluster):
    """The user's own file of another job: it is moved away, not written over."""
    job = start(cluster, "mine")
    job.wait_output("^line 50$")
    job.vacate("n2")
    there = f"/tmp/local-{job.number}/deep"
    cluster.run("n2", f"mkdir -p {there}; echo other >{there}/appended")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"], job.text()
    assert "deep 0o40710 True" in job.text()
    kept = cluster.run("n2", f"cat {there}/appended.sckpt-cut.{job.number}.*").stdout
    assert kept == "other\n"
    assert re.search("what it held lies in", job.text())


def test_too_large(cluster):
    """It is told which file keeps the job on its node, and there it goes on."""
    cluster.conf("files-max=1K\n")
    job = start(cluster, "large")
    job.wait_output("^line 50$")
    cluster.run("n1", f"sckpt create {job.number}")
    job.wait_output(r"deep/input \(.*\) is on n1 alone and does not travel .* files-max= allows, 1.0 KiB")
    job.vacate("n2")
    cluster.ctl(f"scontrol release {job.number}")
    held(job, "/deep/input, which the program has open, was only on the node of the checkpoint")
    cluster.ctl(f"scontrol update job {job.number} ReqNodeList=n1")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"], job.text()


MAPPED = """import mmap, os, time
f = open("/tmp/mapped-" + os.environ["SLURM_JOB_ID"], "w+b", buffering=0)
f.write(bytes(1 << 20))
shared = mmap.mmap(f.fileno(), 1 << 20)
for i in range(1, {lines} + 1):
    was = int.from_bytes(shared[8 * i - 8:8 * i], "big") if i > 1 else 0
    assert was == i - 1, f"the file has {{was}} and not {{i - 1}}"
    shared[8 * i:8 * i + 8] = i.to_bytes(8, "big")
    print("line", i, flush=True)
    os.path.exists("quick") or time.sleep(0.1)
os.unlink(f.name)
"""


def test_what_is_written_by_mapping_it(cluster):
    """tmpfs does not count that in the file's times. Back on a node where a copy
    from before lies, and after checkpoints that the job survived."""
    (cluster.home() / "mapped.py").write_text(MAPPED.format(lines=LINES))
    job = cluster.submit(cluster.script("job.sh", "exec python3 mapped.py\n"),
                         options="--requeue --checkpoint=every=1s -e err")
    job.wait_output("^line 20$")
    for _ in range(3):
        seen = len(job.text().splitlines())
        job.preempt()
        job.wait_output(f"^line {seen + 20}$")
    assert job.finish() == ["COMPLETED"], (cluster.home() / "err").read_text()
    assert job.text().splitlines() == [f"line {i}" for i in range(1, LINES + 1)]


BOUND = """import os, socket, tempfile, time
job = os.environ["SLURM_JOB_ID"]
name = f"/tmp/bound-{job}/deep/listener"
os.makedirs(os.path.dirname(name), 0o700)
s = socket.socket(socket.AF_UNIX)
s.bind(name)
s.listen()
os.mkdir(f"/tmp/bound-{job}/here")
os.chdir(f"/tmp/bound-{job}/here")
os.mkdir("below")
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
d.bind("below/datagrams\\n")
os.mkdir("gone")
g = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
g.bind(os.getcwd() + "/gone/socket")
os.unlink("gone/socket")
print("ready", flush=True)
while not os.path.exists(os.path.expanduser("~/go")):
    time.sleep(0.1)
c = socket.socket(socket.AF_UNIX)
c.connect(name)
c.sendall(b"stream")
print(s.accept()[0].recv(100).decode(), oct(os.stat(name).st_mode), flush=True)
c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
c.connect("below/datagrams\\n")
c.send(b"datagram")
print(d.recv(100).decode(), os.path.exists("gone/socket"), os.path.exists("gone"), flush=True)
"""


def test_names_of_unix_sockets(cluster):
    """The directories that they are in come along, though nothing is open there; of
    the user's own, what has the name on the next node is a left-over."""
    (cluster.home() / "bound.py").write_text(BOUND)
    job = cluster.submit(cluster.script("job.sh", "exec python3 bound.py\n"),
                         options="--requeue --checkpoint -w n1")
    job.wait_output("^ready$")
    job.vacate("n2")
    there = f"/tmp/bound-{job.number}/deep"
    cluster.run("n2", f"mkdir -p {there}; perl -MIO::Socket::UNIX -e "
                f"'IO::Socket::UNIX->new(Local => \"{there}/listener\") or die'")
    cluster.ctl(f"touch /shared/home/user1/go; scontrol release {job.number}")
    assert job.wait_end() == ["COMPLETED"], job.text()
    assert job.text().splitlines() == [
        "ready", "stream 0o140755", "datagram False True"], job.text()


OPENED = """import os, time
top = os.environ["WHERE"] + "/dir-" + os.environ["SLURM_JOB_ID"]
os.makedirs(top + "/a/b")
there = os.open(top + "/a/b", os.O_RDONLY)
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.1)
with os.fdopen(os.open("new", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=there), "w") as f:
    f.write("text")
print(os.listdir(top + "/a/b"), flush=True)
"""


@pytest.mark.parametrize("where", ("/tmp", "/srv/link"))
def test_open_directories(cluster, where):
    """A directory that only is open is needed, too; also below a name that is a link."""
    (cluster.home() / "opened.py").write_text(OPENED)
    for n in ("n1", "n2"):
        cluster.run(n, "mkdir -p /srv/there; chmod 1777 /srv/there; ln -sfn there /srv/link", user="root")
    cluster.conf("local=/tmp:/srv/link\n")
    job = cluster.submit(cluster.script("job.sh", f"export WHERE={where}; exec python3 opened.py\n"),
                         options="--requeue --checkpoint -w n1 -e err")
    job.wait_output("^ready$")
    cluster.run("n1", f"sckpt create {job.number}")
    job.vacate("n2")
    assert job.generations() == [1, 2]
    cluster.ctl(f"touch /shared/home/user1/go; scontrol release {job.number}")
    assert job.wait_end() == ["COMPLETED"], job.text() + (cluster.home() / "err").read_text()
    assert job.record()["nodes"] == "n2"
    assert job.text().splitlines() == ["ready", "['new']"]


def test_another_programs_file_is_kept(cluster):
    """Of the same name and inode as one that the step has left there, and with other content."""
    there = "/tmp/one-$SLURM_JOB_ID"
    script = cluster.script("job.sh", f"exec 3>{there}; echo first >&3; echo ready; "
                            f"until [ -e go ]; do sleep 0.1; done; echo last >&3; cat {there}\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1 -e err")
    job.wait_output("^ready$")
    job.vacate("n1")
    there = there.replace("$SLURM_JOB_ID", str(job.number))
    cluster.run("n1", f"echo other >{there}")
    cluster.ctl(f"touch /shared/home/user1/go; scontrol release {job.number}")
    assert job.wait_end() == ["COMPLETED"], job.text()
    assert job.text().splitlines() == ["ready", "first", "last"]
    assert cluster.run("n1", f"cat {there}.sckpt-cut.{job.number}.*").stdout == "other\n"


SQLITE = """import os, sqlite3, time
base = sqlite3.connect(f"/tmp/base-{os.environ['SLURM_JOB_ID']}", isolation_level=None)
base.execute("create table t (i integer)")
print("ready", flush=True)
while not os.path.exists(os.path.expanduser("~/go")):
    time.sleep(0.1)
base.execute("insert into t values (1)")
print(base.execute("select * from t").fetchall(), flush=True)
"""


def test_on_the_node_it_left(cluster):
    """What is there as it was is the same file, by its inode number, too, which
    SQLite looks at before it writes."""
    (cluster.home() / "base.py").write_text(SQLITE)
    job = cluster.submit(cluster.script("job.sh", "exec python3 base.py\n"),
                         options="--requeue --checkpoint -w n1")
    job.wait_output("^ready$")
    job.vacate("n1")
    cluster.ctl(f"touch /shared/home/user1/go; scontrol release {job.number}")
    assert job.wait_end() == ["COMPLETED"], job.text()
    assert job.text().splitlines() == ["ready", "[(1,)]"]
