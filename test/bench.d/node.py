# SPDX-License-Identifier: GPL-2.0-or-later
"""The node that is measured: commands there, places to write to, settings."""
import contextlib
import os
import pathlib
import re
import shlex
import subprocess

TEST = pathlib.Path(__file__).resolve().parents[1]
COMMAND = TEST / "cluster"
OUT = TEST / "out"
NAME = "n1"
USER = "user1"

# Where on the node, and what it is. The disk is the shared file system.
PLACES = {"tmpfs": "/srv/bench", "disk": "/shared/bench-store"}
# Programs for the node, as the node sees them.
PROGRAMS = "/shared/bench"


class Failed(Exception):
    """A command on the node did not do what it had to; says which and why."""


def run_args(*args, user="root"):
    return [str(COMMAND), "run", NAME, "--user", user, "--", *args]


def call(*args, user="root", capture=True):
    done = subprocess.run(run_args(*args, user=user), capture_output=capture, text=True)
    if done.returncode:
        raise Failed(f"{shlex.join(args)} on {NAME} ended with {done.returncode}: "
                     f"{(done.stderr or done.stdout or '').strip()}")
    return done.stdout


def cluster_dir(what):
    return pathlib.Path(subprocess.run([COMMAND, what], check=True, capture_output=True,
                                       text=True).stdout.strip())


def outside(path):
    """A path of the shared file system, as this machine sees it."""
    return cluster_dir("shared") / pathlib.PurePath(path).relative_to("/shared")


def on_node(path):
    """A path of the node, tmpfs or not, as this machine sees it."""
    return subprocess.run([COMMAND, "path", NAME, path], check=True, capture_output=True,
                          text=True).stdout.strip()


@contextlib.contextmanager
def cluster(nodes=1):
    """The checkout's cluster; one that was not up is removed at the end."""
    started = subprocess.run([COMMAND, "status"], capture_output=True).returncode == 3
    if started:
        subprocess.run([COMMAND, "up", "--nodes", str(nodes)], check=True)
    try:
        yield
    finally:
        if started:
            subprocess.run([COMMAND, "down"], check=True)


@contextlib.contextmanager
def changed(path, text):
    """A file of /etc/slurm has another content, for a time."""
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


@contextlib.contextmanager
def slurm_with(memory_mib, kill_wait):
    """Jobs may have so much memory (their files on tmpfs are counted, too), and
    a dump so much time."""
    path = cluster_dir("etc") / "slurm.conf"
    text = re.sub(r"RealMemory=\d+", f"RealMemory={memory_mib}", path.read_text())
    text = re.sub(r"KillWait=\d+", f"KillWait={kill_wait}", text)
    try:
        with changed(path, text):
            subprocess.run([COMMAND, "reconfigure"], check=True)
            yield
    finally:
        subprocess.run([COMMAND, "reconfigure"], check=True)


@contextlib.contextmanager
def sckpt_conf(text):
    """For steps that start meanwhile."""
    with changed(cluster_dir("etc") / "sckpt.conf", text):
        yield


@contextlib.contextmanager
def place(name, size_mib):
    """An empty directory that every user may write to."""
    path = PLACES[name]
    call("mkdir", "-p", path)
    if name == "tmpfs":
        call("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "bench", path)
    call("chmod", "1777", path)
    try:
        yield path
    finally:
        if name == "tmpfs":
            call("umount", "-l", path)
        call("rm", "-rf", path)


@contextlib.contextmanager
def programs():
    """What is measured, and what measures, on the node."""
    if subprocess.run([COMMAND, "make", "-s", "test/subject/fill"]).returncode:
        raise Failed("test/subject/fill cannot be built: is the cluster older than it? "
                     "test/cluster down && test/cluster up")
    built = cluster_dir("tree") / "test" / "subject"
    there = outside(PROGRAMS)
    there.mkdir(exist_ok=True)
    there.chmod(0o755)
    for source in [built / "fill", TEST / "bench.d" / "bare_agent.py"]:
        subprocess.run(["install", "-m", "755", source, there / source.name], check=True)
    try:
        yield
    finally:
        for p in there.iterdir():
            os.unlink(p)
        there.rmdir()


def free_mib():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise Failed("/proc/meminfo has no MemAvailable")
