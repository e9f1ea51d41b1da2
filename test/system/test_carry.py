# SPDX-License-Identifier: GPL-2.0-or-later
"""carry=DIR: a node's own directory travels whole, what is closed in it too."""
from conftest import until
from test_refusals import held

SUBJECT = "/shared/subject"


def start(cluster, rounds, options):
    script = cluster.script("job.sh", f"exec {SUBJECT}/carry.py /tmp/carry-$SLURM_JOB_ID {rounds}\n")
    job = cluster.submit(script, options=f"--requeue --checkpoint=carry=/tmp/carry-%j {options}")
    job.wait_output("^round 1$")
    return job


def err(cluster):
    path = cluster.home() / "err"  # slurmd makes it after the job is RUNNING
    return path.read_text() if path.exists() else ""


def test_whole_directory(cluster):
    """There and back again: on the node where it was before, what was removed since is
    gone, and what had another content has it."""
    job = start(cluster, 3, "-e err")
    for n in (1, 2, 3):
        job.wait_output(f"^round {n}$")
        job.preempt()
        (cluster.home() / f"go-{n}").touch()
    assert job.wait_end() == ["COMPLETED"], job.text() + err(cluster)
    assert job.text().splitlines() == [
        "round 1", "found the same", "round 2", "found the same", "round 3",
        "found the same", "done"], err(cluster)
    for node in ("n1", "n2"):
        left = cluster.run(node, f"find /tmp/carry-{job.number} -name '*sckpt-cut*'").stdout
        assert left == ""


def test_what_may_not_be_carried(cluster):
    """It is told at the start, and a checkpoint is refused; the program runs on."""
    cluster.run("n1", "mkdir -p /tmp/others", user="user2")
    cluster.run("n1", "ln -sfn /shared/home/user1 /tmp/link1; mkdir -p -m 777 /tmp/open1/d; chmod 777 /tmp/open1")
    script = cluster.script("job.sh", "exec sleep 1000\n")
    for directory, why in (
            ("/tmp", "the directory is not yours"),
            ("/tmp/a:/tmp/others", "the directory is not yours"),
            ("/shared/home/user1", "is below none of the directories that every node has for itself"),
            ("/tmp/link1/x", "/tmp/link1 is a symbolic link"),
            ("/tmp/open1/d", "/tmp/open1 is another user's, or anybody may change what is in it")):
        job = cluster.submit(script, options=f"--requeue --checkpoint=carry={directory} -e err -w n1")
        job.wait_running()
        until("the sentence", lambda w=why: w in err(cluster))
        done = cluster.run("n1", f"sckpt create {job.number}", check=False)
        assert done.returncode and why in done.stderr, done.stderr
        assert job.state == ["RUNNING"]
        job.cancel()
        job.wait_end()
        (cluster.home() / "err").unlink()
    done = cluster.ctl("sbatch --checkpoint=carry=tmp --wrap true", check=False)
    assert "--checkpoint=carry=tmp: it is an absolute path" in done.stderr


def test_too_large(cluster):
    """Told before anything is frozen; smaller, it is saved."""
    cluster.conf("files-max=1M\n")
    job = start(cluster, 1, "-w n1 -e err")
    there = f"/tmp/carry-{job.number}"
    cluster.run("n1", f"sckpt create {job.number}")
    cluster.run("n1", f"head -c 2M /dev/urandom >{there}/large")
    done = cluster.run("n1", f"sckpt create {job.number}", check=False)
    assert done.returncode and "would travel, and files-max= of sckpt.conf allows 1.0 MiB" in done.stderr
    cluster.run("n1", f"rm {there}/large")
    cluster.run("n1", f"sckpt create {job.number}")
    (cluster.home() / "go-1").touch()
    assert job.wait_end() == ["COMPLETED"], job.text() + err(cluster)


def test_what_is_there(cluster):
    """Of others nothing is touched; of the user's nothing is lost; and a restore that
    fails leaves all as it was."""
    job = start(cluster, 1, "-w n1")
    there = f"/tmp/carry-{job.number}"
    job.vacate("n2")

    def refused(sentence):
        cluster.ctl(f"scontrol release {job.number}")
        held(job, sentence)

    cluster.run("n2", f"ln -s /shared/home/user1 {there}", user="user2")
    refused("it is a link or a file and no directory")
    cluster.run("n2", f"rm {there}", user="user2")
    mark = f"{there}/.sckpt-carry"
    other = cluster.submit("--wrap", "true", options="--hold")
    cluster.run("n2", f"mkdir -p {there}/link; cd {there}; echo mine >closed; echo more >more; "
                f"echo in >link/in; echo test {other.number} /shared/home/user1 >{mark}")
    refused(f"job {other.number} carries that directory, too")
    other.cancel()
    # Now it is nobody's, and something below it another user's.
    cluster.run("n2", f"mkdir {there}/sub; chmod 777 {there}/sub")
    cluster.run("n2", f"mkdir {there}/sub/shut", user="user2")
    like = f"cd {there} && find . ! -type s -printf '%p %y %m %l\\n' | sort"
    before = cluster.run("n2", like).stdout
    refused(f"{there}/sub/shut, which was carried along: it is another user's on this node")
    assert cluster.run("n2", like).stdout == before
    cluster.run("n2", f"rmdir {there}/sub/shut", user="user2")
    before = cluster.run("n2", like).stdout
    # Criu fails, with all in its place, and leaves the socket that it had bound.
    (cluster.home() / "held").rename(cluster.home() / "away")
    refused("held, which it had open, is not there on this node")
    assert cluster.run("n2", like).stdout == before
    (cluster.home() / "away").rename(cluster.home() / "held")
    cluster.ctl(f"scontrol release {job.number}")
    (cluster.home() / "go-1").touch()
    assert job.wait_end() == ["COMPLETED"], job.text()
    assert "names were in use here" in job.text()
    kept = cluster.run("n2", f"cd {there}; cat more closed.sckpt-cut.* link.sckpt-cut.*/in").stdout
    assert kept == "more\nmine\nin\n"


def test_of_a_step(cluster):
    """Said in the environment, and by the job's own TMPDIR, which it makes itself."""
    script = cluster.script("job.sh", "export TMPDIR=$(mktemp -d) SCKPT_CARRY='$TMPDIR'\n"
                            "echo closed >$TMPDIR/file; srun --checkpoint sleep 60 &\n"
                            "wait\n")
    job = cluster.submit(script, options="-w n1")
    job.wait_running()
    until("the step", lambda: job.store("0").exists())
    cluster.run("n1", f"sckpt create {job.number}")
    assert "carried      4.0 KiB in files" in cluster.run("n1", f"sckpt show {job.number}.0").stdout
    assert [i["bulk"] for i in job.manifest("0")["images"] if "carry" in i["name"]] == [True, False]
