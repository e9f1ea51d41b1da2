# SPDX-License-Identifier: GPL-2.0-or-later
"""What cannot be protected runs as without sckpt, and says why and what to do;
with --checkpoint=required it does not start; what cannot be restored is held."""
import contextlib

import pytest

from conftest import COMMAND, MANY, sh, until

SUBJECT = "/shared/subject"


def unprotected(cluster, sentence, srun="srun -w n1"):
    """The step runs, and says why on its stderr and in slurmd's log; with
    `required` it fails at its start with the same reason."""
    done = cluster.run("n1", f"{srun} --checkpoint echo it runs")
    assert done.stdout.strip() == "it runs"
    assert "sckpt: this step is not protected: " in done.stderr
    assert sentence in done.stderr
    assert sentence in cluster.log("n1")
    done = cluster.run("n1", f"{srun} --checkpoint=required echo it runs", check=False)
    assert done.returncode != 0 and "it runs" not in done.stdout
    assert f"--checkpoint=required, and" in done.stderr and sentence in done.stderr


def fake_criu(cluster, name, version):
    """A criu that only lies about its version."""
    path = cluster.etc / name
    path.write_text("#!/bin/sh\n"
                    f"[ $1 = --version ] && echo Version: {version} && exit\n"
                    'exec /usr/sbin/criu "$@"\n')
    path.chmod(0o755)
    cluster.conf(f"criu=/etc/slurm/{name}\n")


def test_criu_absent(cluster):
    cluster.conf("criu=/usr/sbin/no-criu\n")
    unprotected(cluster, "install criu 3.19 or later on this node")


def test_criu_too_old(cluster):
    fake_criu(cluster, "old-criu", "3.17.1")
    unprotected(cluster, "is criu 3.17.1 and cannot work unprivileged: install 3.19 or later")


def test_criu_of_others(cluster):
    """Root asks criu for its version: only one that is root's own."""
    fake_criu(cluster, "open-criu", "4.1")
    (cluster.etc / "open-criu").chmod(0o777)
    unprotected(cluster, "is not root's alone: chown root, chmod go-w")


def test_conf_error_names_the_line(cluster):
    cluster.conf("# a comment\n\ndir = /x\n")
    unprotected(cluster, "/etc/slurm/sckpt.conf line 3: ")
    cluster.conf("grantt=step\n")
    unprotected(cluster, "line 1: there is no setting 'grantt'; the nearest one is 'grant'")
    cluster.idle()


def test_terminal(cluster):
    for option in ("--pty", "--unbuffered"):
        out = cluster.run(
            "n1", f"script -qec 'srun -w n1 {option} --checkpoint echo it runs' /dev/null"
        ).stdout
        assert "it runs" in out
        assert "it runs on a terminal: leave out srun --pty or --unbuffered" in out


@contextlib.contextmanager
def mounted(cluster, node, what):
    cluster.run(node, what, user="root")
    yield
    cluster.run(node, f"umount {what.split()[-1]}", user="root")


def test_kernel_without_support(cluster):
    """What such a kernel lacks is hidden; it cannot be had here otherwise."""
    with mounted(cluster, "n1", "mount -t tmpfs none /proc/sys/kernel"):
        unprotected(cluster, "this kernel was built without CONFIG_CHECKPOINT_RESTORE")


def test_proctrack(cluster):
    conf = cluster.etc / "slurm.conf"
    before = conf.read_text()

    def restart():
        for node in ("ctl", "n1", "n2"):
            sh(COMMAND, "restart", node)
        until("slurmctld", lambda: cluster.ctl("scontrol ping", check=False)
              .stdout.count("UP"))
        cluster.idle()

    try:
        conf.write_text(before.replace("proctrack/cgroup", "proctrack/linuxproc"))
        restart()
        unprotected(cluster, "set ProctrackType=proctrack/cgroup in slurm.conf")
    finally:
        conf.write_text(before)
        restart()


def test_children_are_signalled(cluster):
    conf = cluster.etc / "cgroup.conf"
    before = conf.read_text()
    try:
        conf.write_text(before + "SignalChildrenProcesses=yes\n")
        unprotected(cluster, "/etc/slurm/cgroup.conf: SignalChildrenProcesses=yes signals a step's programs behind sckpt's back")
    finally:
        conf.write_text(before)


def test_store_not_writable(cluster):
    cluster.run("n1", "mkdir -p -m 755 /shared/closed", user="root")
    cluster.conf("dir=/shared/closed/%u\n")
    unprotected(cluster, "cannot make directory user1: Permission denied")


def test_store_not_there(cluster):
    cluster.conf("dir=/shared/nowhere/%u\n")
    unprotected(cluster, "the store's directory /shared/nowhere is not there on n1")


def held(job, *sentences):
    until("the hold", lambda: job.record()["state_reason"] == "JobHeldUser")
    until("its end", lambda: job.state == ["PENDING"])
    # The output file was truncated by the requeue; the words are there.
    for s in sentences:
        assert s in job.text(), job.text()


def test_store_not_there_on_second_node(cluster):
    """The job is held, nothing is lost; sent back to where its checkpoint is,
    it goes on."""
    cluster.run("n1", "mkdir -p -m 1777 /var/tmp/ck", user="root")
    cluster.conf("dir=/var/tmp/ck/%u\n")
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1")
    job.wait_output("^line 20$")
    job.vacate("n2")
    cluster.ctl(f"scontrol release {job.number}")
    held(job, "the store's directory /var/tmp/ck is not there on n2",
         f"scontrol release {job.number}")
    cluster.ctl(f"scontrol update job {job.number} ReqNodeList=n1")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


def test_criu_older_than_the_one_that_dumped(cluster):
    """A job that may run elsewhere would be sent there (test_target)."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1")
    job.wait_output("^line 20$")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    until("the requeue", lambda: job.state == ["PENDING"])
    fake_criu(cluster, "older-criu", "4.0")
    cluster.ctl(f"scontrol release {job.number}")
    held(job, "generation 1: it was dumped by criu 4.", "has the older criu 4.0: install")
    cluster.conf("")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


# Its memory is another one when it is told so, and does not compress.
CHANGING = """import os, sys, time
memory = os.urandom(8 << 20)
for i in range(1, int(sys.argv[1]) + 1):
    print('line', i, flush=True)
    os.path.exists('quick') or time.sleep(0.1)
    if os.path.exists('change'):
        memory = os.urandom(8 << 20)
        os.rename('change', 'changed')
"""


def test_disk_full_in_mid_dump(cluster):
    """There is room for one generation and not for two. The program dies as it
    would have; the generation before stays, and the job goes on from it."""
    cluster.run("n1", "mkdir -p /shared/small", user="root")
    with mounted(cluster, "n1", "mount -t tmpfs -o size=16m,mode=1777 none /shared/small"):
        cluster.conf("dir=/shared/small/%u\n")
        (cluster.home() / "changing.py").write_text(CHANGING)
        script = cluster.script("job.sh", f"exec python3 changing.py {MANY}\n")
        job = cluster.submit(script, options="--requeue --checkpoint -w n1 -e err")
        store = f"/shared/small/user1/test/{job.number}/batch"
        job.wait_output("^line 20$")
        cluster.ctl(f"scontrol requeue {job.number}")
        until("the restore", lambda: job.record()["restart_cnt"] == 1 and job.node)
        cluster.run("n1", "touch change")
        until("the change", (cluster.home() / "changed").exists)
        # Held, for the next run would empty the file.
        cluster.ctl(f"scontrol requeuehold {job.number}")
        err = cluster.home() / "err"
        until("the refusal", lambda: "No space left on device" in err.read_text())
        assert f"sckpt: no checkpoint of step {job.number}.batch" in err.read_text()
        # Nothing is there but generation 1 and what belongs to the step.
        left = cluster.run("n1", f"ls -A {store}").stdout.split()
        assert [n for n in left if n[0] == "2"] == []
        assert cluster.run("n1", f"{SUBJECT}/generation verify {store}").stdout == "1-0 whole\n"
        until("the requeue", lambda: job.state == ["PENDING"])
        cluster.ctl(f"scontrol release {job.number}")
        assert job.finish() == ["COMPLETED"]
        assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]


def test_words(cluster):
    for command in ("srun {} true", "sbatch {} --wrap true", "salloc {} true"):
        done = cluster.run("n1", command.format("--checkpoint=requried"), check=False)
        assert done.returncode != 0
        assert "the nearest one is 'required'" in done.stderr
        help_text = cluster.run("n1", f"{command.split()[0]} --help").stdout
        assert "--checkpoint=[words]    [sckpt]" in help_text


def test_off_undoes_an_inherited_one(cluster):
    script = cluster.script(
        "job.sh", "srun --checkpoint=off grep CapAmb /proc/self/status\n"
        "srun grep CapAmb /proc/self/status\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines() == [f"CapAmb:\t{0:016x}", f"CapAmb:\t{1 << 40:016x}"]


def test_plugstack_words(cluster):
    """Settings behind sckpt.so win over sckpt.conf, and are as strict."""
    stack = cluster.etc / "plugstack.conf"
    before = stack.read_text()
    try:
        cluster.conf("dir=/shared/nowhere\n")
        stack.write_text("required sckpt.so dir=%h/elsewhere\n")
        job = cluster.submit(
            cluster.script("job.sh", f"exec {SUBJECT}/ender 60 exit 1\n"),
            options="--requeue --checkpoint -w n1")
        job.wait_output("^line 5$")
        assert (cluster.home() / "elsewhere/test" / str(job.number) / "batch").is_dir()
        job.cancel()
        job.wait_end()
        stack.write_text("required sckpt.so dri=/x\n")
        unprotected(cluster, "plugstack.conf: there is no setting 'dri'; the nearest one is 'dir'")
    finally:
        stack.write_text(before)


def test_required_batch_job(cluster):
    """It fails at its start, with Slurm's exit code for that, and no command of
    it has run."""
    cluster.conf("criu=/usr/sbin/no-criu\n")
    script = cluster.script("job.sh", "touch ran\n")
    job = cluster.submit(script, options="--requeue --checkpoint=required")
    assert job.wait_end() == ["FAILED"]
    assert job.exit() == (1, 0)
    assert not (cluster.home() / "ran").exists()
    assert "--checkpoint=required, and /usr/sbin/no-criu: " in job.text()


def test_home_not_writable(cluster):
    cluster.run("n1", "chmod 555 /home/user1", user="root")
    try:
        unprotected(cluster, "cannot make directory .sckpt: Permission denied")
    finally:
        cluster.run("n1", "chmod 700 /home/user1", user="root")


def test_no_home_on_the_node(cluster):
    """The account's home is not there, as on a node that mounts none."""
    cluster.run("n1", "sed -i.sckpt s,:/home/user1:,:/nowhere/user1:, /etc/passwd",
                user="root")
    try:
        unprotected(cluster, "the store's directory /nowhere/user1 is not there on n1")
    finally:
        cluster.run("n1", "mv /etc/passwd.sckpt /etc/passwd", user="root")


def test_home_is_a_trap(cluster):
    """What lies there instead of the store is not waited for."""
    for trap in ("mkfifo -m 600 .sckpt", "echo >.sckpt", "ln -s /tmp .sckpt",
                 "ln -s . .sckpt", "mkdir -m 777 .sckpt",
                 "mkdir -m 700 -p .sckpt && mkfifo .sckpt/test"):
        cluster.run("n1", f"cd; umask 0; rm -rf .sckpt; {trap}")
        unprotected(cluster, "/home/user1/.sckpt")


def test_conf_that_only_root_may_read(cluster):
    """srun needs no setting, and does not complain; the step has them."""
    cluster.conf("grant=agent\n")
    (cluster.etc / "sckpt.conf").chmod(0o600)
    done = cluster.run("n1", "srun -w n1 --checkpoint grep CapAmb /proc/self/status; "
                       "srun -w n1 echo plain")
    assert done.stdout == f"CapAmb:\t{0:016x}\nplain\n"
    assert "sckpt" not in done.stderr
    # One that is wrong is told to those who asked for it, and to the log.
    cluster.conf("grunt=agent\n")
    done = cluster.run("n1", "srun -w n1 echo plain")
    assert (done.stdout, "sckpt" in done.stderr) == ("plain\n", False)


HANG = """
import ctypes, os, time
fd = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
assert libc.mount(b'hang', b'/shared/ck', b'fuse', 6, options) == 0, ctypes.get_errno()
print('hangs', flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def hanging_store(cluster, node):
    """A file system that answers nothing is mounted over the store."""
    (cluster.shared / "hang.py").write_text(HANG)
    cluster.run(node, "setsid python3 /shared/hang.py >/tmp/hang 2>&1 & echo $! >/tmp/hang.pid; "
                "until grep hangs /tmp/hang; do sleep 0.1; done", user="root")
    yield
    # Those who waited for it may still be on their way out of it.
    cluster.run(node, "kill $(cat /tmp/hang.pid); umount -l /shared/ck", user="root")


def test_store_hangs(cluster):
    """A fresh job does not wait for it. One with a checkpoint does: it must
    not start afresh while its work lies there."""
    cluster.run("n1", "mkdir -p -m 1777 /shared/ck", user="root")
    cluster.conf("dir=/shared/ck/%u\n")
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1")
    job.wait_output("^line 20$")
    with hanging_store(cluster, "n2"):
        fresh = cluster.submit(
            cluster.script("fresh.sh", "echo it runs\n"),
            options="--checkpoint -w n2 -e fresh.err")
        assert fresh.wait_end() == ["COMPLETED"]
        assert fresh.text() == "it runs\n"
        job.vacate("n2")
        cluster.ctl(f"scontrol release {job.number}")
        job.wait_output("the store in /shared/ck/user1 does not answer; step "
                        f"{job.number}.batch waits for it")
        assert "line" not in job.text()
    # It answers now, with an error: the job is held or goes on.
    held(job, f"scontrol release {job.number}")
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
