# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing changes: for others, and for the program itself."""
import difflib
import re

SUBJECT = "/shared/subject"


def test_without_the_option(cluster):
    """No capability, no namespace, no process of ours."""
    out = cluster.run(
        "n1", "srun -w n1 sh -c 'grep Cap /proc/self/status; "
        "readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/time; ps -e'").stdout
    host = cluster.run(
        "n1", "readlink /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/time").stdout
    assert host in out
    for which in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{which}:\t0000000000000000" in out
    assert "sckpt" not in out


def probe(cluster, option, how):
    if how == "srun":
        return cluster.run(
            "n1", f"umask 027; srun -w n1 {option} {SUBJECT}/probe a 'b c'").stdout
    script = cluster.script("job.sh", f"exec {SUBJECT}/probe a 'b c'\n")
    job = cluster.submit(
        script, options=f"--requeue {option} -w n1 -o probe.out -J probe")
    assert job.wait_end() == ["COMPLETED"]
    return (cluster.home() / "probe.out").read_text()


def normal(text):
    # Numbers of jobs and of the node's spool directory for them.
    return re.sub(r"(JOB_?ID=|job|JobId=)\d+", r"\1N", text).splitlines()


# Slurm's own way to hand any plugin's option of sbatch on to the sruns within.
HANDED_ON = "env.SLURM_SPANK__SLURM_SPANK_OPTION_sckpt_checkpoint=(null)"


def test_program_sees_the_same(cluster):
    for how, more in (("srun", []), ("batch", ["+" + HANDED_ON])):
        plain = normal(probe(cluster, "", how))
        ours = normal(probe(cluster, "--checkpoint", how))
        assert len(plain) > 60
        changed = [line for line in difflib.unified_diff(plain, ours, n=0, lineterm="")
                   if not line.startswith(("---", "+++", "@@"))]
        assert changed == more, f"{how}, without and with:\n" + "\n".join(changed)
