# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs programs: each is a file NAME.sh beside this one, which bash reads.

packages, version  Debian packages; a command whose first line is the version
conf               a line of sckpt.conf that it needs, if any
prepare            once, before the job: compiles, writes input
work               the job, in a directory of its own below prepare's. All that
                   it leaves there, but for err, is compared
"""
import argparse
import dataclasses
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from cluster import COMMAND, TOP, Cluster, Job, sh, until

HERE = pathlib.Path(__file__).resolve().parent
PREEMPTIONS = 3
LEAST, MOST = 3, 9  # s that a program runs between two preemptions
LONGEST = 600  # s for a program


def names():
    return sorted(p.stem for p in HERE.glob("*.sh"))


def packages(name):
    return sh("bash", "-c", '. "$1"; echo $packages', "bash", HERE / f"{name}.sh").stdout.split()


@dataclasses.dataclass
class Result:
    name: str
    version: str
    verdict: str  # works, refused, fails
    why: str = ""
    seconds: float = 0  # of the uninterrupted run

    def __str__(self):
        return f"{self.verdict}{f': {self.why}' if self.why else ''}"


# Of a program that is not dumped; it starts again from its top.
REFUSAL = "^sckpt: no checkpoint of step"


class Ended(Exception):
    """There is no program any more to be preempted."""


class Program:
    def __init__(self, cluster, name, rng):
        self.cluster, self.name, self.rng = cluster, name, rng
        self.home = cluster.home() / "programs" / name
        shutil.rmtree(self.home, ignore_errors=True)
        for d in (self.home.parent, self.home, self.home / "run", self.home / "reference"):
            d.mkdir(exist_ok=True)
            os.chown(d, 1001, 1001)
        shutil.copytree(HERE, self.home / "programs.d")
        shutil.copytree(TOP / "test" / "subject", self.home / "subject")
        (self.home / "job.sh").write_text(
            f"#!/bin/bash\necho run >>../started.${{PWD##*/}}\nset -eo pipefail\n"
            f". ../programs.d/{name}.sh\nwork\n")
        self.inside = cluster.inside(self.home)

    def bash(self, command):
        return self.cluster.ctl(f"cd {self.inside} && . programs.d/{self.name}.sh && {command}").stdout

    def submit(self, where, options):
        number = self.cluster.ctl(
            f"cd {self.inside}/{where} && sbatch --parsable -n1 -c2 -o out -e err --open-mode=append "
            f"{options} ../job.sh").stdout
        return Job(self.cluster, int(number), "user1", self.home)

    def started(self):
        return len((self.home / "started.run").read_text().splitlines())

    def said(self):
        """What sckpt said of what did not go as it should."""
        err = (self.home / "run" / "err").read_text(errors="replace")
        lines = [line for line in err.splitlines() if line.startswith("sckpt: ")]
        return next((line for pattern in (REFUSAL, "not|cannot|fail") for line in lines
                     if re.search(pattern, line)),
                    lines[-1] if lines else "sckpt said nothing")

    def is_held(self):
        return "\nsckpt: the job is held" in (self.home / "run" / "err").read_text(errors="replace")

    def began_anew(self):
        said = self.said()
        return "refused" if re.search(REFUSAL, said) else "fails", said

    def preempt(self, job):
        """As Job.preempt(), but a program may end, or not come back."""
        node = job.node
        time.sleep(self.rng.uniform(LEAST, MOST))
        if job.node != node:
            raise Ended
        intruder = self.cluster.submit(
            "--wrap", "sleep 300", options=f"-w {node} -N1 --exclusive -p high", user="user2")
        try:
            until(f"job {job.number} to run elsewhere", lambda: (
                job.node not in (None, node) or self.is_held() or
                job.state[0] not in ("RUNNING", "PENDING")), 90)
        finally:
            intruder.cancel()
        if not job.node:
            raise Ended

    def difference(self):
        run, reference = self.home / "run", self.home / "reference"

        def files(top):
            return {p.relative_to(top) for p in top.rglob("*")
                    if p.is_file() and p.name != "err"}

        if files(run) != files(reference):
            return f"other files: {sorted(map(str, files(run) ^ files(reference)))}"
        if not any((reference / p).stat().st_size for p in files(reference)):
            return "nothing to compare was written"
        for p in sorted(files(run)):
            a, b = (run / p).read_bytes(), (reference / p).read_bytes()
            if a != b:
                at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                return f"{p} differs at byte {at} ({len(a)} bytes, to be {len(b)})"
        return ""

    def run(self):
        version = self.bash("eval \"$version\" 2>&1 | head -n 1").strip()
        self.bash("{ ! declare -F prepare >/dev/null || prepare; }")
        self.cluster.conf(self.bash('echo "${conf:-}"'))
        reference = self.submit("reference", "-w n3")
        job = self.submit("run", "--requeue --checkpoint -x n3")

        def result(verdict, why=""):
            return Result(self.name, version, verdict, why, self.seconds(reference))

        try:
            for n in range(1, PREEMPTIONS + 1):
                job.wait_running()
                try:
                    self.preempt(job)
                except Ended:
                    break
                if self.started() > 1:
                    return result(*self.began_anew())
            if self.is_held():
                return result("fails", self.said())
            state = job.wait_end(LONGEST)
            times = job.record()["restart_cnt"]
            if state != ["COMPLETED"]:
                return result("fails", f"{state[0]}, exit {job.exit()}: {self.said()}")
            if self.started() > 1:
                return result(*self.began_anew())
            if times != PREEMPTIONS:
                return result("fails", f"ended after {times} preemptions: too short a program")
            state = reference.wait_end(LONGEST)
            if state != ["COMPLETED"]:
                return result("fails", f"uninterrupted it ends as {state[0]}, {reference.exit()}")
            why = self.difference()
            return result("fails" if why else "works", why)
        except AssertionError as e:
            return result("fails", f"{str(e).splitlines()[0]}; {self.said()}")
        finally:
            self.cluster.conf("")
            for j in (job, reference):
                j.cluster.ctl(f"scancel {j.number}", check=False)

    @staticmethod
    def seconds(job):
        r = job.record()
        return max(0, r["end_time"]["number"] - r["start_time"]["number"]) if (
            r["job_state"] == ["COMPLETED"]) else 0


def main(text):
    p = argparse.ArgumentParser(prog="test/programs", description=text)
    p.add_argument("name", nargs="*", help="of programs (default: all)")
    p.add_argument("--list", action="store_true", help="their names and packages")
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20),
                   help="of an earlier run: the same moments again")
    p.add_argument("--keep", action="store_true",
                   help="leave the cluster up, and use the one that was left")
    p.add_argument("--small", action="store_true",
                   help="a root for the nodes with the packages of these programs alone")
    args = p.parse_args()
    if unknown := set(args.name) - set(names()):
        p.error(f"there is no {', '.join(sorted(unknown))} (--list)")
    chosen = args.name or names()
    if args.list:
        for name in chosen:
            print(f"{name:16} {' '.join(packages(name))}")
        return
    # One root for all, whatever is chosen: it is made once.
    os.environ["SCKPT_TEST_PACKAGES"] = " ".join(sorted(
        {q for n in (chosen if args.small else names()) for q in packages(n)}))
    print(f"test/programs --seed {args.seed} {' '.join(chosen)}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not (args.keep and sh(COMMAND, "status", check=False).returncode == 0):
            subprocess.run([COMMAND, "up", "--nodes", "3"], check=True, stdout=subprocess.DEVNULL)
        results = work(chosen, args.seed)
    finally:
        if not args.keep:
            sh(COMMAND, "down")
    sys.exit(any(r.verdict == "fails" for r in results))


def work(chosen, seed):
    cluster, results = Cluster(), []
    for name in chosen:
        begin = time.monotonic()
        program = Program(cluster, name, random.Random(f"{seed} {name}"))
        r = program.run()
        results.append(r)
        print(f"{name:16} {r.version:40.40} {r}  [{r.seconds:.0f} s, with all "
              f"{time.monotonic() - begin:.0f} s]", flush=True)
        if r.verdict == "fails":
            keep = TOP / "test" / "out" / f"programs-{name}"
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(program.home, keep, ignore=lambda d, n: ["subject", "programs.d"])
            print(f"  its files are in {keep}", flush=True)
        else:
            shutil.rmtree(program.home)
    return results
