# SPDX-License-Identifier: GPL-2.0-or-later
"""grant=never, allow-users=, allow-groups=, allow-partitions=: the capability in spite of
them."""
import shlex

from attack import attack, must_not
from cluster import until

CAP = "grep CapAmb /proc/self/status; echo \"at $SLURMD_NODENAME\""
IT = "0000010000000000"
NOT_USER1 = "allow-users=user2\n"
ONLY_HIGH = "allow-partitions=high\n"
ENVIRONMENT = ("SLURM_JOB_PARTITION=high,SLURM_JOB_UID=1002,SLURM_JOB_USER=user2,USER=user2,LOGNAME=user2,"
               "SLURM_JOB_GID=1002,SLURM_JOB_GROUP=user2,SLURM_CONF=/home/user1/etc/slurm.conf,"
               "SQUEUE_PARTITION=high,SQUEUE_FORMAT=high,SLURM_CLUSTERS=x,SCKPT_CONF=/home/user1/etc/sckpt.conf,"
               "PATH=/home/user1/bin:/usr/bin:/bin,SLURM_JOB_ID=99999,SLURM_JOBID=99999")


def without(text):
    must_not(IT in text, text.strip())
    assert "CapAmb:\t0000000000000000" in text, text


def fake(c):
    c.run("n1", "mkdir -p bin etc; printf '#!/bin/sh\necho \"$7 high\"; for i in $(seq 200); do echo $i high; done\n' >bin/squeue; "
          "chmod +x bin/squeue; sed 's/^PartitionName=low/PartitionName=high/' /etc/slurm/slurm.conf >etc/slurm.conf; "
          ": >etc/sckpt.conf; cp /etc/slurm/plugstack.conf etc/")


@attack("not allowed: words, forged options, variables, SLURM_CONF and a squeue of user1's")
def forged(c):
    fake(c)
    tried = 0
    for conf in (NOT_USER1, ONLY_HIGH, "grant=never\n", "allow-groups=user2,biology\n", "allow-users=root,0\n"):
        c.conf(conf)
        for before, options in (
                ("", "--checkpoint"), ("", "--checkpoint=grant=step"),
                ("export SCKPT_CHECKPOINT=grant=step; ", ""),
                ("export _SLURM_SPANK_OPTION_sckpt_checkpoint=grant=never; ", ""),
                ("", f"--checkpoint --export=ALL,{ENVIRONMENT}"),
                ("export " + ENVIRONMENT.replace(",", " ").split(" SLURM_JOB_ID")[0].replace(
                    "SLURM_CONF=/home/user1/etc/slurm.conf", "X=1").replace("SLURM_CLUSTERS=x", "Y=1") + "; ",
                 "--checkpoint")):
            without(c.run("n1", f"{before}srun -n1 -w n1 -p low {options} bash -c {shlex.quote(CAP)}").stdout)
            tried += 1
    # srun by a configuration of user1's.
    done = c.run("n1", f"SLURM_CONF=$HOME/etc/slurm.conf srun -n1 -w n1 -p low --checkpoint bash -c {shlex.quote(CAP)}",
                 check=False)
    must_not(IT in done.stdout, done.stdout)
    done = c.run("n1", f"sg biology -c 'srun -n1 --checkpoint grep CapAmb /proc/self/status'", check=False)
    must_not(IT in done.stdout, "user1 is in biology")
    return f"slurmstepd asks slurmctld, with an environment of its own ({tried + 2} ways)"


@attack("not allowed: arrays, both parts of heterogeneous jobs, srun in an allowed job, several partitions, --jobid")
def shapes(c):
    c.conf(ONLY_HIGH)
    cap = shlex.quote(CAP)
    out = c.home() / "out"
    for options in ("--array=1-2 -p low", "-p low,high -w n1", "-p low --nice", "-p low -d singleton"):
        if "high" in options:
            # high has no room on n1.
            full = c.submit("--wrap", "sleep 60", options="-p high -w n1 --exclusive -n2", user="user2")
            full.wait_running()
            options = "-p low,high -w n2"
        job = c.submit("--wrap", CAP, options=f"--checkpoint {options} -o out --open-mode=append")
        until("it to end", lambda: not c.ctl(f"squeue -h -j {job.number} -t R,PD,CG", check=False).stdout.strip())
        ran = c.ctl(f"scontrol show job {job.number}").stdout
        if "Partition=low" in ran:
            without(out.read_text())
        out.unlink()
        c.ctl("scancel -u user2", user="root")
    for first, second in (("high", "low"), ("low", "high")):
        said = c.run("n1", f"salloc -n1 -p {first} -w n1 : -n1 -p {second} -w n2 bash -c "
                     + shlex.quote("for g in 0 1 0,1; do srun --het-group=$g --checkpoint bash -c " + cap + "; done")).stdout
        low = "n2" if first == "high" else "n1"
        lines = said.splitlines()
        assert lines.count(f"at {low}") == 2, said
        for cap_line, at in zip(lines[::2], lines[1::2]):
            if at == f"at {low}":
                must_not(IT in cap_line, said)
    # A job of high has it wherever its steps say that they are; one of low, never.
    said = c.run("n1", "salloc -n1 -p low -w n1 bash -c " + shlex.quote(
        "for o in '-p high' '-p high,low' '--het-group=0'; do srun $o --checkpoint bash -c " + cap +
        "; SLURM_JOB_PARTITION=high srun $o --checkpoint bash -c " + cap + "; done"), check=False).stdout
    without(said)
    theirs = c.submit("--wrap", "sleep 60", options="-p high -w n1 -n1", user="user2")
    theirs.wait_running()
    done = c.run("n1", f"srun --jobid={theirs.number} --overlap --checkpoint bash -c {cap}", check=False)
    must_not("CapAmb" in done.stdout, "a step in user2's job")
    return "it is the partition in which that very job runs; a step in another's job is refused by Slurm"


@attack("not allowed any more: a checkpoint from before, by requeue, by sckpt restart, and by a forged origin")
def from_before(c):
    program = ("for i in $(seq 300); do grep CapAmb /proc/self/status >cap.new; mv cap.new cap; sleep 0.2; done")
    job = c.submit("--wrap", program, options="--requeue --checkpoint -w n1")
    cap = c.home() / "cap"
    until("it to run", cap.exists)
    assert IT in cap.read_text()
    c.ctl(f"scontrol requeue {job.number}")
    c.conf(NOT_USER1)
    until("a checkpoint", job.generations)
    until("it to be stopped", lambda: not c.run("n1", "pgrep -f sckpt-agent", check=False).stdout)
    cap.unlink(missing_ok=True)
    until("what comes of it", lambda: "sckpt:" in job.text() and job.record()["restart_cnt"] > 0
          and not cap.exists() and "RUNNING" not in job.state)
    said = [x for x in job.text().splitlines() if x.startswith("sckpt:")]
    must_not(cap.exists() and IT in cap.read_text(), "the requeued job has it")
    new = int(c.run("n1", f"sckpt restart {job.number} --force").stdout.split()[-1])
    until("what comes of that", lambda: "sckpt:" in ((c.home() / f"slurm-{new}.out").read_text()
          if (c.home() / f"slurm-{new}.out").exists() else ""))
    must_not(cap.exists() and IT in cap.read_text(), "sckpt restart gives it")
    text = (c.home() / f"slurm-{new}.out").read_text()
    must_not(c.restored(new) or c.restored(job.number), "it was restored")
    assert "sckpt:" in text, text
    return said[-1]
