# SPDX-License-Identifier: GPL-2.0-or-later
"""elevate=: what CAP_CHECKPOINT_RESTORE does not cover, by the broker."""
import re

import pytest

from cluster import until

SECCOMP, TCP = "elevate=seccomp\n", "elevate=tcp\n"


def ticks(job, word="tick"):
    return [int(n) for n in re.findall(rf"^{word} (\d+)$", job.text(), re.M)]


def err(job):
    return (job.home / f"err-{job.number}").read_text()


def submit(cluster, command):
    return cluster.submit("--wrap", f"exec {command}",
                          options="--requeue --checkpoint -e err-%j")


def moves_twice(cluster, job, word, last):
    """Preempted, restored on the other node, and once more; every line is there once."""
    for n in (1, 2):
        at = ticks(job, word)[-1:] or [0]
        until("progress", lambda: ticks(job, word)[-1:] > at)  # noqa: B023
        job.preempt()
        until("the restore", lambda: f"restored from checkpoint {n} " in err(job))  # noqa: B023
    assert job.wait_end(180) == ["COMPLETED"], job.text()[-500:] + err(job)
    assert ticks(job, word) == list(range(1, last + 1))


def test_seccomp(cluster):
    """A strict list for all threads, one more within it, and a child in strict mode."""
    cluster.conf(SECCOMP)
    job = submit(cluster, "/shared/subject/sandbox 200")
    moves_twice(cluster, job, "tick", 200)
    assert not set(job.text().splitlines()) - {f"tick {n}" for n in range(1, 201)}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tcp_under_load(cluster, address):
    cluster.conf(TCP)
    job = submit(cluster, f"python3 /shared/subject/pair.py 150 {address}")
    moves_twice(cluster, job, "round", 150)
    assert job.text().endswith("wrong: []\n")


@pytest.mark.parametrize("conf, command, said", [
    ("", "/shared/subject/sandbox 300", r"sandbox\[1001\] has put itself under seccomp: run it "
     "without its sandbox, or ask the admin for elevate=seccomp"),
    ("", "python3 /shared/subject/pair.py 300",
     r"python3\[100[12]\] holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+ \(descriptor \d+\)"),
    # One word is not the other.
    (TCP, "/shared/subject/sandbox 300", r"sandbox\[1001\] has put itself under seccomp"),
    (SECCOMP, "python3 /shared/subject/pair.py 300",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
    (TCP + "elevate-groups=biology\n", "python3 /shared/subject/pair.py 300",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
    (TCP + "elevate-partitions=high\n", "python3 /shared/subject/pair.py 300",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
    (TCP + "elevate-accounts=nobodys\n", "python3 /shared/subject/pair.py 300",
     r"holds a TCP connection 127.0.0.1:\d+ to 127.0.0.1:\d+"),
])
def test_without_the_admins_word(cluster, conf, command, said):
    """Refused by name, and it runs on."""
    cluster.conf(conf)
    job = submit(cluster, command)
    word = "tick" if "sandbox" in command else "round"
    until("progress", lambda: ticks(job, word))
    done = cluster.run("n1", f"sckpt create {job.number}", check=False)
    assert done.returncode and re.search(said, done.stderr), done.stderr
    at = ticks(job, word)[-1]
    until("progress", lambda: ticks(job, word)[-1] > at + 2)
    job.cancel()


@pytest.mark.parametrize("conf", [TCP + "elevate-groups=biology,physics\n",
                                  TCP + "elevate-partitions=low\n"])
def test_with_it(cluster, conf):
    cluster.conf(conf)
    job = submit(cluster, "python3 /shared/subject/pair.py 300")
    until("progress", lambda: ticks(job, "round"))
    cluster.run("n1", f"sckpt create {job.number}")
    job.cancel()
