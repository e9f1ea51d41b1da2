# SPDX-License-Identifier: GPL-2.0-or-later
"""CAP_CHECKPOINT_RESTORE, and nothing else, and only where it belongs."""
import pathlib
import re

import pytest

SUBJECT = "/shared/subject"
CR = f"{1 << 40:016x}"
NONE = f"{0:016x}"


def caps(cluster, node, pattern):
    """Capability sets of the one process whose command begins so."""
    out = cluster.run(
        node, f"for p in $(pgrep -f '^{pattern}'); do grep ^Cap /proc/$p/status; done",
        user="root").stdout
    found = dict(line.split() for line in out.splitlines())
    assert len(out.splitlines()) == 5, f"{pattern}: {out}"
    return [found[f"Cap{c}:"] for c in ("Prm", "Eff", "Inh", "Amb")]


@pytest.mark.parametrize("grant", ["step", "agent by word", "agent by conf"])
def test_who_has_it(cluster, grant):
    if grant == "agent by conf":
        cluster.conf("grant = agent\n".replace(" ", ""))
    option = "=grant=agent" if grant == "agent by word" else ""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender 36000 exit 0\n")
    job = cluster.submit(script, options=f"--requeue --checkpoint{option}")
    job.wait_output("line 5")
    node = job.node
    program = [CR] * 4 if grant == "step" else [NONE] * 4
    assert caps(cluster, node, "/usr/libexec/sckpt/sckpt-agent") == [CR] * 4
    assert caps(cluster, node, "/usr/libexec/sckpt/sckpt-supervise") == [NONE] * 4
    assert caps(cluster, node, f"{SUBJECT}/ender") == program
    job.preempt()
    node = job.node
    seen = len(job.text().splitlines())
    job.wait_output(f"line {seen + 5}$")
    assert caps(cluster, node, "/usr/libexec/sckpt/sckpt-agent") == [CR] * 4
    assert caps(cluster, node, f"{SUBJECT}/ender") == program
    lines = job.text().splitlines()
    assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]


def is_bounding_set_full():
    own = re.search(r"CapBnd:\s*(\w+)", pathlib.Path("/proc/self/status").read_text())
    last = int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text())
    return int(own[1], 16) == (2 << last) - 1


def test_bubblewrap(cluster):
    """It refuses ambient capabilities: grant=agent lets it start."""
    bwrap = "bwrap --ro-bind / / --dev /dev --proc /proc --unshare-user echo in the box"
    done = cluster.run("n1", f"srun --checkpoint=grant=agent {bwrap}", check=False)
    plain = cluster.run("n1", f"srun {bwrap}", check=False)
    assert (done.stdout, done.returncode) == (plain.stdout, plain.returncode)
    refused = cluster.run("n1", f"srun --checkpoint {bwrap}", check=False)
    assert "Unexpected capabilities" in refused.stderr


def test_nothing_more_can_be_had(cluster):
    """ptrace, memory, ambient, capset, exec of a setuid program."""
    cluster.run("n1", "cp /bin/cat /shared/setuid-cat && chmod 4755 /shared/setuid-cat",
                user="root")
    for grant, conf in (("step", ""), ("agent", ""), ("step", "no-new-privs=always\n")):
        cluster.conf(conf)
        out = cluster.run(
            "n1", f"srun --checkpoint=grant={grant} {SUBJECT}/captest /shared/setuid-cat")
        # Where the bounding set is full, setuid programs are what they are everywhere.
        end = "gained 0, no_new_privs" if conf or not is_bounding_set_full() else \
            "gained [0-9a-f]+, as setuid programs do"
        lines = out.stdout.splitlines()
        assert len(lines) > 80
        assert lines[0] == "as started: allowed, gained 0"
        assert lines[-1] == "in the end: allowed, gained 0"
        assert all("gained 0" in l for l in lines if "allowed" in l)
        assert any(l.startswith("ptrace of 1:") for l in lines)
        assert any(re.fullmatch(f"exec of /shared/setuid-cat: {end}", l)
                   for l in lines), lines[-3:]


def test_prolog_and_preload(cluster):
    """What runs in the task before the program gets no more than the program."""
    home = cluster.home()
    cluster.script("prolog.sh", 'echo "export SEEN=$(grep -h ^Cap /proc/self/status '
                   '| grep -v Bnd | cut -f2 | sort -u | tr "\\n" ,)"\n')
    out = cluster.run(
        "n1", "srun --checkpoint --task-prolog=$HOME/prolog.sh printenv SEEN").stdout
    assert out.strip() == f"{CR},"
    (cluster.etc / "prolog.sh").write_text(
        (home / "prolog.sh").read_text().replace("SEEN", "ADMIN_SEEN"))
    (cluster.etc / "prolog.sh").chmod(0o755)
    with cluster.slurm_conf(lambda text: text + "TaskProlog=/etc/slurm/prolog.sh\n"):
        cluster.idle()
        out = cluster.run("n1", "srun --checkpoint printenv ADMIN_SEEN").stdout
        assert out.strip() == f"{CR},"
    # A library of the user's own is loaded into agent and program alike; it
    # finds what the program has.
    (home / "p.py").write_text("print(open('/proc/self/status').read())\n")
    out = cluster.run(
        "n1", "srun --checkpoint --export=ALL,LD_PRELOAD=libdl.so.2 "
        "grep -h ^Cap /proc/self/status /proc/1/status").stdout
    sets = {l.split()[1] for l in out.splitlines() if "Bnd" not in l}
    assert sets == {CR}


def test_what_criu_knows_of_the_kernel(cluster):
    """It is found out once for a node, by root, and is what the user's criu would find out. (But
    for the address of a variable in the criu that did, libc_rseq_conf, which it looks at in each run.)"""
    out = cluster.run(
        "n1", "srun -w n1 --checkpoint sh -c 'cd /run/sckpt; od -An -v -tx8 -w8 criu.kdat; echo; "
        "for d in one two; do mkdir $d; XDG_RUNTIME_DIR=/run/sckpt/$d criu cpuinfo dump "
        "--unprivileged --no-default-config -D $d; od -An -v -tx8 -w8 $d/criu.kdat; echo; done'").stdout
    roots, one, two = [part.split() for part in out.strip().split("\n\n")]
    assert len(roots) == len(one) == len(two) > 50
    other = [i for i in range(len(one)) if roots[i] != one[i]]
    assert set(other) <= {i for i in range(len(one)) if one[i] != two[i]} and len(other) <= 1
