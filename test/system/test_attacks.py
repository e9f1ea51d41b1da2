# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user tries from inside a protected step, and from a step beside it; and the quick
ones of test/attack."""
import importlib
import sys

import pytest

from conftest import TOP, until

sys.path.append(str(TOP / "test" / "attack.d"))

SUBJECT = "/shared/subject"


def test_from_a_step_beside(cluster):
    """An unprotected step of the same job sees supervisor and agent: it gets no
    capability from either."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 60 exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint -w n1")
    job.wait_output("^line 5$")
    agent, supervisor = (cluster.run(
        "n1", f"pgrep -f '^/usr/libexec/sckpt/sckpt-{name}'", user="root").stdout.strip()
        for name in ("agent", "supervise"))
    out = cluster.run("n1", f"srun --overlap --jobid {job.number} --checkpoint=off "
                      f"{SUBJECT}/captest").stdout.splitlines()
    assert f"ptrace of {agent}: denied (EPERM)" in out
    assert f"ptrace of {supervisor}: allowed, gained 0" in out
    assert all("gained 0" in l for l in out if "allowed" in l)
    job.cancel()


def test_namespace_init_is_safe(cluster):
    """From inside, nothing stops or kills the agent, and no PID file, cgroup or
    directory of root's can be written."""
    out = cluster.run(
        "n1", "srun -w n1 --checkpoint sh -c '"
        "kill -KILL 1; kill -STOP 1; sleep 0.2; until grep State:.[STt] /proc/1/status; do sleep 0.1; done; "
        "find /sys/fs/cgroup -name cgroup.procs -writable 2>/dev/null; "
        "find /run /proc/sys -writable -type f 2>/dev/null | "
        "grep -v -e ^/proc/sys/kernel/ns_last_pid -e ^/proc/sys/user -e ^/run/lock "
        # The step's own.
        "-e ^/run/sckpt/; "
        "true'").stdout
    assert out == "State:\tS (sleeping)\n"


def test_full_work_directory(cluster):
    """A program that fills /run/sckpt is dumped and goes on all the same."""
    script = cluster.script(
        "job.sh", "head -c 100m /dev/zero >/run/sckpt/fill; echo ready; "
        "until [ -e go ]; do sleep 0.1; done; echo done\n")
    with cluster.kill_wait(60):
        job = cluster.submit(script, options="--requeue --checkpoint -w n1 -e err")
        job.wait_output("ready")
        cluster.ctl(f"scontrol requeue {job.number}")
        until("the dump", job.generations, 90)
        (cluster.home() / "go").touch()
        assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines() == ["ready", "done"]


def test_forged_environment(cluster):
    """The option by its variable is the option; a restart count, a configuration
    and a library of the user's give nothing more."""
    (cluster.home() / "slurm.conf").write_text("ClusterName=mine\n")
    out = cluster.run(
        "n1", "export _SLURM_SPANK_OPTION_sckpt_checkpoint=grant=step "
        "SLURM_SPANK__SLURM_SPANK_OPTION_sckpt_checkpoint=grant=step SLURM_RESTART_COUNT=7; "
        "srun -w n1 --checkpoint=grant=agent,required "
        "--export=ALL,SLURM_CONF=$HOME/slurm.conf "
        "sh -c 'grep CapAmb /proc/self/status; tr \"\\0\" \" \" </proc/1/cmdline'").stdout
    assert out.startswith(f"CapAmb:\t{0:016x}\n")
    assert "cluster=test " in out


QUICK = ("broker.forged", "broker.swapped", "broker.given_away", "broker.messages", "broker.inside",
         "broker.namespaces", "broker.network", "broker.streams", "broker.words", "broker.needless",
         "broker.repair", "broker.unrepaired", "broker.marked", "broker.believed", "broker.door", "broker.mates", "broker.hook", "broker.killed", "broker.sequences",
         "broker.handlers", "broker.thawed", "broker.ended", "broker.taken",
         "store.reach", "store.copied", "store.open_store", "store.fuse_hangs",
         "store.fuse_passes",
         "root.root_terminal", "root.escapes",
         "root.forged_log", "root.run_directory", "root.import_closed", "processes.pids",
         "processes.no_new_privs", "allow.from_before")


@pytest.fixture(scope="module")
def field(cluster):
    c = importlib.import_module("attack").Field()
    c.prepare()
    return c


@pytest.mark.parametrize("name", QUICK)
def test_attack(field, name):
    module, function = name.split(".")
    try:
        assert getattr(importlib.import_module(module), function)(field)
    finally:
        field.tidy()
