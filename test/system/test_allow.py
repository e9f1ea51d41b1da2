# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may have the capability at all: sckpt.conf says, and slurmstepd decides by what
slurmctld says of the job."""
import pytest

STATUS = "grep CapAmb /proc/self/status"
NONE, IT = "CapAmb:\t0000000000000000", "CapAmb:\t0000010000000000"


def run(cluster, options="", user="user1"):
    """What the program of a protected step sees, and what is told."""
    done = cluster.run("n1", f"srun -n1 --checkpoint {options} {STATUS}", user=user, check=False)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("conf, options, user, said", [
    ("grant=never", "", "user1", "the administrator does not allow it here (grant=never)"),
    ("allow-users=user1", "", "user1", None),
    ("allow-users=user2,nobody-is-it", "", "user1", "user id 1001 is none of them"),
    ("allow-users=user2,1001", "", "user1", None),
    ("allow-groups=1001", "", "user1", None),
    ("allow-groups=user2", "", "user2", None),
    ("allow-groups=user2", "", "user1", "user id 1001 is none of them"),
    ("allow-users=user2\nallow-groups=user1", "", "user1", None),
    ("allow-partitions=low", "-p low", "user1", None),
    # Where it runs, of several; Slurm takes high, if it is free.
    ("allow-partitions=low", "-p low,high", "user1", "in other partitions than high"),
    ("allow-partitions=high", "-p low,high", "user1", None),
    ("allow-partitions=lo,high", "-p low", "user1",
     "in other partitions than low (allow-partitions=lo,high)"),
    # What a user can set does not count.
    ("allow-partitions=high", "-p low --export=ALL,SLURM_JOB_PARTITION=high,SLURM_JOB_UID=1002",
     "user1", "in other partitions than low"),
])
def test_who(cluster, conf, options, user, said):
    cluster.conf(conf + "\n")
    cap, text = run(cluster, options, user)
    if said:
        assert cap == NONE and "sckpt: this step is not protected: " in text and said in text
    else:
        assert cap == IT and "sckpt" not in text


def test_required(cluster):
    cluster.conf("allow-users=user2\n")
    done = cluster.run("n1", f"srun -n1 --checkpoint=required {STATUS}", check=False)
    assert done.returncode and "CapAmb" not in done.stdout


def test_nobody_answers(cluster):
    """Not to be known is not to be allowed."""
    cluster.conf("allow-partitions=low\n")
    cluster.run("n1", "mount --bind /bin/false /usr/bin/squeue", user="root")
    try:
        cap, text = run(cluster, "-p low")
        assert cap == NONE and "in which one the job runs is not known" in text
    finally:
        cluster.run("n1", "umount /usr/bin/squeue", user="root")
