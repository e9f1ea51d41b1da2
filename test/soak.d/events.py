# SPDX-License-Identifier: GPL-2.0-or-later
"""What befalls the jobs of the soak. Each event undoes what it did before it
returns, also when the soak ends meanwhile."""
import time

from cluster import COMMAND, sh, until


def pick(soak, rng, states=("RUNNING",)):
    jobs = [j for j in soak.jobs() if j.state in states and j.user == "user1"]
    return rng.choice(jobs) if jobs else None


def preempt(soak, rng):
    node, grace, seconds = rng.choice(soak.cluster.nodes), rng.choice([0, 0, 5]), rng.randint(1, 8)
    soak.ctl(f"scontrol update PartitionName=low GraceTime={grace}", user="root")
    soak.note(f"{node} is taken for {seconds} s, GraceTime {grace}")
    done = soak.ctl(f"sbatch --parsable -p high -w {node} -N1 --exclusive -o /dev/null "
                    f"--wrap 'sleep {seconds}'", user="user2")
    if not done:
        return
    intruder = int(done)
    soak.wait_until(lambda: intruder not in {j.number for j in soak.jobs()
                                             if j.state in ("PENDING", "RUNNING")}, 40)
    soak.ctl(f"scancel {intruder}", user="user2")


def requeue(soak, rng):
    if job := pick(soak, rng):
        user = rng.choice(["user1", "root"])
        soak.note(f"job {job.number} is requeued by {user}")
        soak.ctl(f"scontrol requeue {job.number}", user=user)


def create(soak, rng):
    if job := pick(soak, rng):
        soak.note(f"sckpt create {job.number}")
        soak.ctl(f"sckpt create {job.number}")


def vacate(soak, rng):
    if job := pick(soak, rng):
        soak.note(f"sckpt vacate {job.number}")
        soak.ctl(f"sckpt vacate {job.number}")


def suspend(soak, rng):
    """What is requeued while it is suspended Slurm holds."""
    if not (job := pick(soak, rng)):
        return
    with soak.no_crash:
        soak.note(f"job {job.number} is suspended")
        soak.suspended.add(job.number)
        soak.ctl(f"scontrol suspend {job.number}", user="root")
        soak.pause(rng.uniform(1, 6))
        soak.ctl(f"scontrol resume {job.number}", user="root")


def drain(soak, rng):
    node, seconds = rng.choice(soak.cluster.nodes), rng.uniform(2, 8)
    jobs = [j.number for j in soak.jobs() if j.state == "RUNNING" and j.node == node]
    soak.note(f"{node} is drained, jobs {jobs} are requeued")
    soak.surely(f"scontrol update NodeName={node} State=DRAIN Reason={soak.REASON}")
    for job in jobs:
        soak.ctl(f"scontrol requeue {job}", user="root")
    soak.pause(seconds)
    soak.surely(f"scontrol update NodeName={node} State=RESUME")


def crash(soak, rng):
    """Not while a job is suspended: of a node that is up again by then Slurm believes
    that it has the job still, until the time limit."""
    node, seconds = rng.choice(soak.cluster.nodes), rng.choice([1, 5, 20])
    soak.note(f"{node} crashes, for {seconds} s")
    with soak.no_crash:
        soak.crashed[node] = time.monotonic()
        sh(COMMAND, "crash", node)
        soak.pause(seconds)
        sh(COMMAND, "boot", node)
        up(soak, node)


def cut(soak, rng):
    """Shorter than slurmctld takes to think it dead."""
    node, seconds = rng.choice(soak.cluster.nodes), rng.choice([2, 5, 9])
    soak.note(f"{node} is cut off for {seconds} s")
    sh(COMMAND, "cut", node)
    soak.pause(seconds)
    sh(COMMAND, "join", node)
    up(soak, node)


def restart_slurmd(soak, rng):
    node = rng.choice(soak.cluster.nodes)
    soak.note(f"slurmd of {node} is restarted")
    sh(COMMAND, "restart", node)


def restart_slurmctld(soak, rng):
    soak.note("slurmctld is restarted")
    if "is killed" in sh(COMMAND, "restart", "ctl").stderr:
        soak.note("slurmctld hung while it ended, and was killed")
    until("slurmctld", lambda: soak.ctl("scontrol ping") is not None, 60)


def up(soak, node):
    """slurmctld looks at a lost node again within 100 s."""
    until(f"{node} to be up", lambda: (soak.ctl(
        f"sinfo -h -N -p low -n {node} -o %T") or "down").split()[0].rstrip("*~#$@+") in
        ("idle", "mixed", "allocated", "completing"), 150)


# Name: how often, what. Those of one table come one after the other; the tables
# beside each other.
OF_JOBS = {
    "preempt": (5, preempt),
    "requeue": (3, requeue),
    "create": (2, create),
    "vacate": (1, vacate),
    "suspend": (1, suspend),
}
OF_NODES = {
    "drain": (2, drain),
    "crash": (2, crash),
    "cut": (1, cut),
    "slurmd": (1, restart_slurmd),
    "slurmctld": (1, restart_slurmctld),
}
