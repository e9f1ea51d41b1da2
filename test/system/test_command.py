# SPDX-License-Identifier: GPL-2.0-or-later
"""The command sckpt, every subcommand, on good ids and bad ones."""
import json
import os
import re
import shlex

import pytest

from conftest import MANY, PACE, Job, until

SUBJECT = "/shared/subject"
OK, FAILED, USAGE, NOT_FOUND, DAMAGED, TIMED_OUT = range(6)


def sckpt(cluster, *words, rc=OK, user="user1", node="ctl"):
    """Runs it; its exit status must be rc, and a failure must have its reason."""
    done = cluster.run(node, shlex.join(["sckpt", *map(str, words)]), user=user, check=False)
    assert done.returncode == rc, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    if rc:
        assert done.stderr.startswith("sckpt: "), done.stderr
    return done


def said(cluster, *words, **kw):
    return json.loads(sckpt(cluster, *words, "--json", **kw).stdout)


def restarted(cluster, name):
    """The new job."""
    text = sckpt(cluster, "restart", name).stdout
    return Job(cluster, int(re.search(r"Submitted batch job (\d+)", text)[1]), "user1", cluster.home())


def start(cluster, lines=3000, options="", user="user1"):
    script = cluster.script("job.sh", f"exec {SUBJECT}/loop.sh {lines} appended ids\n",
                            user=user)
    job = cluster.submit(script, options=f"--requeue --checkpoint {options}", user=user)
    job.wait_output("^line 5 ")
    return job


@pytest.fixture
def job(cluster):
    return start(cluster)


def ended(cluster, job, copies=1):
    """The job has checkpoints, and has ended without removing them."""
    for _ in range(copies):
        sckpt(cluster, "create", job.number)
    job.cancel()
    job.wait_end()


def test_create_list_show(cluster, job):
    (first,) = said(cluster, "create", job.number)
    manifest = job.manifest()
    for key in ("generation", "frozen_us", "dump_us", "stored_bytes", "resident_bytes",
                "image_bytes", "job", "step"):
        assert first[key] == manifest[key], key
    assert first["generation"] == 1 and first["frozen_us"] > 0
    text = sckpt(cluster, "create", f"{job.number}.batch").stdout
    assert re.fullmatch(
        rf"step {job.number}\.batch: generation 2 on \S+: \S+ \S+ stored of \S+ \S+ resident, "
        r"frozen for \S+ m?s, durable after \S+ m?s\n", text), text
    assert job.state == ["RUNNING"]
    listed = said(cluster, "list")
    assert [(x["id"], x["job_state"]) for x in listed] == [
        (f"{job.number}.batch:1", "RUNNING"), (f"{job.number}.batch:2", "RUNNING")]
    assert said(cluster, "list", f"{job.number}.batch:2") == listed[1:]
    table = sckpt(cluster, "list").stdout
    assert "\033" not in table
    assert [line.split()[0] for line in table.splitlines()] == [
        "ID", f"{job.number}.batch:1", f"{job.number}.batch:2"]

    shown = said(cluster, "show", job.number)
    assert shown["sealed"] and shown["generation"] == 2
    tree = {p["pid"]: p for p in shown["processes"]}
    assert tree[1001]["parent"] == 1000 and "loop.sh" in tree[1001]["command"]
    people = sckpt(cluster, "show", f"{job.number}:1").stdout
    for word in ("1000", "1001", "loop.sh", "open: /home/user1/slurm-", "generation   1,"):
        assert word in people, word
    # Without slurmctld's answer everything but the state is known.
    alone = cluster.run("n1", f"SLURM_CONF=/nowhere sckpt list {job.number}", check=False)
    assert alone.returncode == OK and alone.stdout.count("unknown") == 2
    assert "states are not known" in alone.stderr


def test_create_refused(cluster):
    plain = cluster.submit("--wrap", "sleep 300", options="--requeue")
    plain.wait_running()
    assert "no protected step" in sckpt(cluster, "create", plain.number, rc=NOT_FOUND).stderr
    assert "belongs to user id" in sckpt(
        cluster, "create", plain.number, rc=FAILED, user="user2").stderr
    waiting = cluster.submit("--wrap", "sleep 300", options="--hold --checkpoint")
    assert "is PENDING" in sckpt(cluster, "create", waiting.number, rc=FAILED).stderr
    sckpt(cluster, "create", 999999, rc=NOT_FOUND)
    sckpt(cluster, "create", f"{plain.number}_3", rc=NOT_FOUND)
    sckpt(cluster, "create", f"{plain.number}:1", rc=USAGE)
    sckpt(cluster, "vacate", f"{plain.number}.batch", rc=USAGE)
    # A program that cannot be dumped runs on, and the reason is told.
    script = cluster.script("job.sh", "exec python3 -c 'import ctypes,time;"
                            "c=ctypes.CDLL(None);c.inotify_add_watch(c.inotify_init(),b\"/tmp\",2);print(\"up\",flush=True);"
                            "time.sleep(300)'\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("^up$")
    refused = sckpt(cluster, "create", job.number, rc=FAILED)
    assert "inotify" in refused.stderr and "runs on" in refused.stderr
    assert not (job.store() / "request").exists()
    assert job.state == ["RUNNING"]


def test_create_unanswered(cluster, job):
    """A step whose supervisor does not read signals: told, and the request is
    taken away again."""
    node = job.wait_running()
    pid = cluster.run(node, "ps -o pid= -C sckpt-supervise", user="root").stdout.strip()
    cluster.run(node, f"kill -STOP {pid}", user="root")
    late = sckpt(cluster, "create", job.number, "--timeout", "3s", rc=TIMED_OUT)
    assert "does not take the request" in late.stderr
    assert not (job.store() / "request").exists()
    cluster.run(node, f"kill -CONT {pid}", user="root")
    sckpt(cluster, "create", job.number)
    assert job.generations() == [1]


def test_array_and_steps(cluster):
    script = cluster.script("job.sh", "srun --checkpoint sleep 300\n")
    array = cluster.submit(script, options="--requeue --array=4 --checkpoint=off")
    until("its step", lambda: cluster.ctl(
        f"squeue -h -s -j {array.number} -o %i").stdout.strip())
    name = f"{array.number}_4"
    until("the step's store", array.store("0").exists)
    (made,) = said(cluster, "create", f"{name}.0")
    assert made["step"] == "0"
    assert sckpt(cluster, "show", f"{name}.0").stdout.startswith("job ")
    assert "_4" in sckpt(cluster, "create", f"{name}.batch", rc=NOT_FOUND).stderr
    sckpt(cluster, "show", f"{array.number}_5", rc=NOT_FOUND)


def test_vacate(cluster):
    """The job saves, leaves, and ends as if nothing had been."""
    job = start(cluster, MANY)
    sckpt(cluster, "vacate", job.number)
    assert job.record()["restart_cnt"] == 1
    assert job.finish() == ["COMPLETED"]
    lines = re.findall(r"^line (\d+) ", job.text(), re.M)
    assert lines == [str(i) for i in range(1, MANY + 1)]
    # One that may not be requeued is not stopped.
    job = start(cluster, options="--no-requeue")
    assert "may not be requeued" in sckpt(cluster, "vacate", job.number, rc=FAILED).stderr
    assert job.state == ["RUNNING"] and job.generations() == []


@pytest.fixture
def array(cluster):
    """Two tasks that run: the number of the array, and the task that has it as its own."""
    script = cluster.script("job.sh", "#SBATCH --array=1-2\n"
                            "for i in $(seq 3000); do echo line $i of many; sleep 0.1; done\n")
    job = cluster.submit(script, options="--requeue --checkpoint -n1 -c1 --mem=100 -o out%a")
    for i in (1, 2):
        out = cluster.home() / f"out{i}"
        until("output", lambda: out.exists() and "line 5 " in out.read_text())
    own = tasks(cluster, job)
    (task,) = [k for k, (number, _, _) in own.items() if int(number) == job.number]
    return job, task


def tasks(cluster, job):
    rows = cluster.ctl(f"squeue -h -r -t all -j {job.number} -O JobID,ArrayTaskID,State,RestartCnt").stdout
    return {int(task): (number, state, restarts)
            for number, task, state, restarts in map(str.split, rows.splitlines())}


def test_vacate_array_task(cluster, array):
    """The one that has the array's number is meant alone, by either of its names."""
    job, task = array
    sckpt(cluster, "create", job.number)
    assert job.generations() == [1]
    sckpt(cluster, "vacate", f"{job.number}_{task}")
    until("the requeue", lambda: tasks(cluster, job)[task][2] == "1")
    assert tasks(cluster, job)[3 - task][1:] == ("RUNNING", "0")
    assert job.generations()[-1] >= 2


def test_array_task_is_held(cluster):
    """What its owner is told to do is about that task alone."""
    script = cluster.script("job.sh", "true\n")
    lost = cluster.submit(script, options="--requeue --checkpoint=restart=1234.batch:1 --array=7 -o out")
    until("the job to be held", lambda: lost.record()["hold"])
    until("what to do", lambda: f"scontrol release {lost.number}_7; otherwise: scancel {lost.number}_7"
          in (cluster.home() / "out").read_text())


def test_verify(cluster, job):
    sckpt(cluster, "create", job.number)
    ended(cluster, job)
    assert sckpt(cluster, "verify", "--all").stdout == "".join(
        f"{job.number}.batch:{g}: good\n" for g in (2, 1))
    sckpt(cluster, "verify", rc=USAGE)
    sckpt(cluster, "verify", 999999, rc=NOT_FOUND)
    store = job.store()
    for path in sorted(store.iterdir()):
        if path.name.startswith(("claim", "events", "script", "status", "submit")):
            continue
        whole = path.read_bytes()
        for damage in ("flip", "cut", "gone", "link"):
            if damage == "flip":
                if path.name.startswith("output"):
                    continue  # is not sealed: it is not the program
                path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 4]))
            elif damage == "cut":
                path.write_bytes(whole[:len(whole) // 2])
            elif damage == "gone" and path.suffix == ".json":
                continue  # then there is no such generation
            else:
                path.unlink()
            if damage == "link":
                path.symlink_to("/etc/passwd")
            bad = sckpt(cluster, "verify", job.number, "--all", rc=DAMAGED)
            assert "damaged" in bad.stdout, (path.name, damage)
            number = path.name.split("-")[0] if "-" in path.name else ""
            assert f"{number}" in bad.stderr
            if path.suffix in (".pack", ".meta"):
                assert path.name in bad.stderr, (path.name, damage, bad.stderr)
            # list and show survive it.
            for what in (("list",), ("show", job.number)):
                done = cluster.ctl(shlex.join(["sckpt", *map(str, what)]), check=False)
                assert done.returncode in (OK, FAILED, NOT_FOUND), done.stderr
            path.unlink(missing_ok=True)
            path.write_bytes(whole)
            os.chown(path, 1001, 1001)
            path.chmod(0o600)
    faults = said(cluster, "verify", job.number, "--all")
    assert [f["good"] for f in faults] == [True, True]


def test_newer_format(cluster, job):
    ended(cluster, job)
    (manifest,) = job.store().glob("*-*.json")
    manifest.write_text(re.sub(r'"format": *\d+', '"format": 99', manifest.read_text()))
    for words, rc in ((("list",), FAILED), (("show", job.number), FAILED),
                      (("verify", job.number), DAMAGED),
                      (("export", job.number, "x"), DAMAGED)):
        done = sckpt(cluster, *words, rc=rc)
        assert re.search("format 99|changed after it was sealed", done.stderr), done.stderr
    sckpt(cluster, "remove", job.number)
    assert not job.store().exists()


def test_remove_and_prune(cluster, job):
    for _ in range(2):
        sckpt(cluster, "create", job.number)
    assert "--force" in sckpt(cluster, "remove", job.number, rc=FAILED).stderr
    assert "--force" in sckpt(cluster, "remove", f"{job.number}:2", rc=FAILED).stderr
    sckpt(cluster, "remove", f"{job.number}:7", rc=NOT_FOUND)
    sckpt(cluster, "remove", f"{job.number}:1", "--dry-run")
    assert job.generations() == [1, 2]
    sckpt(cluster, "remove", f"{job.number}:1")
    assert job.generations() == [2]
    sckpt(cluster, "verify", job.number)
    sckpt(cluster, "prune", "--older-than", "0")
    assert job.generations() == [2]
    sckpt(cluster, "remove", job.number, "--force")
    assert job.generations() == []
    # The running step does not mind.
    ended(cluster, job, 2)
    assert len(job.generations()) == 2
    assert sckpt(cluster, "prune").stdout == ""
    dry = said(cluster, "prune", "--older-than", "0s", "--dry-run")
    assert dry == [f"{job.number}.batch"] and len(job.generations()) == 2
    offline = cluster.run("n1", "SLURM_CONF=/nowhere sckpt prune --older-than 0", check=False)
    assert offline.returncode == FAILED and "nothing is removed" in offline.stderr
    sckpt(cluster, "prune", "--older-than", "0s")
    assert not job.store().exists()
    assert said(cluster, "list") == []


RESTORE = """
set -e
mkdir -p "$XDG_RUNTIME_DIR"
echo 20000 >/proc/sys/kernel/ns_last_pid
exec 7>>{out}
criu restore --unprivileged --no-default-config --images-dir={images} --log-file=restore.log -v4 \
 --file-locks --ghost-limit=1048576G --manage-cgroups=ignore --restore-detached \
 --inherit-fd 'fd[7]:{stdout}' --inherit-fd 'fd[0]:{stdin}' </dev/null || {{ grep Error {images}/restore.log; exit 1; }}
for i in $(seq 100); do grep -q 'line 30 ' {out} && break; sleep 0.2; done
ps -o pid=,args= -p 1000,1001
"""


def test_export_import(cluster, job):
    node = job.wait_running()
    sckpt(cluster, "create", job.number)
    before = job.manifest()
    images = "/shared/home/user1/images"
    sckpt(cluster, "export", job.number, images)
    sckpt(cluster, "export", job.number, images, rc=FAILED)  # not empty any more
    sckpt(cluster, "export", f"{job.number}:9", images + "2", rc=NOT_FOUND)
    out = cluster.home() / "images"
    assert out.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in out.iterdir()} == {0o600}
    names = {i["name"]: i["size"] for i in before["images"]}
    assert {n: (out / n).stat().st_size for n in names} == names
    # criu itself restores it, in a namespace of its own, unprivileged.
    script = cluster.home() / "restore.sh"
    script.write_text(RESTORE.format(
        out="/home/user1/restored", images=images,
        stdout=before["streams"][1]["key"], stdin=before["streams"][0]["key"]))
    done = cluster.run(
        node, "unshare --pid --mount --mount-proc --fork --kill-child setpriv --reuid user1 "
        "--regid user1 --init-groups --inh-caps=-all,+checkpoint_restore "
        "--ambient-caps=-all,+checkpoint_restore env XDG_RUNTIME_DIR=/tmp/x "
        "bash /home/user1/restore.sh", user="root", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"1000 .*sckpt-root", done.stdout), done.stdout
    assert re.search(r"1001 .*loop.sh", done.stdout), done.stdout
    # And CRIU's own tool for looking into images reads every one of them.
    seen = cluster.run(node, f"crit x {images} ps").stdout
    assert re.search(r"1000 +1000 +1000 +sckpt-root\n +1001 .* loop.sh\n", seen), seen
    # This one stops at a process that has ended and was not waited for: that has no memory.
    assert "/usr/bin/bash" in cluster.run(node, f"crit x {images} mems", check=False).stdout
    tree = json.loads(cluster.run(node, f"crit show {images}/pstree.img").stdout)
    parents = {e["pid"]: e["ppid"] for e in tree["entries"]}
    assert parents[1000] == 0 and parents[1001] == 1000
    program = ("import pycriu, sys\nfor p in sys.argv[1:]:\n"
               "    assert pycriu.images.load(open(p, 'rb'))['magic'], p\n    print(p)\n")
    (cluster.home() / "load.py").write_text(program)
    loaded = cluster.run(node, f"python3 load.py $(ls {images}/*.img | grep -v /pages-)").stdout
    assert {p.split("/")[-1] for p in loaded.split()} == {
        n for n in names if not n.startswith("pages-")}

    assert "has not ended" in sckpt(cluster, "import", images, rc=FAILED).stderr
    job.cancel()
    job.wait_end()
    sckpt(cluster, "remove", job.number)
    assert sckpt(cluster, "import", images).stdout == f"imported {job.number}.batch:1\n"
    after = job.manifest()
    for key in ("job", "step", "command", "processes", "streams", "time", "resident_bytes"):
        assert after[key] == before[key], key
    sckpt(cluster, "verify", job.number)
    sckpt(cluster, "export", job.number, images + "3")
    for name in names:
        assert (out / name).read_bytes() == (cluster.home() / "images3" / name).read_bytes()
    # Damaged or foreign directories are refused, and leave nothing behind.
    (out / "pstree.img").write_bytes(b"x" * names["pstree.img"])
    assert "not what was exported" in sckpt(cluster, "import", images, rc=FAILED).stderr
    (out / "pstree.img").unlink()
    sckpt(cluster, "import", images, rc=FAILED)
    (out / "sckpt.json").unlink()
    sckpt(cluster, "import", images, rc=DAMAGED)
    sckpt(cluster, "import", images + "9", rc=NOT_FOUND)
    assert job.generations() == [1]
    sckpt(cluster, "verify", job.number, "--all")


def test_others_and_root(cluster, job):
    sckpt(cluster, "create", job.number)
    store = "/home/user1/.sckpt"
    for words in (("show", job.number), ("verify", job.number), ("remove", job.number),
                  ("export", job.number, "x")):
        sckpt(cluster, *words, rc=NOT_FOUND, user="user2")
    assert said(cluster, "list", user="user2") == []
    for words in (("list",), ("show", job.number), ("remove", job.number)):
        sckpt(cluster, *words, "--dir", store, rc=FAILED, user="user2")
        assert "only root" in sckpt(
            cluster, *words, "--user", "user1", rc=FAILED, user="user2").stderr
    assert "--user" in sckpt(cluster, "list", rc=FAILED, user="root").stderr
    sckpt(cluster, "list", "--user", "nobody-here", rc=FAILED, user="root")
    (seen,) = said(cluster, "list", "--user", "user1", user="root")
    assert seen["job"] == job.number
    # As that user: what is made is theirs.
    sckpt(cluster, "export", job.number, "/tmp/by-root", "--user", "user1", user="root",
          node="n1")
    owners = cluster.run("n1", "stat -c %U /tmp/by-root /tmp/by-root/*; rm -r /tmp/by-root")
    assert set(owners.stdout.split()) == {"user1"}
    # A store that is a trap: links are not followed.
    cluster.run("n1", f"mkdir -p ~/.sckpt/test && chmod 700 ~/.sckpt ~/.sckpt/test && "
                f"ln -s {store}/test/{job.number} ~/.sckpt/test/77", user="user2")
    assert said(cluster, "list", "--user", "user2", user="root") == []


def test_restart(cluster):
    """A new job, on another node, goes on in the middle of the old one's script."""
    script = cluster.script(
        "job.sh", f"for i in $(seq {MANY}); do echo line $i; {PACE}; done\n"
        "echo \"second $1 $2 $$\"\nsleep 3\necho third\n")
    options = "--requeue --checkpoint -w n1 -J slow --time=7 --mem=100 -n1 -c1"
    old = cluster.submit(script, "a", "b", options=options)
    old.wait_output("^line 10$")
    assert "has not ended" not in sckpt(
        cluster, "restart", old.number, rc=NOT_FOUND).stderr  # nothing to restart from yet
    sckpt(cluster, "create", old.number)
    assert "run twice" in sckpt(cluster, "restart", old.number, rc=FAILED).stderr
    old.cancel()
    old.wait_end()
    name = f"{old.number}.batch:1"
    argv = said(cluster, "restart", name, "--print")
    for word in (f"--checkpoint=restart={name}", "--job-name=slow", "--time=7", "--mem=100",
                 "--cpus-per-task=1", "--requeue"):
        assert word in argv, argv
    assert shlex.split(sckpt(cluster, "restart", old.number, "--print").stdout) == argv
    new = restarted(cluster, name)
    new.wait_output("^line 20$")
    (entry,) = [x for x in said(cluster, "list") if x["job"] == new.number]
    assert entry["generation"] == 1
    # It is a job like any other: it is preempted, and goes on with its own.
    sckpt(cluster, "verify", new.number)
    sckpt(cluster, "remove", old.number, "--force")
    sckpt(cluster, "vacate", new.number)
    assert new.finish() == ["COMPLETED"]
    lines = new.text().splitlines()
    assert lines == [f"line {i}" for i in range(1, MANY + 1)] + ["second a b 1001", "third"]
    # What cannot be restored is held, not started afresh.
    script = cluster.script("job.sh", "echo from the beginning\n")
    lost = cluster.submit(script, options=f"--requeue --checkpoint=restart={name}")
    until("the job to be held", lambda: lost.record()["hold"])
    assert f"there is no checkpoint of {name}" in lost.text()
    assert "from the beginning" not in lost.text()
    # Nor is another's taken.
    assert "restart=1234" in cluster.ctl(
        "sbatch --checkpoint=restart=x --wrap true", check=False).stderr


def test_restart_array_task(cluster, array):
    """One task, with its number, though the script says how many there are to be."""
    old, task = array
    sckpt(cluster, "create", f"{old.number}_{task}")
    old.cancel()
    until("the array's end", lambda: not cluster.ctl(f"squeue -h -j {old.number}").stdout)
    new = restarted(cluster, f"{old.number}_{task}")
    new.wait_running()
    assert list(tasks(cluster, new)) == [task]
    out = cluster.home() / f"slurm-{new.number}_{task}.out"
    until("output", lambda: out.exists() and len(out.read_text().splitlines()) > 20)
    lines = re.findall(r"^line (\d+) ", out.read_text(), re.M)
    assert lines == [str(i) for i in range(1, len(lines) + 1)]


def test_restart_leaves_the_directory_to_the_script(cluster):
    """What it says by --chdir; and sbatch's own is the old one's."""
    cluster.run("n1", "mkdir here there")
    cluster.script("here/job.sh", "#SBATCH --chdir=/home/user1/there\n"
                   "for i in $(seq 3000); do echo $i; sleep 0.1; done\n")
    old = Job(cluster, int(cluster.ctl("cd here; sbatch --parsable --requeue --checkpoint job.sh").stdout),
              "user1", cluster.home())
    out = cluster.home() / f"there/slurm-{old.number}.out"
    until("output", lambda: out.exists() and out.read_text())
    sckpt(cluster, "create", old.number)
    old.cancel()
    old.wait_end()
    printed = sckpt(cluster, "restart", old.number, "--print").stdout
    assert printed.startswith("/usr/bin/env --chdir=/home/user1/here /usr/bin/sbatch "), printed
    for command in (printed, f"sckpt restart {old.number}"):
        number = int(cluster.ctl(command).stdout.split()[-1])
        about = cluster.ctl(f"scontrol show job {number}; scancel {number}").stdout
        assert "WorkDir=/home/user1/there\n" in about


def test_hidden_partition(cluster):
    """Slurm does not show jobs there unless it is told to: they have not gone."""
    script = cluster.script("job.sh", "srun --checkpoint sleep 300\n")
    try:
        cluster.ctl("scontrol update PartitionName=low Hidden=YES", user="root")
        job = cluster.submit(script, options="--requeue")
        until("the step's store", job.store("0").exists)
        sckpt(cluster, "create", job.number)
        assert [x["job_state"] for x in said(cluster, "list")] == ["RUNNING"]
        assert "would go on from" in sckpt(cluster, "remove", job.number, rc=FAILED).stderr
    finally:
        cluster.ctl("scontrol update PartitionName=low Hidden=NO", user="root")


def test_variables_of_slurms_commands(cluster, job):
    """They are for what people type."""
    own = ("export SQUEUE_PARTITION=high SQUEUE_NAMES=none SQUEUE_STATES=PD SCANCEL_INTERACTIVE=true "
           "SCANCEL_PARTITION=high SCANCEL_STATE=PENDING; ")
    cluster.ctl(f"{own} timeout 30 sckpt create {job.number}")
    assert [x["job_state"] for x in json.loads(cluster.ctl(f"{own} sckpt list --json").stdout)] == ["RUNNING"]


def test_usage(cluster):
    helped = sckpt(cluster, "--help").stdout
    for name in ("list", "show", "verify", "create", "vacate", "remove", "prune", "export",
                 "import", "restart"):
        assert re.search(rf"^  {name} ", helped, re.M)
        assert f"usage: sckpt {name}" in sckpt(cluster, name, "--help").stdout
    assert "nearest is create" in sckpt(cluster, "crate", rc=USAGE).stderr
    assert "nearest option is --json" in sckpt(cluster, "list", "--jsno", rc=USAGE).stderr
    for words in (("show",), ("show", "1", "2"), ("show", "x"), ("list", "../1"),
                  ("create", "1", "--timeout", "soon"), ("prune", "--older-than", "x"),
                  ("list", "--force")):
        sckpt(cluster, *words, rc=USAGE)
    # An empty store is no error; a bad configuration is, with its line.
    assert said(cluster, "list") == []
    sckpt(cluster, "show", "1", rc=NOT_FOUND)
    sckpt(cluster, "prune")
    cluster.conf("dri=/x\n")
    assert "line 1" in sckpt(cluster, "list", rc=FAILED).stderr


def test_numbered_store(cluster):
    """dir= with %j is a store for each job; all are looked through."""
    cluster.run("n1", "rm -rf /shared/jobs; mkdir -m 1777 /shared/jobs", user="root")
    cluster.conf("dir=/shared/jobs/%u-%j\n")
    job = start(cluster)
    sckpt(cluster, "create", job.number)
    assert [x["job"] for x in said(cluster, "list")] == [job.number]
    sckpt(cluster, "verify", job.number)
    assert said(cluster, "list", user="user2") == []
