# SPDX-License-Identifier: GPL-2.0-or-later
"""doc/user-guide.md and doc/admin-guide.md: what they tell people to copy is run, and the
words by which they tell symptoms are those of the sources.

The info words behind a block's fence say how:
  script NAME [array|slices|nopreempt]   a job script: it is preempted, and ends well
  sh user [ended|partition]    the user's commands; 4711 is the last script's job
  sh admin [nodes|prune]       root's, on one node or all
  sh build, sh packages        the build, in the build root; what it needs is there
  conf slurm.conf NAME         Slurm takes it; `partition` has the commands after it run with it
  conf plugstack.conf, conf sckpt.conf   taken as the cluster's
  snakemake, nextflow, submitit          their options, in a job as these tools write it
  dnf, dbd                     not run: no RPM system and no slurmdbd is there
"""
import collections
import re
import shlex

import pytest

from conftest import COMMAND, MANY, PACE, SLOW, TOP, Job, sh, until

Block = collections.namedtuple("Block", "guide language kind words text")
NOT_RUN = {"dnf", "dbd"}


def blocks(guide):
    text = (TOP / "doc" / f"{guide}-guide.md").read_text()
    found = re.findall(r"^```(\w+) (\w[\w.]*)((?: [\w.]+)*)\n(.*?)^```$", text, re.M | re.S)
    assert len(re.findall("^```", text, re.M)) == 2 * len(found), "a fence without info words"
    return [Block(guide, l, k, w.split(), t) for l, k, w, t in found]


USER, ADMIN = blocks("user"), blocks("admin")


def of(all_blocks, kind, *words):
    return [b for b in all_blocks if b.kind == kind and set(words) <= set(b.words)]


def test_all_kinds_are_known():
    known = {"script", "user", "admin", "build", "packages", "slurm.conf", "plugstack.conf",
             "sckpt.conf", "snakemake", "nextflow", "submitit"} | NOT_RUN
    assert {b.kind for b in USER + ADMIN} == known


# ---- the user's examples -------------------------------------------------------------

# What stands for the user's programs. What is said is the same however often it is stopped.
STUBS = {
    "simulate": f"for i in $(seq ${{STEPS:-{MANY}}}); do echo step $i of $*; {PACE}; done\n",
    "prepare": "sleep 2; echo prepared once; echo >>$HOME/prepare.ran\n",
    "analyse": 'cat "$@"\n',
}


def stubs(cluster):
    for name, text in STUBS.items():
        cluster.script(name, text)


def submit(cluster, block, options=""):
    name = cluster.script(block.words[0], block.text.removeprefix("#!/bin/bash\n"))
    return cluster.submit(name, options=options)


def steps(count, arguments):
    return "".join(f"step {i} of {arguments}\n" for i in range(1, count + 1))


def file(job, name):
    p = job.home / name
    return p.read_text() if p.exists() else ""


def script(name):
    return next(b for b in of(USER, "script") if b.words[0] == name)


def test_long(cluster):
    stubs(cluster)
    job = submit(cluster, script("long.sh"))
    out = f"long-{job.number}.out"
    until("progress", lambda: file(job, out))
    first = job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert file(job, out) == steps(MANY, "--steps 1000000")
    said = file(job, f"long-{job.number}.err")
    # As the guide shows it.
    assert re.search(rf"^sckpt: checkpoint 1 taken in .* \(stopped .*\), .*, on {first}$", said, re.M)
    assert re.search(r"^sckpt: restored from checkpoint 1 on n. after \d+ s$", said, re.M)


def test_steps(cluster):
    stubs(cluster)
    job = submit(cluster, script("steps.sh"), options="-N 1")
    until("the second step", lambda: "step 4" in file(job, "simulated"))
    job.preempt()
    assert job.finish() == ["COMPLETED"], job.text()
    # Both tasks' lines, in whatever order, each once; and the first step not again.
    assert sorted(file(job, "simulated").splitlines()) == sorted(2 * steps(MANY, "--steps 1000").splitlines())
    assert file(job, "prepare.ran") == "\n"
    assert job.text() == file(job, "prepared") + file(job, "simulated")


def test_array(cluster):
    stubs(cluster)
    job = submit(cluster, script("array.sh"), options="--array=1")
    until("it to run", lambda: job.node)
    until("progress", lambda: "step 4" in cluster.run(
        job.node or "n1", f"cat /tmp/work-{job.number}/result", check=False).stdout)
    assert not file(job, "result-1")
    job.preempt()
    assert job.finish() == ["COMPLETED"], job.text()
    assert file(job, "result-1") == steps(MANY, "--seed 1")


def test_array_is_taken_as_it_stands(cluster):
    stubs(cluster)
    job = submit(cluster, script("array.sh"), options="--export=ALL,STEPS=2")
    until("both results", lambda: file(job, "result-1") and file(job, "result-2"))
    assert file(job, "result-2") == steps(2, "--seed 2")


def test_slices(cluster):
    """The limit is the shortest that Slurm has."""
    stubs(cluster)
    job = submit(cluster, script("slices.sh"), options="--time=1")
    until("the second slice", lambda: job.record()["restart_cnt"] == 1 and job.node, 120)
    assert job.finish() == ["COMPLETED"], job.text()
    assert job.text() == steps(MANY, "--steps 1000000000")


def commands(cluster, block, job, user="user1", node="n1"):
    text = block.text.replace("4711", str(job.number) if job else "4711")
    done = cluster.run(node, "set -e; cd ~\n" + text, user=user, check=False)
    assert done.returncode == 0, text + done.stdout + done.stderr
    return done.stdout


def test_by_hand(cluster):
    stubs(cluster)
    job = submit(cluster, script("later.sh"))
    until("progress", lambda: "step 4" in job.text())
    plain = [b for b in of(USER, "user") if not b.words]
    assert len(plain) == 1
    out = commands(cluster, plain[0], job)
    assert re.search(rf"{job.number}\.batch:1\b", out), out
    until("its end", lambda: job.state == ["CANCELLED"])
    before = job.text()
    assert not before.endswith(steps(MANY, "--steps 1000000"))
    out = commands(cluster, of(USER, "user", "ended")[0], job)
    new = Job(cluster, int(re.search(r"job (\d+)", out)[1]), "user1", cluster.home())
    assert new.finish() == ["COMPLETED"]
    assert new.text() == steps(MANY, "--steps 1000000")


# ---- workflow tools --------------------------------------------------------------------

# As these write their jobs (snakemake-executor-plugin-slurm 2, nextflow 24, submitit 1.5); the
# options are the guide's.
def like_snakemake(options, work):
    return ("-", f"sbatch --parsable --job-name x --output %j.log --export=ALL --comment rule_a "
            f"-t 10 --mem 100 --ntasks=1 --cpus-per-task=1 {options} -D . --wrap={shlex.quote(f'srun -n1 --cpu-bind=q {work}')}")


def like_nextflow(options, work):
    return (f"#!/bin/bash\n#SBATCH -J nf-x\n#SBATCH -o %j.log\n#SBATCH --no-requeue\n"
            f"#SBATCH --signal B:USR2@30\n#SBATCH -t 00:10:00\n#SBATCH {options}\n"
            f"on_term() {{ pkill -P $$; }}\ntrap on_term TERM INT USR2\n({work}) &\nwait $!\n",
            "sbatch --parsable ./tool.sh")


def like_submitit(options, work):
    lines = "".join(f"#SBATCH {o}\n" for o in options.split())
    return (f"#!/bin/bash\n#SBATCH --error=%j.err\n#SBATCH --job-name=submitit\n#SBATCH --nodes=1\n"
            f"#SBATCH --open-mode=append\n#SBATCH --output=%j.log\n#SBATCH --signal=USR2@90\n"
            f"#SBATCH --time=10\n{lines}export SUBMITIT_EXECUTOR=slurm\n{work}\n", "sbatch --parsable ./tool.sh")


TOOLS = {
    "snakemake": (like_snakemake, r"slurm_extra='([^']+)'"),
    "nextflow": (like_nextflow, r"clusterOptions = '([^']+)'"),
    "submitit": (like_submitit, None),
}


def tool_options(tool):
    [block] = of(USER, tool)
    if pattern := TOOLS[tool][1]:
        return re.search(pattern, block.text)[1]
    assert "slurm_use_srun=False" in block.text
    given = eval(re.search(r"slurm_additional_parameters=(\{.*?\})", block.text)[1])  # a literal
    return " ".join(f"--{k}" if v is True else f"--{k}={v}" for k, v in given.items())


@pytest.mark.parametrize("tool", TOOLS)
def test_tools(cluster, tool):
    stubs(cluster)
    text, command = TOOLS[tool][0](tool_options(tool), "./simulate x")
    cluster.script("tool.sh", text.removeprefix("#!/bin/bash\n"))
    job = Job(cluster, int(cluster.ctl(command).stdout), "user1", cluster.home())
    job.out = job.home / f"{job.number}.log"
    until("progress", lambda: "step 4" in job.text())
    job.preempt()
    assert job.finish() == ["COMPLETED"], job.text()
    assert job.text() == steps(MANY, "x")


def test_submitits_srun_is_not_protected(cluster):
    """Why the guide says slurm_use_srun=False."""
    done = cluster.run("n1", "srun -n1 --checkpoint --unbuffered true")
    assert "it runs on a terminal" in done.stderr


# ---- the admin's ---------------------------------------------------------------------------

def test_build(cluster):
    """As it stands, but for where it goes, in a copy; and what it needs is what Debian has."""
    [build], [packages] = of(ADMIN, "build"), of(ADMIN, "packages")
    names = packages.text.removeprefix("apt install ").split()
    assert len(names) > 5
    sh(COMMAND, "in-build", "dpkg", "-s", *names)
    done = sh(COMMAND, "in-build", "sh", "-ec", "flock /build cp -a /build /tmp/guide; cd /tmp/guide; "
              "make -s distclean; export DESTDIR=/tmp/there MAKEFLAGS=-sj2\n" + build.text +
              "find /tmp/there -name sckpt.so -o -name sckpt-agent -o -name sckpt.1", timeout=1800 * SLOW)
    assert len(done.stdout.split()[-3:]) == 3 and "sckpt.so" in done.stdout, done.stdout


def test_plugstack(cluster):
    [block] = of(ADMIN, "plugstack.conf")
    path = cluster.etc / "plugstack.conf"
    was = path.read_text()
    try:
        path.write_text(block.text)
        assert cluster.run("n1", "srun --checkpoint=required echo ran").stdout == "ran\n"
    finally:
        path.write_text(was)


def doctor_finds_nothing_wrong(cluster, block):
    """But for what is this cluster's: KillWait, say, which it warns of."""
    commands(cluster, block, None, user="root")


def test_admin_commands(cluster):
    plain = [b for b in of(ADMIN, "admin") if not b.words]
    assert len(plain) == 2
    doctor_finds_nothing_wrong(cluster, plain[0])


def test_store_and_metrics(cluster):
    confs = of(ADMIN, "sckpt.conf")
    assert len(confs) == 2
    cluster.conf("".join(b.text for b in confs))
    store = next(b for b in of(ADMIN, "admin") if "/shared/ckpt" in b.text)
    [metrics] = of(ADMIN, "admin", "nodes")
    try:
        commands(cluster, store, None, user="root")
        for node in cluster.nodes:
            commands(cluster, metrics, None, user="root", node=node)
        stubs(cluster)
        job = cluster.submit("./simulate", options="--requeue --checkpoint")
        until("progress", lambda: "step 4" in job.text())
        first = job.preempt()
        assert (cluster.shared / "ckpt" / "user1" / "test" / str(job.number)).is_dir()
        assert job.finish() == ["COMPLETED"] and job.text() == steps(MANY, "")\
            .replace(" of \n", " of\n")
        text = until("figures", lambda: cluster.run(
            first, "cat /var/lib/sckpt/metrics/sckpt.prom", check=False).stdout)
        # All that the guide's table names, with all values of reason.
        table = re.findall(r"`(sckpt_\w+)(?:\{[^`]*\})?`", (TOP / "doc/admin-guide.md").read_text())
        assert len(set(table)) >= 10
        for name in table:
            assert f"\n{name}" in text, name
        [prune] = of(ADMIN, "admin", "prune")
        commands(cluster, prune, None, user="root")
        assert set(re.findall(r"^(sckpt_\w+)", text, re.M)) == set(table)
        row = re.search(r"^\| `sckpt_checkpoints_total.*$", (TOP / "doc/admin-guide.md").read_text(), re.M)[0]
        assert set(re.findall(r'sckpt_checkpoints_total\{reason="(\w+)"', text)) == \
            set(re.findall(r"`(\w+)`", row)) - {"sckpt_checkpoints_total"}
        for block in [b for b in of(ADMIN, "user") if not b.words]:
            commands(cluster, block, None)
        assert "<html" in (cluster.home() / "report.html").read_text()
    finally:
        sh("rm", "-rf", cluster.shared / "ckpt")


def slurm_conf(cluster, block):
    """The cluster's, with the block's lines in the place of those with the same keys."""
    keys = {l.split("=")[0] for l in block.text.splitlines()}
    kept = [l for l in (cluster.etc / "slurm.conf").read_text().splitlines()
            if l.split("=")[0] not in keys]
    return "\n".join(kept) + "\n" + block.text


def test_slurm_conf_is_valid(cluster):
    """Slurm itself reads each; a word that it does not know is fatal there."""
    for block in of(ADMIN, "slurm.conf"):
        (cluster.etc / "guide.conf").write_text(slurm_conf(cluster, block))
        try:
            cluster.ctl("SLURM_CONF=/etc/slurm/guide.conf scontrol ping")
            (cluster.etc / "guide.conf").write_text(slurm_conf(cluster, block) + "PreemptMood=x\n")
            assert cluster.ctl("SLURM_CONF=/etc/slurm/guide.conf scontrol ping", check=False).returncode
        finally:
            (cluster.etc / "guide.conf").unlink()


def test_preemption_by_partition(cluster):
    [conf], [block] = of(ADMIN, "slurm.conf", "partition"), of(ADMIN, "user", "partition")
    path = cluster.etc / "slurm.conf"
    was = path.read_text()
    stubs(cluster)
    cluster.script("long.sh", script("long.sh").text.removeprefix("#!/bin/bash\n"))
    try:
        path.write_text(slurm_conf(cluster, conf))
        sh(COMMAND, "reconfigure")
        until("the partitions", lambda: cluster.ctl("sinfo -h -p spot -o %T").stdout == "idle\n")
        # All but one node is somebody else's, so that the second job needs the first one's.
        blocker = cluster.submit("--wrap", "sleep 300", options="-p urgent -w n2 --exclusive", user="user2")
        blocker.wait_running()
        spot, urgent = [l for l in block.text.splitlines() if l]
        job = Job(cluster, int(re.search(r"\d+", cluster.ctl(spot).stdout)[0]), "user1", cluster.home())
        until("progress", lambda: "step 4" in file(job, f"long-{job.number}.out"))
        until("the batch host", lambda: job.node == "n1")
        other = Job(cluster, int(re.search(r"\d+", cluster.ctl(urgent).stdout)[0]), "user1", cluster.home())
        until("the urgent one to run there", lambda: other.node == "n1")
        assert job.finish(180) == ["COMPLETED"]
        assert file(job, f"long-{job.number}.out") == steps(MANY, "--steps 1000000")
        assert "restored from checkpoint 1 on n1" in file(job, f"long-{job.number}.err")
        blocker.cancel()
    finally:
        cluster.ctl("scancel -p urgent; scancel -p spot", user="root", check=False)
        until("no job", lambda: not cluster.ctl("squeue -h").stdout)
        path.write_text(was)
        sh(COMMAND, "reconfigure")
        until("the partitions", lambda: cluster.ctl("sinfo -h -p low -o %T").stdout == "idle\n")


# ---- symptoms ------------------------------------------------------------------------------------

def sources():
    return "\n".join(p.read_text() for p in sorted((TOP / "plugin").rglob("*.c")))


def symptoms():
    text = (TOP / "doc/admin-guide.md").read_text().split("## When something is wrong")[1].split("## Upgrades")[0]
    rows = [l for l in text.splitlines() if l.startswith("| `")]
    assert len(rows) > 40 and all(l.count("|") == 4 for l in rows)
    return [w for row in rows for w in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_symptoms_are_what_is_printed():
    text = sources()
    assert [s for s in symptoms() if s not in text] == []


def literals(path, pattern):
    found = re.findall(pattern, (TOP / "plugin" / path).read_text(), re.S)
    assert found, path
    return found


def test_every_refusal_is_there():
    """All of criu's errors that have a sentence, all that this node or a tree can lack or have."""
    said = literals("step/explain.c", r'\n\t  "([^"]+)" \}')
    said += literals("base/node.c", r'HEALTH_FAIL, "\w+",\s+"([^"]+)"')
    said += literals("step/blockers.c", r'\{ "[^"]+", "([^"]+)",\s+"')
    said += literals("step/blockers.c", r'add\(\w+, [^,]+,\s+"([^"]+)"')
    said += literals("store/seal.c", r'err_set\(e, "([^"]*seal[^"]*)"')
    said += literals("step/room.c", r'return err_set\(e, "([^"]+)"')
    said += literals("step/needs.c", r'err_set\(e, "([^"]+)"')
    known = symptoms()
    # What is held stands in a table of its own, which was looked at above.
    said = [s for s in said if s != "holds %s (descriptor %s)" and "no memory" not in s]
    missing = [s for s in said if not any(k in s for k in known)]
    assert missing == []
