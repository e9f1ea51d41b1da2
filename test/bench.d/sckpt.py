# SPDX-License-Identifier: GPL-2.0-or-later
"""sckpt's side, through real Slurm: a batch job, requests for checkpoints as
`sckpt create` makes them, a requeue. What is measured the step itself tells:
its manifests, and status.json after a restore."""
import json
import os
import pathlib
import shlex
import time

import node

CLUSTER = "test"  # ClusterName in slurm.conf
PROOF = "touched"


def until(what, probe, seconds=300):
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise node.Failed(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)


def settings(path, buffer=""):
    """sckpt.conf for checkpoints in path."""
    return f"dir={path}\n" + (f"buffer={buffer}\n" if buffer else "")


class Job:
    def __init__(self, argv, path):
        self.number = int(node.call(
            "sbatch", "--parsable", "--requeue", "--checkpoint=required", "--exclusive",
            "-c2", "-w", node.NAME, "-o", "bench-%j.out", "--wrap",
            f"exec {shlex.join(argv)}", user=node.USER))
        self.out = node.outside(f"/shared/home/{node.USER}") / f"bench-{self.number}.out"
        self.step = pathlib.Path(
            node.on_node(f"{path}/{node.USER}/{CLUSTER}/{self.number}/batch"))

    def said(self):
        return self.out.read_text().split() if self.out.exists() else []

    def wait_said(self, word, count=1):
        def probe():
            if self.said().count(word) >= count:
                return True
            if self.state() not in (["PENDING"], ["RUNNING"]):
                raise node.Failed(f"job {self.number} is {self.state()} before it said "
                                  f"{word}: {' '.join(self.said())[-500:]}")
            return False
        until(f"{word} from job {self.number}", probe)

    def state(self):
        return self.record()["job_state"]

    def record(self):
        return json.loads(node.call("scontrol", "show", "job", str(self.number),
                                    "--json"))["jobs"][0]

    def signal(self, sig, word):
        count = self.said().count(word)
        node.call("scancel", "-b", "-s", sig, str(self.number), user=node.USER)
        self.wait_said(word, count + 1)

    def requeue(self, before_restore):
        """Dump and end, and restore on the same node."""
        node.call("scontrol", "requeuehold", str(self.number), user=node.USER)
        until(f"the end of job {self.number}", lambda: self.state() == ["PENDING"])
        before_restore()
        node.call("scontrol", "release", str(self.number), user=node.USER)
        # It would wait for cred_expire.
        node.call("scontrol", "update", f"JobId={self.number}", "StartTime=now+2",
                  user=node.USER)

    def end(self):
        node.call("scancel", str(self.number), user=node.USER)
        until(f"job {self.number} to end",
              lambda: not {"RUNNING", "PENDING", "COMPLETING"} & set(self.state()))
        self.out.unlink(missing_ok=True)


class Sckpt:
    def create(self, job):
        """Takes a checkpoint and returns its manifest."""
        status = job.step / "status.json"
        request = job.step / "request"
        request.write_text(ident := os.urandom(8).hex())
        os.chown(request, job.step.stat().st_uid, job.step.stat().st_gid)
        node.call("scancel", "-b", "-s", "URG", str(job.number), user=node.USER)

        def answer():
            s = json.loads(status.read_text()) if status.exists() else {}
            return s if s.get("request") == ident and s["state"] in ("saved", "refused") else None

        said = until(f"the checkpoint of job {job.number}", answer)
        if said["state"] != "saved":
            raise node.Failed(f"job {job.number}: {said['text']}")
        return json.loads((job.step / f"{said['generation']}-{said['run']}.json").read_text())

    def run(self, subject, place, path):
        """Up to three dumps that leave it running (the first; 5 % of the pages
        changed; 10 % put into the middle), and one restore."""
        job = Job(subject.argv, path)
        try:
            job.wait_said(subject.ready)
            result = self.dumps(job, subject)
            peak = agent_peak_bytes()
            job.requeue(lambda: place == "disk" and forget(job.step))
            # Slurm calls a job running, and loses its signals, before it has a step.
            result |= self.restored(job)
            if subject.obeys:
                job.signal("USR2", PROOF)
            if peak:
                result["peak_bytes"] = peak
            return result
        finally:
            job.end()
            node.call("rm", "-rf", f"{path}/{node.USER}")

    def dumps(self, job, subject):
        result = pick(self.create(job), "frozen_us", "dump_us", "stored_bytes",
                      "resident_bytes")
        if subject.obeys:
            job.signal("USR2", "touched")
            result |= pick(self.create(job), "frozen_us", "dump_us", "stored_bytes",
                           suffix="_changed")
            job.signal("USR1", "grown")
            result |= pick(self.create(job), "frozen_us", "dump_us", "stored_bytes",
                           suffix="_grown")
        return result

    def restored(self, job):
        # Of Slurm nothing is asked meanwhile: that is a dozen processes each time, on the
        # CPUs on which it is restored.
        def running():
            said = json.loads((job.step / "status.json").read_text())
            return said if said["state"] == "running" and said["restore_us"] else None
        return pick(until(f"the restore of job {job.number}", running, 60), "restore_us")


def pick(record, *keys, suffix=""):
    missing = [k for k in keys if k not in record]
    if missing:
        raise node.Failed(f"sckpt does not tell {', '.join(missing)}: {record}")
    return {k + suffix: record[k] for k in keys}


def agent_peak_bytes():
    """The agent's resident memory at its highest, its program file and libraries
    among it: not less than its peak of private memory."""
    for pid in node.call("sh", "-c", "ps -C sckpt-agent -o pid= || true").split():
        for line in node.call("cat", f"/proc/{pid}/status").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def forget(directory):
    """Out of the page cache, as bare_agent.py does with criu's files."""
    for d, _, names in os.walk(directory):
        for name in names:
            fd = os.open(os.path.join(d, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
