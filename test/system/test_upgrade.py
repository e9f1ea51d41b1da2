# SPDX-License-Identifier: GPL-2.0-or-later
"""sckpt is upgraded under jobs that have checkpoints: what is of sckpt's own in
their trees stands alone (plugin/step/alone.h), and is not looked for on the node."""
import re

from conftest import MANY, PACE
from test_target import OTHER, goes_to_n2, root

# A shell that calls srun has both in its tree.
SCRIPT = f"""for i in $(seq 40); do echo line $i; sleep 0.1; done
srun bash -c 'for i in $(seq {MANY}); do echo step $i; {PACE}; done'
echo ends $?
"""
OURS = ["sckpt-root", "sckpt-srun"]
WHERE = "/usr/libexec/sckpt"


def test_other_build(cluster):
    """On n2 is another build, of another size, than what the checkpoint was made with."""
    try:
        for name in OURS:
            root(cluster, "n2", f"cd {WHERE} && mv {name} {name}.was && "
                 f"python3 -c \"{OTHER}\" {name}.was {name}.new && echo >>{name}.new && "
                 f"chmod 755 {name}.new && mv {name}.new {name} && ! cmp -s {name} {name}.was")
        job = cluster.submit(cluster.script("job.sh", SCRIPT),
                             options="--requeue --checkpoint -w n1 -e err")
        job.wait_output("^step 10$")
        exes = cluster.run("n1", "for p in $(pgrep -f '^[^ ]*sckpt-(root|srun) '); do "
                           "readlink /proc/$p/exe; grep -c /libexec/sckpt/ /proc/$p/maps; done",
                           user="root", check=False).stdout.split()
        # The script's root, the step's root, and srun's stand-in.
        assert sorted(exes) == [f"{WHERE}/root"] * 2 + [f"{WHERE}/srun"] + ["0"] * 3
        goes_to_n2(cluster, job)
        assert job.finish() == ["COMPLETED"] and job.record()["nodes"] == "n2"
        assert job.text().splitlines() == [
            *(f"line {i}" for i in range(1, 41)), *(f"step {i}" for i in range(1, MANY + 1)), "ends 0"]
        assert re.search(r"restored from checkpoint \d on n2", (cluster.home() / "err").read_text())
    finally:
        for name in OURS:
            root(cluster, "n2", f"cd {WHERE} && [ ! -e {name}.was ] || mv {name}.was {name}")
