# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a preempted job is away: from SIGTERM to its output on the other node.

The same job is preempted twice on a cluster with Slurm's usual settings, once with
--checkpoint and once without. Then it begins at its top, so that its first *new* output,
which it had not written before, comes later still."""
import argparse
import datetime
import re
import subprocess
import time

import node

USUAL = "AuthInfo=cred_expire=120"
JOB = "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done"


def run(where, command, user):
    args = [str(node.COMMAND), "run", where, "--user", user, "--", "bash", "-c", command]
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        raise node.Failed(f"{command} on {where} ended with {done.returncode}: "
                          f"{done.stderr.strip()}")
    return done.stdout.strip()


def wait(what, probe, seconds):
    end = time.time() + seconds
    while not (value := probe()):
        if time.time() > end:
            raise node.Failed(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
    return value


def terminated(where, job):
    """When slurmd was told to end the job, seconds since 1970."""
    path = subprocess.run([node.COMMAND, "path", where, "/var/log/slurm/slurmd.log"],
                          check=True, capture_output=True, text=True).stdout.strip()
    with open(path, errors="replace") as log:
        found = re.search(rf"^\[(\S+)\].* _rpc_terminate_job: .*JobId={job}\b", log.read(), re.M)
    if not found:
        raise node.Failed(f"slurmd's log on {where} says nothing of the end of job {job}")
    zone = run(where, "date +%z", "root")
    return datetime.datetime.strptime(found[1] + zone, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def last(out):
    lines = out.read_text().split() if out.exists() else []
    return int(lines[-1]) if lines else 0


def measure(option, work):
    home = node.cluster_dir("shared") / "home" / node.USER
    job = int(run("ctl", f"sbatch --parsable --requeue {option} -e /dev/null --wrap '{JOB}'",
                  node.USER))
    out = home / f"slurm-{job}.out"
    other = None
    try:
        wait("the job's output", lambda: last(out) > work * 8, work + 60)
        first = run("ctl", f"squeue -h -j {job} -o %N", node.USER)
        other = run("ctl", f"sbatch --parsable -p high -w {first} --exclusive --wrap 'sleep 600'",
                    "user2")
        wait("the preemption", lambda: run("ctl", f"squeue -h -j {job} -o %T", node.USER)
             != "RUNNING", 60)
        wait("its end", lambda: run("ctl", f"squeue -h -j {job} -o %T", node.USER)
             == "PENDING", 60)
        reached, size = last(out), out.stat().st_size
        # The file is emptied when the job starts again.
        again = wait("the next start", lambda: out.stat().st_size != size and time.time(), 400)
        wait("output", lambda: last(out), 60)
        again = time.time()
        wait("new output", lambda: last(out) > reached, work * 4 + 60)
        new = time.time()
        second = run("ctl", f"squeue -h -j {job} -o %N", node.USER)
        begin = terminated(first, job)
    finally:
        for number, user in ((job, node.USER), (other, "user2")):
            if number:
                run("ctl", f"scancel {number}", user)
        wait("idle nodes", lambda: not run("ctl", "squeue -h", "root"), 60)
        out.unlink(missing_ok=True)
    return first, second, again - begin, new - begin


def main(args):
    parser = argparse.ArgumentParser("test/bench requeue", description=__doc__)
    parser.add_argument("work", nargs="?", type=int, default=20,
                        help="seconds that the job has run when it is preempted")
    work = parser.parse_args(args).work
    conf = node.cluster_dir("etc") / "slurm.conf"
    with node.cluster(2):
        text, n = re.subn("^AuthInfo=.*$", USUAL, conf.read_text(), flags=re.M)
        if n != 1:
            raise node.Failed(f"{conf} has no AuthInfo")
        try:
            with node.changed(conf, text):
                subprocess.run([node.COMMAND, "reconfigure"], check=True)
                print(f"preempted after {work} s, {USUAL}; from SIGTERM, in s:\n")
                print(f"{'':24}{'nodes':>10}{'output':>10}{'new output':>13}")
                for name, option in (("sbatch --checkpoint", "--checkpoint"), ("sbatch", "")):
                    first, second, again, new = measure(option, work)
                    print(f"{name:24}{first + ', ' + second:>10}{again:10.1f}{new:13.1f}",
                          flush=True)
        finally:
            subprocess.run([node.COMMAND, "reconfigure"], check=True)
