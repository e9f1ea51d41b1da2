# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of --checkpoint, and the variables that stand for them."""
import re

from conftest import until

SUBJECT = "/shared/subject"


COMMANDS = ["srun -n1 {} true", "sbatch {} --wrap true", "salloc -n1 {} true"]
WRONG = [
    ("--checkpoint=evry=30m", "does not know the word 'evry=30m'; the nearest one is 'every='"),
    ("--checkpoint=every=soon", "it is auto, or a time such as 30m"),
    ("--checkpoint=keep=0", "a number from 1 to 1000"),
    ("--checkpoint --checkpoint-dir=here", "it is an absolute path"),
    ("--checkpoint --restart-dir=/shared", "restart=JOB.STEP:GENERATION"),
]


def test_wrong_words(cluster):
    """Told where they are typed; nothing is submitted."""
    for option, says in WRONG:
        for command in COMMANDS:
            done = cluster.ctl(command.format(option), check=False)
            assert done.returncode != 0, (command, option)
            assert says in done.stderr
    assert not cluster.ctl("squeue -h").stdout


def test_wrong_variable(cluster):
    done = cluster.ctl("SCKPT_EVERY=soon sbatch --checkpoint --wrap true", check=False)
    assert done.returncode != 0
    assert "SCKPT_EVERY: --checkpoint=every=soon: it is auto, or a time" in done.stderr


def create(cluster, job, options=""):
    done = cluster.ctl(f"sckpt create {options} {job.number}", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def generations(directory):
    return sorted(int(m[1]) for p in directory.iterdir()
                  if (m := re.match(r"^(\d+)-\d+\.json$", p.name)))


def test_keep_and_dir(cluster):
    """In the user's own directory, as many as they want."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 60 exit 0\n")
    own = cluster.home() / "ck"
    path = cluster.inside(own)
    job = cluster.submit(script, options=f"--requeue --checkpoint=keep=3,dir={path}")
    job.wait_output("^line 5$")
    for _ in range(5):
        create(cluster, job, f"--dir {path}")
    assert generations(own / "test" / str(job.number) / "batch") == [3, 4, 5]
    assert not (cluster.home() / ".sckpt").exists()
    # It goes on from there.
    job.wait_output("^line 20$")
    job.preempt()
    job.wait_output("^line 100$")
    lines = job.text().splitlines()
    assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]
    job.cancel()


def test_admin_limits(cluster):
    """What the admin set holds, and the user is told."""
    cluster.conf("keep-max=2\nquota=1G\n")
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 60 exit 0\n")
    own = cluster.home() / "ck"
    job = cluster.submit(script, options="--requeue --checkpoint=keep=3 -e err")
    job.wait_output("^line 5$")
    for _ in range(3):
        create(cluster, job)
    assert job.generations() == [2, 3]
    err = cluster.home() / "err"
    assert "keep=3 is more than the administrator allows: 2 checkpoints" in err.read_text()
    job.cancel()
    # With a quota, checkpoints lie where it is counted.
    job = cluster.submit(
        script, options=f"--requeue --checkpoint --checkpoint-dir={cluster.inside(own)} -e err")
    job.wait_output("^line 5$")
    create(cluster, job)
    assert job.generations() == [1]
    assert not own.exists()
    assert "the administrator keeps checkpoints in" in err.read_text()
    job.cancel()


def test_variables(cluster):
    """SCKPT_CHECKPOINT is the option, for the batch step and steps in it; the
    option wins."""
    script = cluster.script(
        "job.sh", "ls -d /proc/1/exe; readlink /proc/1/exe; "
        "srun --checkpoint=off readlink /proc/1/exe\n")
    number = int(cluster.ctl(
        f"SCKPT_CHECKPOINT=required SCKPT_KEEP=3 sbatch --parsable {script}").stdout)
    out = cluster.home() / f"slurm-{number}.out"
    until("the end", lambda: not cluster.ctl(f"squeue -h -j {number}").stdout)
    assert "not protected" not in out.read_text()
    job = cluster.submit(cluster.script("plain.sh", f"exec {SUBJECT}/ender 60 exit 0\n"),
                         options="--requeue --checkpoint --export=ALL,SCKPT_KEEP=1")
    job.wait_output("^line 5$")
    create(cluster, job)
    create(cluster, job)
    assert job.generations() == [2]
    job.cancel()
