# SPDX-License-Identifier: GPL-2.0-or-later
"""A second user cannot read, list, restore or replace the first one's images,
in a store directory that all users share."""
import pytest

from conftest import MANY, until

SUBJECT = "/shared/subject"


@pytest.fixture
def shared_store(cluster):
    cluster.run("n1", "rm -rf /shared/ckpt; mkdir -m 1777 /shared/ckpt", user="root")
    cluster.conf("dir=/shared/ckpt\n")
    return "/shared/ckpt"


def test_closed_to_others(cluster, shared_store):
    script = cluster.script("job.sh", f"umask 0; exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("^line 20$")
    cluster.ctl(f"scontrol requeue {job.number}")
    d = f"{shared_store}/user1/test/{job.number}/batch"
    g = f"{d}/1-0"
    until("the dump", lambda: cluster.run("n1", f"ls {g}.json", check=False).stdout)
    # All that user2 is refused below is there.
    cluster.run("n1", f"cat {g}.json {g}.seal {g}.meta {g}.0.pack {d}/claim.0 >/dev/null")
    for what in (f"ls {shared_store}/user1", f"ls {d}", f"cat {g}.json", f"touch {d}/x",
                 f"cat {g}.meta", f"cat {g}.0.pack", f"cat {g}.seal", f"rm {g}.json",
                 f"touch {d}/request", f"cat {d}/output.1", f"cat {d}/status.json",
                 f"mv {shared_store}/user1 {shared_store}/mine",
                 f"rm -rf {d}", f"chmod 777 {shared_store}/user1"):
        assert cluster.run("n1", what, user="user2", check=False).returncode != 0, what
    modes = cluster.run("n1", f"find {shared_store}/user1 -printf '%m %y\n' | sort -u").stdout
    assert modes.splitlines() == ["600 f", "700 d"]
    # user2's own job of the same command finds nothing of user1's.
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 1 exit 0\n", user="user2")
    other = cluster.submit(script, options="--requeue --checkpoint", user="user2")
    assert other.wait_end() == ["COMPLETED"]
    assert other.text().splitlines() == [f"line {i}" for i in range(1, 11)]
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


@pytest.mark.parametrize("trap", [
    "mkdir -m 777 {0}/user1",
    "mkdir -m 777 $HOME/trap; chmod 711 $HOME; ln -s $HOME/trap {0}/user1",
])
def test_prepared_by_another(cluster, shared_store, trap):
    """user2 was there first: user1's memory does not go there."""
    cluster.run("n1", trap.format(shared_store), user="user2")
    done = cluster.run("n1", "srun --checkpoint echo it runs")
    assert done.stdout == "it runs\n"
    assert "this step is not protected: " in done.stderr
    assert "user1: " in done.stderr
    inside = cluster.run("n1", f"find {shared_store}/user1/ /home/user2/trap 2>/dev/null",
                         user="root", check=False).stdout
    assert "test" not in inside
