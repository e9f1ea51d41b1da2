# SPDX-License-Identifier: GPL-2.0-or-later
"""The nodes have sckpt from its Debian packages; these are removed, and upgraded, under
jobs that run."""
import pathlib
import shutil

import pytest

from conftest import COMMAND, MANY, PACE, sh
from test_faults import answer, order
from test_target import goes_to_n2, root

NAMES = "sckpt slurm-wlm-sckpt-plugin"
SCRIPT = f"""for i in $(seq {MANY}); do echo line $i; {PACE}; done
until [ -e ~/quick ]; do sleep 0.1; done
srun bash -c 'for i in $(seq 20); do echo step $i; sleep 0.1; done'
echo ends $?
"""
OUTPUT = [*(f"line {i}" for i in range(1, MANY + 1)), *(f"step {i}" for i in range(1, 21)), "ends 0"]
# Another release: its number, and no helper of it is as it was.
NEWER = """set -e
rm -rf /tmp/newer && mkdir /tmp/newer && cd /tmp/newer
for d in /shared/deb/*.deb; do
	rm -rf x && dpkg-deb -R $d x
	sed -i 's/^Version: .*/&+newer/; s/\\(sckpt (= [^)]*\\))/\\1+newer)/' x/DEBIAN/control
	for f in x/usr/libexec/sckpt/sckpt-*; do [ ! -f $f ] || echo >>$f; done
	dpkg-deb -Znone -b x .
done >/dev/null
dpkg --force-unsafe-io -i *.deb"""


@pytest.fixture
def debs(cluster):
    """On both nodes, as they were, afterwards."""
    tree = pathlib.Path(sh(COMMAND, "tree").stdout.strip())
    shutil.rmtree(cluster.shared / "deb", ignore_errors=True)
    shutil.copytree(tree / "deb", cluster.shared / "deb")
    plugstack = cluster.etc / "plugstack.conf"
    was = plugstack.read_text()
    # As the packages' own line: where the plugin is not, jobs run.
    plugstack.write_text("optional sckpt.so\n")
    yield
    for node in ("n1", "n2"):
        root(cluster, node, "dpkg --force-unsafe-io -i /shared/deb/*.deb")
    plugstack.write_text(was)
    shutil.rmtree(cluster.etc / "plugstack.conf.d", ignore_errors=True)
    shutil.rmtree(cluster.shared / "deb")


def begin(cluster):
    job = cluster.submit(cluster.script("job.sh", SCRIPT),
                         options="--requeue --checkpoint -w n1 -e err")
    job.wait_output("^line 10$")
    return job


def test_removed(cluster, debs):
    """The job runs on, its srun too; a checkpoint is refused, and the one before stays."""
    job = begin(cluster)
    order(cluster, job, "before")
    assert answer(cluster, job, "before") is None
    root(cluster, "n1", f"dpkg --purge {NAMES} && [ ! -e /usr/libexec/sckpt ]")
    order(cluster, job, "without")
    assert "sckpt was removed from this node while the job runs (/usr/libexec/sckpt/sckpt-hook)" \
        in answer(cluster, job, "without")
    # Installed again, it has no use for this job: what criu would write could not be restored.
    root(cluster, "n1", "dpkg --force-unsafe-io -i /shared/deb/*.deb")
    order(cluster, job, "again")
    assert "what it began with is not there any more" in answer(cluster, job, "again")
    assert job.verify(node="n2")[0].endswith(" whole")
    root(cluster, "n1", f"dpkg --purge {NAMES}")
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == OUTPUT
    # A job with the option runs where Slurm does not load the plugin any more.
    assert cluster.run("n1", "type sckpt", check=False).returncode != 0


def test_upgraded(cluster, debs):
    """An agent of the release before dumps with what is there now, and the newer one restores."""
    job = begin(cluster)
    for node in ("n1", "n2"):
        root(cluster, node, NEWER)
        assert "newer" in root(cluster, node, f"dpkg-query -W {NAMES}")
    goes_to_n2(cluster, job)
    assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n2"
    assert job.text().splitlines() == OUTPUT
    assert "restored from checkpoint" in (cluster.home() / "err").read_text()
