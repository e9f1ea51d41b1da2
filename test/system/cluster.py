# SPDX-License-Identifier: GPL-2.0-or-later
"""The cluster of test/cluster and its jobs, as tests see them."""
import contextlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
COMMAND = TOP / "test" / "cluster"
SUITE = os.environ.get("SCKPT_TEST_SUITE", "trixie")
# How much slower than a usual one this machine is (test/vm).
SLOW = int(os.environ.get("SCKPT_TEST_SLOW", "1"))
# How many lines a program has that cannot end before it is stopped, also on a busy machine.
MANY = 1500


def pace(quick="quick"):
    """What jobs' shells wait with between two lines (test/cluster.d/common.sh), until that file is
    in their home."""
    return f"[ -e ~/{quick} ] || sleep $TEST_PACE"


PACE = pace()
# cgroup v2 alone.
V2 = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()


def sh(*args, check=True, **kw):
    kw.setdefault("timeout", 300 * SLOW)
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, **kw)
    if check and done.returncode:
        raise AssertionError(
            f"{shlex.join(map(str, args))} ended with {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done


def until(what, probe, seconds=60):
    """Waits for probe() to be true and returns it; fails by name."""
    seconds *= SLOW
    end = time.monotonic() + seconds
    while True:
        begin = time.monotonic()
        value = probe()
        if value:
            return value
        now = time.monotonic()
        assert now < end, f"waited {seconds} s in vain for {what}"
        # Asking leaves half of the time to what is asked about.
        time.sleep(max(0.2, now - begin))


class Job:
    def __init__(self, cluster, number, user, home):
        self.cluster, self.number, self.user = cluster, number, user
        self.home = home
        self.out = home / f"slurm-{number}.out"

    def record(self):
        show = ("/usr/libexec/sckpt/sckpt-record job {}" if SUITE == "bookworm"
                else "scontrol show job {} --json")
        text = self.cluster.ctl(show.format(self.number)).stdout
        job = json.loads(text)["jobs"][0]
        return {"hold": job["priority"]["number"] == 0} | job

    @property
    def state(self):
        return self.record()["job_state"]

    @property
    def node(self):
        r = self.record()
        return r["nodes"] if r["job_state"] == ["RUNNING"] else None

    def exit(self):
        code = self.record()["exit_code"]
        return (
            code["return_code"]["number"] if code["return_code"]["set"] else 0,
            code["signal"]["id"]["number"] if code["signal"]["id"]["set"] else 0,
        )

    def text(self):
        return self.out.read_text() if self.out.exists() else ""

    def wait_running(self, seconds=60):
        return until(f"job {self.number} to run", lambda: self.node, seconds)

    def wait_output(self, pattern, seconds=60):
        return until(
            f"{pattern!r} in the output of job {self.number}: {self.text()[-2000:]}",
            lambda: re.search(pattern, self.text(), re.M),
            seconds,
        )

    def wait_end(self, seconds=120):
        def ended():
            s = self.state
            return s if s[0] not in ("RUNNING", "PENDING", "COMPLETING") and (
                "COMPLETING" not in s and "PENDING" not in s) else None

        return until(f"job {self.number} to end", ended, seconds)

    def finish(self, seconds=120):
        """Its lines (PACE) come at once from now on; waits for its end."""
        (self.home / "quick").touch()
        state = self.wait_end(seconds)
        (self.home / "quick").unlink()
        return state

    def store(self, step="batch"):
        return self.home / ".sckpt" / "test" / str(self.number) / step

    def manifests(self, step="batch"):
        """The manifests' files, oldest first."""
        d = self.store(step)
        if not d.exists():
            return []
        found = [(int(m[1]), int(m[2]), p) for p in d.iterdir()
                 if (m := re.match(r"^(\d+)-(\d+)\.json$", p.name))]
        return [p for _, _, p in sorted(found)]

    def generations(self, step="batch"):
        return [int(p.name.split("-")[0]) for p in self.manifests(step)]

    def manifest(self, step="batch"):
        return json.loads(self.manifests(step)[-1].read_text())

    def verify(self, step="batch", node="ctl"):
        """A line for each generation that counts, newest first: "2-0 whole", or
        "2-0: why not". Reads every byte, as a restore does."""
        path = self.cluster.inside(self.store(step))
        done = self.cluster.run(node, f"/shared/subject/generation verify {path}",
                                user=self.user, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout.splitlines()

    def preempt(self, hold=None, seconds=60):
        """A job of higher priority takes the node; returns once this one runs
        on another node. The intruder is gone then. No node is free before hold() returns."""
        node = self.wait_running()
        with self.cluster.drained([n for n in self.cluster.nodes if n != node] if hold else []):
            intruder = self.cluster.intruder(node)
            until(f"job {self.number} to leave {node}", lambda: self.node != node, seconds)
            if hold:
                hold()
        until(
            f"job {self.number} to run elsewhere",
            lambda: self.node not in (None, node),
            seconds,
        )
        intruder.cancel()
        return node

    def vacate(self, node):
        """Requeued and held; it is to go on on node."""
        self.cluster.ctl(f"scontrol requeuehold {self.number}")
        until("the requeue", lambda: self.state == ["PENDING"])
        self.cluster.ctl(f"scontrol update job {self.number} ReqNodeList={node}")

    def release(self, update=""):
        """From its hold, and changed so; it need not wait for its credential's end."""
        change = f"scontrol update job {self.number}"
        self.cluster.ctl((f"{change} {update}; " if update else "") + f"scontrol release {self.number}; "
                         f"{change} StartTime=now+2 || true", user="root")

    def cancel(self, *args):
        self.cluster.ctl(f"scancel {' '.join(args)} {self.number}", user=self.user)


class Cluster:
    def __init__(self):
        self.shared = pathlib.Path(sh(COMMAND, "shared").stdout.strip())
        self.etc = pathlib.Path(sh(COMMAND, "etc").stdout.strip())
        self.look()

    def look(self):
        self.nodes = sorted(set(self.ctl("sinfo -h -N -p low -o %N").stdout.split()))

    def run(self, node, command, user="user1", check=True, **kw):
        return sh(COMMAND, "run", node, "--user", user, "--", "bash", "-c", command,
                  check=check, **kw)

    def ctl(self, command, user="user1", **kw):
        return self.run("ctl", command, user=user, **kw)

    def inside(self, path):
        """A path of this machine in the shared directory, as the nodes see it."""
        return "/shared/" + str(pathlib.Path(path).relative_to(self.shared))

    def home(self, user="user1"):
        return self.shared / "home" / user

    def submit(self, *args, options="", user="user1"):
        command = f"sbatch --parsable {options} {shlex.join(map(str, args))}"
        number = int(self.ctl(command, user=user).stdout.strip())
        return Job(self, number, user, self.home(user))

    def intruder(self, node):
        """A job of higher priority that wants all of the node."""
        return self.submit("--wrap", "sleep 300",
                           options=f"-w {node} -N1 --exclusive -p high", user="user2")

    @contextlib.contextmanager
    def drained(self, nodes):
        """No job begins there meanwhile."""
        def put(state):
            if nodes:
                self.ctl(f"scontrol update NodeName={','.join(nodes)} State={state}", user="root")

        put("DRAIN Reason=test")
        try:
            yield
        finally:
            put("RESUME")

    @contextlib.contextmanager
    def replaced(self, command, text):
        """One of Slurm's, on all nodes, by a script of sh; it itself is NAME.real there."""
        path = f"/usr/bin/{command}"
        self.script(command, text)
        try:
            for node in self.nodes:
                self.run(node, f"mv {path} {path}.real; install -m 755 /home/user1/{command} {path}", user="root")
            yield
        finally:
            for node in self.nodes:
                self.run(node, f"mv {path}.real {path}", user="root")

    @contextlib.contextmanager
    def slurmctld_stopped(self):
        pid = self.run("ctl", "cat /run/slurmctld.pid", user="root").stdout.strip()
        self.run("ctl", f"kill -STOP {pid}", user="root")
        try:
            yield
        finally:
            self.run("ctl", f"kill -CONT {pid}", user="root")

    def put(self, name, text):
        """A file of /etc/slurm. Who reads it meanwhile reads the old one or the new one."""
        new = self.etc / f".{name}.new"
        new.write_text(text)
        new.replace(self.etc / name)

    @contextlib.contextmanager
    def slurm_conf(self, change):
        """With what that function makes of it. No job may begin a step at the begin or the end of
        this: while slurmctld starts itself again a srun gets no answer, and asks again after two minutes."""
        before = (self.etc / "slurm.conf").read_text()
        try:
            self.put("slurm.conf", change(before))
            sh(COMMAND, "reconfigure")
            yield
        finally:
            self.put("slurm.conf", before)
            sh(COMMAND, "reconfigure")

    def kill_wait(self, seconds):
        """What is done while a step is being stopped takes longer than KillWait on a busy machine."""
        return self.slurm_conf(lambda text: re.sub("^KillWait=.*", f"KillWait={seconds * SLOW}", text, flags=re.M))

    def script(self, name, text, user="user1"):
        path = self.home(user) / name
        path.write_text("#!/bin/bash\n" + text)
        os.chown(path, 1000 + int(user[-1]), 1000 + int(user[-1]))
        path.chmod(0o755)
        return name

    def log(self, node, daemon="slurmd"):
        path = sh(COMMAND, "path", node, f"/var/log/slurm/{daemon}.log").stdout.strip()
        return pathlib.Path(path).read_text(errors="replace")

    def ps(self, node):
        """Every process of a node: PID there, user, command."""
        out = self.run(node, "ps -eo pid=,user=,args=", user="root").stdout
        return [line.split(None, 2) for line in out.splitlines()]

    def idle(self):
        """No user process anywhere, no job, every node idle and not drained."""
        def quiet():
            if self.ctl("squeue -h").stdout.strip():
                return False
            states = self.ctl("sinfo -h -N -p low -o %T").stdout.split()
            return states == ["idle"] * len(self.nodes)

        until("an idle cluster", quiet, 90)
        for node in self.nodes:
            left = [p for p in self.ps(node) if p[1].startswith("user")]
            assert left == [], f"left on {node}: {left}"

    def install_subjects(self):
        """The programs that jobs run, in /shared/subject."""
        if not os.environ.get("SCKPT_TEST_BUILT"):
            sh(COMMAND, "make", "-s", "subjects")
        tree = pathlib.Path(sh(COMMAND, "tree").stdout.strip()) / "test" / "subject"
        target = self.shared / "subject"
        target.mkdir(exist_ok=True)
        for name in ("captest", "ender", "generation", "memory", "opener", "preload.so", "probe",
                     "sandbox", "sigs", "zoo"):
            sh("install", "-m", "755", tree / name, target / name)
        for name in ("blocked.py", "carry.py", "faulty.py", "local.py", "loop.sh", "numpy_work.py", "pair.py", "work.py", "writer.py"):
            sh("install", "-m", "755", TOP / "test" / "subject" / name, target / name)

    def left(self, node):
        """What is on a node and would not be if no job ever were: users' processes,
        PID namespaces, mounts, groups of jobs."""
        users = [" ".join(p) for p in self.ps(node) if p[1].startswith("user")]
        found = self.run(
            node, "readlink /proc/[0-9]*/ns/pid | sort -u | grep -vxF $(readlink /proc/1/ns/pid); "
            # Over each other, or ours by name.
            "cut -d' ' -f5 /proc/self/mountinfo | sort | uniq -d; "
            "cut -d' ' -f5 /proc/self/mountinfo | grep sckpt; "
            "find /sys/fs/cgroup -type d '(' -name 'job_*' -o -name 'step_*' ')'", user="root", check=False).stdout
        return users + found.splitlines()

    def conf(self, text):
        self.put("sckpt.conf", text)
