# SPDX-License-Identifier: GPL-2.0-or-later
"""sckpt doctor: nothing wrong on a good node, and each fault is found, by name."""
import json
import re

import pytest

from conftest import until

CRIU, HELPERS = "/usr/sbin/criu", "/usr/libexec/sckpt"
PLUGSTACK, CONF = "/etc/slurm/plugstack.conf", "/etc/slurm/sckpt.conf"
STORE = "/home/user1/.sckpt"


def doctor(cluster, options="--user user1", node="n1", user="root"):
    done = cluster.run(node, f"sckpt doctor --json {options}", user=user, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["failed"] else 0)
    return [f for f in found["findings"] if f["result"] != "OK"], found


def over(path, text):
    """Another file in the place of one, on one node."""
    return (f"printf '{text}' >/root/other; chmod 755 /root/other; touch {path}; "
            f"mount --bind /root/other {path}", f"umount {path}")


def slurm(change, back):
    """/etc/slurm is everybody's here; slurmctld reads it again."""
    return (f"sed -i '{change}' /etc/slurm/slurm.conf; scontrol reconfigure",
            f"sed -i '{back}' /etc/slurm/slurm.conf; scontrol reconfigure")


# What is wrong: commands that break and mend it, how it is found, and its sentence.
FAULTS = {
    "no criu": ((f"mv {CRIU} {CRIU}.away", f"mv {CRIU}.away {CRIU}"),
                "FAIL", "criu", "No such file or directory; install criu"),
    "criu of a user": ((f"chown user1 {CRIU}", f"chown root {CRIU}"),
                       "FAIL", "criu", "is not root's alone: chown root, chmod go-w"),
    "criu can be written": ((f"chmod g+w {CRIU}", f"chmod g-w {CRIU}"),
                            "FAIL", "criu", "is not root's alone"),
    "criu is old": (over(CRIU, "#!/bin/sh\\necho Version: 3.17.1\\n"),
                    "FAIL", "criu", "is criu 3.17.1 and cannot work unprivileged"),
    "criu of trixie": (over(CRIU, "#!/bin/sh\\necho Version: 4.1.1\\n"),
                       "WARN", "criu", "cannot dump a program that has an inet socket"),
    "criu says nothing": (over(CRIU, "#!/bin/sh\\n"),
                          "FAIL", "criu", "does not tell its version"),
    "a helper is missing": ((f"mv {HELPERS}/sckpt-join /root", f"mv /root/sckpt-join {HELPERS}"),
                            "FAIL", "helpers", "sckpt-join: No such file or directory"),
    "yama": (over("/run/yama", "1\\n"), "FAIL", "yama", "kernel.yama.ptrace_scope is 1"),
    "not in plugstack.conf": (over(PLUGSTACK, "# nothing\\n"),
                              "FAIL", "plugin", "no line of plugstack.conf names sckpt.so"),
    "plugstack.conf names what is not there": (
        over(PLUGSTACK, "optional /usr/lib/none/sckpt.so\\n"),
        "FAIL", "plugin", "names /usr/lib/none/sckpt.so, and srun does not load it"),
    "a wrong word in plugstack.conf": (over(PLUGSTACK, "required sckpt.so keep=none\\n"),
                                       "FAIL", "sckpt.conf", "plugstack.conf: keep=none"),
    "a wrong sckpt.conf": (over(CONF, "dirr=/x\\n"), "FAIL", "sckpt.conf",
                           f"{CONF} line 1: there is no setting 'dirr'"),
    "SignalChildrenProcesses": (
        over("/etc/slurm/cgroup.conf", "# none\\nsignalchildrenprocesses = YES # all\\n"),
        "FAIL", "cgroup.conf", "/etc/slurm/cgroup.conf: SignalChildrenProcesses=yes signals a step's programs behind sckpt's back"),
    "PreemptMode": (slurm("s/^PreemptMode=.*/PreemptMode=CANCEL/",
                          "s/^PreemptMode=.*/PreemptMode=REQUEUE/"),
                    "WARN", "PreemptMode", "what is preempted is not requeued"),
    "KillWait": (slurm("s/^KillWait=.*/KillWait=3/", "s/^KillWait=.*/KillWait=30/"),
                 "WARN", "KillWait", "and 3 s are hardly enough"),
    "JobRequeue": (slurm("$aJobRequeue=0", "/^JobRequeue=0/d"),
                   "WARN", "JobRequeue", "only requeued if they are submitted with --requeue"),
    "the store is open to others": ((f"install -d -o user1 -m 755 {STORE}", f"rmdir {STORE}"),
                                    "FAIL", "store", "closed to all others (mode 0700)"),
    "the store is another user's": ((f"install -d -o user2 -m 700 {STORE}", f"rmdir {STORE}"),
                                    "FAIL", "store", "must be a directory of user id 1001's"),
    "the store's place is missing": (over(CONF, "dir=/nowhere/%%u\\n"),
                                     "FAIL", "store", "cannot write in /nowhere: No such file or directory: no checkpoint can"),
    "the store cannot be written": (
        (f"install -d -o user1 -m 700 {STORE}; mount -t tmpfs -o ro,mode=700,uid=1001 x {STORE}",
         f"umount {STORE}; rmdir {STORE}"),
        "FAIL", "store", "Read-only file system: no checkpoint can be written there"),
    "munged does not answer": (("mv /run/munge/munge.socket.2 /run/munge/away",
                                "mv /run/munge/away /run/munge/munge.socket.2"),
                               "FAIL", "munge", "does munged run here"),
    "slurmctld's clock": (
        over("/usr/bin/scontrol", "#!/bin/sh\\necho Configuration data as of 2001-01-01T00:00:00\\n"),
        "FAIL", "clock", "this clock and slurmctld"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_finds(cluster, what):
    (spoil, mend), result, where, text = FAULTS[what]
    if what == "yama":
        # The file is the machine's, or not there at all; this one is the node's.
        if cluster.run("n1", "test -e /proc/sys/kernel/yama/ptrace_scope", user="root",
                       check=False).returncode:
            pytest.skip("this kernel has no Yama")
        spoil, mend = over("/proc/sys/kernel/yama/ptrace_scope", "1\\n")
        spoil = spoil.replace("touch /proc", ": /proc")
    cluster.run("n1", spoil, user="root")
    try:
        found, _ = doctor(cluster)
    finally:
        cluster.run("n1", mend, user="root")
    mine = [f for f in found if f["what"] == where]
    assert mine and mine[0]["result"] == result and text in mine[0]["text"], found


def test_configless(cluster):
    """plugstack.conf as slurmd has it of slurmctld. (srun here has its own, without sckpt.)"""
    spoil, mend = over(PLUGSTACK, "# nothing\\n")
    conf = "/run/slurm/conf"
    cluster.run("n1", f"{spoil}; mkdir -p {conf}/plugstack.conf.d; "
                f"echo 'include plugstack.conf.d/*.conf' >{conf}/plugstack.conf; "
                f"echo 'optional sckpt.so keep=5' >{conf}/plugstack.conf.d/ours.conf", user="root")
    try:
        found, _ = doctor(cluster)
    finally:
        cluster.run("n1", f"{mend}; rm -r {conf}", user="root")
    plugin = [f["text"] for f in found if f["what"] == "plugin"]
    assert plugin and plugin[0].startswith(
        f"{conf}/plugstack.conf.d/ours.conf names sckpt.so, and srun does not load it"), found


def test_bounding_set(cluster):
    """slurmd's, not the shell's; so it is a slurmd of this name that is looked at."""
    cluster.run("n1", "cp /bin/sleep /tmp/slurmd", user="root")
    done = cluster.run("n1", "unshare -p -m --fork --mount-proc sh -c '"
                       "setpriv --bounding-set -checkpoint_restore /tmp/slurmd 60 & "
                       "until grep -q slurmd /proc/$!/comm; do sleep 0.01; done; "
                       "sckpt doctor'; rm /tmp/slurmd", user="root", check=False)
    assert re.search("FAIL +capability +slurmd may not have CAP_CHECKPOINT_RESTORE", done.stdout)


def test_after_reconfigure(cluster):
    """slurmd, which executes itself again, has its file's own name then: Debian's is slurmd-wlm."""
    pid = cluster.run("n1", "cat /run/slurmd.pid", user="root").stdout
    cluster.ctl("scontrol reconfigure", user="root")
    until("slurmd to be another", lambda: cluster.run(
        "n1", "cat /run/slurmd.pid", user="root", check=False).stdout not in ("", pid))
    assert re.search("OK +capability", cluster.run("n1", "sckpt doctor", user="root").stdout)


def test_nothing_wrong(cluster):
    """The store lies on this machine's own file system, which is all that it may say."""
    for node, user, options in (("n1", "root", ""), ("n1", "root", "--user user1"),
                                ("n1", "user1", ""), ("ctl", "root", ""), ("ctl", "user1", "")):
        found, _ = doctor(cluster, options, node, user)
        assert [f["what"] for f in found] in ([], ["store's mount"]), (node, user)
    people = cluster.run("n1", "sckpt doctor", user="root").stdout
    assert "sckpt can work here: 0 wrong, 0 to think about\n" in people
    assert "no slurmd runs here" in cluster.run("ctl", "sckpt doctor", user="root").stdout


def test_fix_prints_lines(cluster):
    spoil, mend = slurm("s/^KillWait=.*/KillWait=3/", "s/^KillWait=.*/KillWait=30/")
    cluster.run("n1", spoil, user="root")
    try:
        assert cluster.run("n1", "sckpt doctor --fix", user="root").stdout == \
            "slurm.conf: KillWait=60\n"
    finally:
        cluster.run("n1", mend, user="root")


def test_trial(cluster):
    found, all_of_it = doctor(cluster, "--user user1 --try")
    assert [f["what"] for f in found] in ([], ["store's mount"])
    assert all_of_it["findings"][-1] == {
        "result": "OK", "what": "trial", "fix": None,
        "text": "a program was checkpointed, and restored"}


def test_trial_behind_a_prolog(cluster):
    """Slurm calls the job running while it has no step yet."""
    spoil, mend = slurm("$ a Prolog=/etc/slurm/slow.sh", "/^Prolog=/d")
    (cluster.etc / "slow.sh").write_text("#!/bin/sh\nsleep 5\n")
    (cluster.etc / "slow.sh").chmod(0o755)
    cluster.ctl(spoil, user="root")
    try:
        cluster.idle()
        _, all_of_it = doctor(cluster, "--user user1 --try")
    finally:
        cluster.ctl(mend, user="root")
    assert all_of_it["findings"][-1]["text"] == "a program was checkpointed, and restored"
    cluster.idle()


def test_trial_fails(cluster):
    spoil, mend = over(CONF, "grant=never\\n")
    cluster.run("n1", spoil, user="root")
    try:
        found, _ = doctor(cluster, "--try", user="user1")
    finally:
        cluster.run("n1", mend, user="root")
    assert found[-1]["what"] == "trial" and found[-1]["result"] == "FAIL"
    assert "which was not to run unprotected, has ended as FAILED" in found[-1]["text"]
    cluster.idle()
