# SPDX-License-Identifier: GPL-2.0-or-later
"""The soak itself: gives the cluster jobs, has events happen to it, waits for the
end, and compares."""
import argparse
import collections
import dataclasses
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

import events
import kinds
from cluster import COMMAND, TOP, Cluster, sh, until
from watch import Watch

UNNOTICED = 100  # s; of a dead node, by slurmctld
QUEUE = 8  # jobs that are there at a time
LAST = 300  # s for the end of all jobs, when no events happen any more


@dataclasses.dataclass
class Seen:
    """A job as squeue shows it."""
    number: int
    array: int
    task: str
    state: str
    reason: str
    node: str
    user: str


class Soak:
    REASON = "soak"

    def __init__(self, args):
        self.args, self.cluster = args, Cluster()
        self.rng = random.Random(args.seed)
        self.out = TOP / "test" / "out" / f"soak-{args.seed}"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.log = (self.out / "log").open("w")
        self.begin = time.monotonic()
        self.over = threading.Event()  # no events any more
        self.plans = {}  # job number: (kind, directory, plan)
        self.states = {}  # job number: its last state
        self.happened = collections.Counter()
        self.suspended = set()
        self.no_crash = threading.Lock()
        self.failures = []
        self.spoilt = []
        self.crashed = {}  # node: when it did last
        self.lost = set()  # of these jobs Slurm itself made an end
        self.home = self.cluster.home() / "soak"
        self.watch = Watch(self.cluster.home() / ".sckpt" / "test")

    # ---- the cluster ----

    def note(self, text):
        self.log.write(f"{time.strftime('%T')} {time.monotonic() - self.begin:7.1f} {text}\n")
        self.log.flush()

    def ctl(self, command, user="user1"):
        """What it prints; None if it fails, as it may: slurmctld is restarted, and
        jobs end."""
        done = self.cluster.ctl(command, user=user, check=False)
        if done.returncode:
            self.note(f"  {command}: {done.returncode}: {(done.stdout + done.stderr).strip()}")
        return None if done.returncode else done.stdout

    def surely(self, command):
        until(command, lambda: self.ctl(command, user="root") is not None)

    def pause(self, seconds):
        self.over.wait(seconds)

    def wait_until(self, probe, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over.is_set() and not probe():
            time.sleep(1)

    def jobs(self):
        """All that slurmctld knows; none when it does not answer."""
        text = self.ctl("squeue -h -a -t all -r -o '%A|%F|%K|%T|%r|%N|%u'", user="root")
        return [Seen(int(f[0]), int(f[1]), *f[2:])
                for f in (l.split("|") for l in (text or "").splitlines())]

    # ---- jobs ----

    def submit(self, kind, plan):
        home = self.home / f"{len(self.plans)}-{kind}"
        home.mkdir()
        (home / "job.sh").write_text("#!/bin/bash\n" + plan.script)
        for p in (home, home / "job.sh"):
            os.chown(p, 1001, 1001)
        array = f"--array=1-{plan.tasks} -o out.%a" if plan.tasks > 1 else "-o out"
        done = self.ctl(f"cd {self.cluster.inside(home)} && sbatch --parsable --requeue "
                        f"{array} {plan.options} job.sh")
        if done:
            self.plans[int(done)] = kind, home, plan
            self.note(f"job {done.strip()}: {kind} {plan.options}")
        else:
            shutil.rmtree(home)

    def of_mine(self, jobs):
        return [j for j in jobs if j.array in self.plans]

    def ended(self, jobs):
        """Tasks that have completed, and those that are lost."""
        return [j for j in self.of_mine(jobs)
                if j.state == "COMPLETED" or j.number in self.lost]

    def tasks(self):
        return sum(plan.tasks for _, _, plan in self.plans.values())

    def look(self):
        jobs = self.jobs()
        for j in self.of_mine(jobs):
            now = f"{j.state} {j.reason} {j.node}"
            if self.states.get(j.number) != now:
                self.states[j.number] = now
                self.note(f"  job {j.number}{f' ({j.array}_{j.task})' if j.task != 'N/A' else ''}: {now}")
                self.judge(j)
            if j.state == "RUNNING":
                self.watch.look_at_output(self.plans[j.array][1])
        self.watch.look_at_store()
        return jobs

    def judge(self, job):
        """What no job of these may come to."""
        if job.number in self.lost:
            return
        if job.state == "TIMEOUT" and self.dead_at_limit(job):
            self.lost.add(job.number)
            self.spoilt.append(f"job {job.number}: TIMEOUT on {job.node}, which had crashed before")
        elif job.state in ("FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "BOOT_FAIL",
                         "OUT_OF_MEMORY", "DEADLINE", "PREEMPTED"):
            self.fail(f"job {job.number} has ended as {job.state}", job)
        elif job.state == "PENDING" and re.search("Held|held", job.reason):
            if job.number in self.suspended:
                self.note(f"  Slurm holds job {job.number}, which was suspended")
                self.ctl(f"scontrol release {job.number}", user="root")
                self.states[job.number] = ""
            else:
                self.fail(f"job {job.number} is held ({job.reason})", job)
        elif job.state == "SUSPENDED" and self.over.is_set():
            self.ctl(f"scontrol resume {job.number}", user="root")
            self.states[job.number] = ""

    def dead_at_limit(self, job):
        """Nobody was left to checkpoint it: slurmctld did not know yet that the node was
        dead, and at the limit it ends a job that --requeue does not speak of."""
        at = self.crashed.get(job.node)
        return at is not None and time.monotonic() - at < UNNOTICED

    # ---- what happens ----

    def run_events(self, table, rng, least, most):
        try:
            while not self.over.is_set():
                self.pause(rng.uniform(least, most))
                name = rng.choices(list(table), [weight for weight, _ in table.values()])[0]
                if not self.over.is_set():
                    self.happened[name] += 1
                    table[name][1](self, rng)
        except Exception:
            self.fail(traceback.format_exc())

    def start_events(self, array):
        of_jobs = {"preempt": events.OF_JOBS["preempt"]} if array else events.OF_JOBS
        tables = [(of_jobs, 0, 3)] * (2 if array else 1) + ([] if array else [(events.OF_NODES, 3, 10)])
        threads = [threading.Thread(target=self.run_events,
                                    args=(t, random.Random(self.rng.random()), least, most))
                   for t, least, most in tables]
        for t in threads:
            t.start()
        return threads

    def time_left(self):
        return self.args.minutes * 60 - (time.monotonic() - self.begin)

    def tell(self, jobs):
        mine = self.of_mine(jobs)
        at = int(time.monotonic() - self.begin)
        print(f"{at // 60}:{at % 60:02} {sum(self.happened.values())} events; jobs: "
              f"{sum(j.state == 'RUNNING' for j in mine)} running, "
              f"{sum(j.state == 'COMPLETED' for j in mine)} of {self.tasks()} ended; "
              f"{len(self.watch.checkpoints)} checkpoints, {len(self.watch.restores)} restores"
              f"{f'; {len(self.failures)} FAILURES' if self.failures else ''}", flush=True)
        self.no_drain()

    def no_drain(self):
        for line in (self.ctl("sinfo -h -N -p low -o '%N|%T|%E'", user="root") or "").splitlines():
            node, state, why = line.split("|")
            if "drain" in state and why != self.REASON:
                self.fail(f"{node} is drained: {why}")

    def run(self):
        self.home.mkdir()
        os.chown(self.home, 1001, 1001)
        self.cluster.conf("files=copy\noverhead=20\n")
        if self.args.array:
            # As long as it takes on four CPUs with half of the time lost.
            plan = kinds.array(self.rng, self.args.minutes * 60 / 5 / 2, 20)
            plan.options += " --checkpoint"
            self.submit("array", plan)
        threads = self.start_events(self.args.array)
        told = time.monotonic()
        while self.time_left() > 0 and not self.failures:
            jobs = self.look()
            waiting = self.tasks() - len(self.ended(jobs))
            if jobs and not self.args.array and waiting < QUEUE:
                if drawn := kinds.draw(self.rng, self.time_left()):
                    self.submit(*drawn)
            if time.monotonic() - told >= 30:
                told += 30
                self.tell(jobs)
            time.sleep(0.5)
        self.over.set()
        for t in threads:
            t.join()
        self.wait_for_all()

    def wait_for_all(self):
        self.note("no more events")
        self.states.clear()  # what is held or suspended is looked at again
        end = time.monotonic() + LAST
        told = time.monotonic()
        failed = set()
        while len(self.ended(jobs := self.look())) < self.tasks():
            failed = {job.number for _, job in self.failures if job}
            if time.monotonic() > end or (failed and all(
                    j.state == "COMPLETED" or j.number in failed for j in self.of_mine(jobs))):
                break
            if time.monotonic() - told >= 30:
                told += 30
                self.tell(jobs)
            time.sleep(1)
        for j in self.of_mine(jobs):
            if j.number not in failed and j.state in ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED"):
                self.fail(f"job {j.number} is still {j.state} ({j.reason}) after {LAST} s", j)
        self.tell(jobs)

    # ---- the end ----

    def fail(self, what, job=None):
        self.note(f"FAILURE {what}")
        self.failures.append((what, job))
        print(f"FAILURE: {what}", flush=True)

    def compare(self):
        if not self.watch.checkpoints or not self.watch.restores:
            self.fail("nothing was shown: there were no checkpoints or no restores")
        for number, (kind, home, plan) in self.plans.items():
            if number in self.lost:
                continue
            self.watch.look_at_output(home)
            why = kinds.difference(home, plan)
            if why and (line := kinds.spoilt(home, plan)):
                self.spoilt.append(f"{kind} job {number}: {line}")
            elif why:
                self.fail(f"{kind} job {number}: {why}",
                          Seen(number, number, "N/A", "", "", "", "user1"))

    def nothing_is_left(self):
        if self.failures:  # of jobs, which may be there still
            return
        try:
            self.cluster.idle()
            for node in self.cluster.nodes:
                until(f"nothing to be left on {node}", lambda: not self.cluster.left(node), 30)
        except AssertionError as e:
            self.fail(f"{e}; left: {[self.cluster.left(n) for n in self.cluster.nodes]}")
        # Beside the jobs there may be what remembers those that have ended.
        if self.watch.store.exists() and (kept := [p.name for p in self.watch.store.iterdir()
                                                   if p.name.isdigit()
                                                   and int(p.name) not in self.lost]):
            self.fail(f"in the store is something of the jobs {kept}, which ended well")

    def report(self):
        def table(title, counter):
            print(f"{title}: " + (", ".join(f"{n} {k}" for k, n in counter.most_common()) or "none"))

        table("jobs", collections.Counter(kind for kind, _, _ in self.plans.values()))
        table("events", self.happened)
        table("checkpoints", self.watch.reasons())
        table("restores", collections.Counter(
            "scripts" if step == "batch" else "steps" for _, step, _ in self.watch.restores))
        # What ends well in its grace time Slurm 24.05 and later start again.
        ended = re.findall(r"WEXITSTATUS 0\n[^\n]* _job_complete: requeue JobId=",
                           self.cluster.log("ctl", "slurmctld"))
        print(f"requeued by Slurm when they had ended well: {len(ended)}")
        for line in self.spoilt:
            print(f"failed by Slurm itself: {line}")
        print("what sckpt said:")
        for n, line in self.watch.said():
            print(f"  {n:4} {line}")

    def show_evidence(self):
        """Of each job that failed; all of it is kept."""
        shutil.copytree(self.home, self.out / "jobs", dirs_exist_ok=True)
        if self.watch.store.exists():
            listing = sh("find", self.watch.store, "-ls", check=False).stdout
            (self.out / "store").write_text(listing)
        logs = {}
        for node in self.cluster.nodes:
            logs[node] = self.cluster.log(node)
            (self.out / f"slurmd.{node}.log").write_text(logs[node])
        (self.out / "slurmctld.log").write_text(self.cluster.log("ctl", "slurmctld"))
        shown = set()
        for _, job in self.failures:
            if not job or job.number in shown:
                continue
            shown.add(job.number)
            kind, home, _ = self.plans[job.array]
            print(f"\n==== job {job.number}: {kind}, {home.name}")
            print((self.ctl(f"scontrol show job {job.number}") or "").strip())
            for p in sorted(p for p in home.iterdir() if "out" in p.name or p.name == "err"):
                lines = p.read_text(errors="replace").splitlines()
                print(f"---- {p.name}: {len(lines)} lines", *lines[-20:], sep="\n")
            print("---- sckpt list", self.ctl(f"sckpt list {job.number}") or "", sep="\n")
            for node, log in logs.items():
                print(f"---- slurmd of {node}")
                print(*[l for l in log.splitlines() if re.search(rf"(\[|JobId=|StepId=|job ){job.number}\b", l)
                        and "debug" not in l][-30:], sep="\n")
        print(f"\nThe evidence is in {self.out}")


def main(text):
    p = argparse.ArgumentParser(prog="test/soak", description=text)
    p.add_argument("minutes", nargs="?", type=float, default=5, help="of events (default 5)")
    p.add_argument("--seed", type=int, help="of an earlier run: the same jobs and events again")
    p.add_argument("--array", action="store_true",
                   help="only an array of 20 tasks, and only preemption")
    p.add_argument("--keep", action="store_true", help="leave the cluster up")
    args = p.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 20)
    print(f"test/soak {args.minutes:g} --seed {args.seed}{' --array' if args.array else ''}",
          flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # It may build.
        subprocess.run([COMMAND, "up"], check=True, stdout=subprocess.DEVNULL)
        failed = work(args)
    finally:
        if not args.keep:
            sh(COMMAND, "down")
    sys.exit(1 if failed else 0)


def work(args):
    Cluster().install_subjects()
    s = Soak(args)
    try:
        s.run()
    finally:
        s.over.set()
    s.compare()
    s.nothing_is_left()
    s.report()
    if s.failures:
        s.show_evidence()
        print(f"{len(s.failures)} failures")
    else:
        shutil.rmtree(s.out)
        print(f"every result of {s.tasks() - len(s.spoilt)} jobs is right, and nothing is left behind")
    return s.failures
