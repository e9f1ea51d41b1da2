# SPDX-License-Identifier: GPL-2.0-or-later
"""A batch job is preempted on one node and goes on on the other: same job id,
same PIDs, same result, its output whole and once."""
import re

import pytest

from conftest import MANY, until

SUBJECT = "/shared/subject"
# What criu cannot dump, or would bring back wrongly, without more privilege.
REFUSED = "inotify,sysvshm,semaphore"


def uninterrupted(cluster, command):
    """What the command prints when nothing happens to it."""
    return cluster.run("n2", f"touch quick; {command}").stdout


def test_shell_loop(cluster):
    script = cluster.script(
        "job.sh", f"exec {SUBJECT}/loop.sh {MANY} appended ids\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("^line 25 ")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    home = cluster.home()
    before, after = (home / "ids").read_text().splitlines()
    assert before == after
    appended = (home / "appended").read_text()
    (home / "appended").unlink()
    expected = uninterrupted(cluster, f"{SUBJECT}/loop.sh {MANY} appended ids2")
    assert job.text() == expected
    assert appended == (home / "appended").read_text()
    assert job.record()["restart_cnt"] == 1
    # Ended well: nothing is kept.
    assert not job.store().exists()


def test_python(cluster):
    script = cluster.script(
        "job.sh", f"exec python3 {SUBJECT}/numpy_work.py 60\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    job.wait_output("^unit 3 ")
    job.preempt()
    assert job.finish() == ["COMPLETED"]
    assert job.text() == uninterrupted(
        cluster, f"python3 {SUBJECT}/numpy_work.py 60")


def test_zeros(cluster):
    """Pages of zeros are left out, and are there again; those between that hold
    something (5 %, evenly spread) are right."""
    job = cluster.submit(
        "--wrap", f"exec {SUBJECT}/memory --mib 64 --content zeros --touch 5 --spread "
        "--go go", options="--requeue --checkpoint")
    job.wait_output("^ready$")
    job.preempt()
    pages = sum(i["size"] for i in job.manifest()["images"]
                if i["name"].startswith("pages-"))
    assert pages < 16 << 20, job.manifest()["images"]
    assert job.manifest()["resident_bytes"] > 64 << 20
    (cluster.home() / "go").touch()
    assert job.wait_end() == ["COMPLETED"], job.text()


def test_zoo(cluster):
    home = cluster.home()
    script = cluster.script(
        "job.sh",
        f"mkdir z && exec {SUBJECT}/zoo --state $PWD/z --without {REFUSED}\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    until("zoo", lambda: (home / "z" / "ready").exists())
    for _ in range(2):
        job.preempt()
    (home / "z" / "go").write_text("")
    end = job.wait_end()
    assert "FAILED" not in job.text()
    assert end == ["COMPLETED"], job.text()
    assert (home / "z/ids.before").read_text() == (home / "z/ids.after").read_text()
    names = cluster.run("n1", f"{SUBJECT}/zoo --list").stdout.split()
    expected = [f"{n}: ok" for n in names if n not in REFUSED.split(",")]
    # A file that is written in place is named at a checkpoint the program survives,
    # as in the moment between preemption and requeue.
    said = [l for l in job.text().splitlines() if not re.match(r"^sckpt: .* is written in place", l)]
    assert said == expected


@pytest.mark.parametrize(
    "exhibit, says",
    [("inotify", "inotify watch"), ("sysvshm", "System V shared memory"),
     ("semaphore", "an eventfd as a semaphore")])
def test_refused_by_name(cluster, exhibit, says):
    """What criu cannot dump unprivileged is named, and the program gets its
    SIGTERM as it would have without sckpt."""
    home = cluster.home()
    script = cluster.script(
        "job.sh", f"mkdir -p z && exec {SUBJECT}/zoo --state $PWD/z --only {exhibit}\n")
    job = cluster.submit(script, options="--requeue --checkpoint -e err")
    until("zoo", lambda: (home / "z" / "ready").exists())
    # Held, for the next run would empty the file.
    cluster.ctl(f"scontrol requeuehold {job.number}")
    text = until("the refusal", lambda: says in (home / "err").read_text()
                 and (home / "err").read_text())
    assert f"no checkpoint of step {job.number}.batch: zoo[1001]" in text
    assert job.generations() == []
    job.cancel()


def test_ten_hops(cluster):
    script = cluster.script(
        "job.sh", f"exec {SUBJECT}/loop.sh 3000 appended ids\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    nodes = []
    for _ in range(10):
        # It was stopped before it could say these.
        job.wait_output(f"^line {len(job.text().splitlines()) + 8} ")
        nodes.append(job.preempt())
    assert job.finish(300) == ["COMPLETED"]
    assert nodes == [nodes[0], nodes[1]] * 5 and nodes[0] != nodes[1]
    assert job.exit() == (0, 0)
    assert job.record()["restart_cnt"] == 10
    expected = uninterrupted(cluster, f"{SUBJECT}/loop.sh 3000 appended2 ids2")
    assert job.text() == expected
    before, after = (cluster.home() / "ids").read_text().splitlines()
    assert before == after


# A thread that is not the first forks a child and goes on living.
FORKS = """
import ctypes, os, select, struct, sys, threading, time
def child():
    if sys.argv[1] == 'inotify':
        libc = ctypes.CDLL(None)
        assert libc.inotify_add_watch(libc.inotify_init1(0), b'.', 2) >= 0
    # Fired and unread most of the time, and so at the dump.
    timer = os.timerfd_create(time.CLOCK_MONOTONIC)
    os.timerfd_settime(timer, initial=0.001, interval=0.001)
    while not os.path.exists('go'):
        time.sleep(0.05)
    os.read(timer, 8)
    ticks = select.select([timer], [], [], 5)[0]
    print('the timer', 'runs' if ticks else 'stands still', flush=True)
    os._exit(3)
def fork():
    pid = os.fork()
    if pid == 0:
        child()
    print('ready', flush=True)
    print('child ended with', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
t = threading.Thread(target=fork)
t.start()
t.join()
"""


def test_child_of_a_thread(cluster):
    """It is counted, and its timer, which criu leaves off, runs again."""
    (cluster.home() / "forks.py").write_text(FORKS)
    job = cluster.submit(cluster.script("job.sh", "exec python3 -W ignore forks.py timer\n"),
                         options="--requeue --checkpoint")
    job.wait_output("ready")
    seen = []
    job.preempt(hold=lambda: until("the dump", job.generations)
                and seen.append([p["name"] for p in job.manifest()["processes"]]))
    assert seen == [["sckpt-root", "python3", "python3"]]
    (cluster.home() / "go").write_text("")
    assert job.wait_end() == ["COMPLETED"]
    assert job.text().splitlines() == ["ready", "the timer runs", "child ended with 3"]


def test_child_of_a_thread_is_named(cluster):
    (cluster.home() / "forks.py").write_text(FORKS)
    job = cluster.submit(cluster.script("job.sh", "exec python3 -W ignore forks.py inotify\n"),
                         options="--requeue --checkpoint -e err")
    job.wait_output("ready")
    cluster.ctl(f"scontrol requeuehold {job.number}")
    err = cluster.home() / "err"
    until("the refusal", lambda: "inotify watch" in err.read_text())
    # Not the program (1001) but its child.
    assert "no checkpoint of step" in err.read_text()
    assert "python3[1001]" not in err.read_text()
    job.cancel()


def test_affinity_and_nice_are_the_nodes(cluster):
    """On the second node the job has another CPU than on the first, and runs
    where a fresh start there would; so with a higher nice value of slurmd."""
    see = ("grep Cpus_allowed_list /proc/self/status; "
           "echo nice $(ps -o ni= -p $$); ")
    other = cluster.submit("--wrap", "sleep 300", options="-w n2 -n1 -c1 -p high",
                           user="user2")
    other.wait_running()
    slurmd = cluster.run("n2", "cat /run/slurmd.pid", user="root").stdout.strip()
    before = cluster.run("n2", f"ps -o ni= -p {slurmd}", user="root").stdout.strip()
    script = cluster.script(
        "job.sh", f"{see} while [ ! -e go ]; do sleep 0.1; done; {see}\n")
    try:
        cluster.run("n2", f"renice -n {int(before) + 5} {slurmd}", user="root")
        # As slurmd has only one thread at times, each of them.
        cluster.run("n2", f"for t in /proc/{slurmd}/task/*; do "
                    f"renice -n {int(before) + 5} ${{t##*/}}; done", user="root")
        fresh = cluster.run("n2", f"srun -w n2 -n1 -c1 bash -c '{see}'").stdout
        job = cluster.submit(script, options="--requeue --checkpoint -n1 -c1 -w n1")
        job.wait_output("nice")
        first = job.text()
        job.vacate("n2")
        cluster.ctl(f"scontrol release {job.number}")
        until("n2", lambda: job.node == "n2")
        (cluster.home() / "go").write_text("")
        assert job.wait_end() == ["COMPLETED"]
    finally:
        cluster.run("n2", f"for t in /proc/{slurmd}/task/*; do "
                    f"renice -n {before} ${{t##*/}}; done", user="root")
    assert first != fresh
    assert job.text() == first + fresh
