# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that calls criu itself, with the capability that the step was given, as
Java VMs with CRaC do: its dumps and ours do not disturb each other."""
import re

from conftest import until
from test_faults import answer

COUNTER = """import os, time
i = 0
while True:
    i += 1
    open("count.new", "w").write(str(i))
    os.rename("count.new", "count")
    time.sleep(0.02)
"""
# hold.sh holds criu up while it has the child.
JOB = """setsid python3 counter.py >/dev/null 2>&1 </dev/null &
child=$!
for i in $(seq 100000); do
    echo line $i
    sleep 0.1
    if [ -e dump ]; then
        export HOLD=$(cat dump); rm dump; rm -rf img; mkdir img
        criu dump --unprivileged -t $child --leave-running -D img -o log --action-script $PWD/hold.sh
        echo own dump $?
    fi
    if [ -e restore ]; then
        rm restore; kill -9 $child; wait $child 2>/dev/null
        while [ -e /proc/$child ]; do sleep 0.01; done
        cp count before
        criu restore --unprivileged -D img -o log -d
        echo own restore $?
    fi
    [ ! -e end ] || exit 0
done
"""


class Program:
    def __init__(self, cluster):
        self.cluster, self.home = cluster, cluster.home()
        (self.home / "counter.py").write_text(COUNTER)
        cluster.script("hold.sh", '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ] || '
                       '{ cd ${0%/*}; : >held; eval "$HOLD"; }\n')
        self.job = cluster.submit(cluster.script("job.sh", JOB),
                                  options="--requeue --checkpoint -e err")
        self.job.wait_output("^line 5$")
        self.dumps = self.restores = 0

    def count(self):
        return int((self.home / "count").read_text())

    def begin(self, hold):
        for name in ("held", "asked"):
            (self.home / name).unlink(missing_ok=True)
        (self.home / "new").write_text(hold)
        (self.home / "new").rename(self.home / "dump")
        self.dumps += 1
        until("its criu to have the child", (self.home / "held").exists)

    def done(self):
        def said():
            return re.findall(r"^own (\w+) (\d+)$", self.job.text(), re.M)
        until("its criu to end", lambda: len(said()) == self.dumps + self.restores)
        assert all(rc == "0" for _, rc in said()), said()
        n = self.count()
        until("the child to go on", lambda: self.count() > n + 3)

    def dump(self):
        self.begin("true")
        self.done()

    def restore(self):
        """The child goes back to its own checkpoint, and on from there."""
        n = self.count()
        until("the child to go on", lambda: self.count() > n + 50)
        (self.home / "restore").touch()
        self.restores += 1
        until("its criu to begin", lambda: not (self.home / "restore").exists())
        self.done()
        assert self.count() < int((self.home / "before").read_text()) + 1000

    def end(self):
        (self.home / "end").touch()
        assert self.job.wait_end() == ["COMPLETED"]
        lines = [l for l in self.job.text().splitlines() if not l.startswith("own")]
        assert lines == [f"line {i}" for i in range(1, len(lines) + 1)]


def saved(cluster, job, name):
    node = job.node
    store = cluster.inside(job.store())
    cluster.run(node, f"umask 077; echo {name} >{store}/request")
    (cluster.home() / "asked").touch()
    cluster.ctl(f"scancel -s URG --batch {job.number}", user=job.user)
    return answer(cluster, job, name)


def test_before_and_after(cluster):
    p = Program(cluster)
    assert saved(cluster, p.job, "before") is None
    p.dump()
    assert saved(cluster, p.job, "between") is None
    p.restore()
    p.job.preempt()
    p.dump()
    p.restore()
    assert saved(cluster, p.job, "after") is None
    p.end()


# Its criu is at work more often than not.
BUSY = """setsid python3 counter.py >/dev/null 2>&1 </dev/null &
child=$!
mkdir -p img
n=0
until [ -e end ]; do
    criu dump --unprivileged -t $child --leave-running -D img -o log && n=$((n + 1))
    echo own dump $n
    sleep 0.01
done
"""


def test_again_and_again(cluster):
    """Ours meets it in the moment of freezing, or has it in the tree, and comes again."""
    (cluster.home() / "counter.py").write_text(COUNTER)
    job = cluster.submit(cluster.script("job.sh", BUSY), options="--requeue --checkpoint -e err")
    job.wait_output("^own dump 3$")
    for i in range(15):
        assert saved(cluster, job, f"n{i}") is None
    job.preempt()
    n = len(job.text().splitlines())
    until("it to go on", lambda: len(job.text().splitlines()) > n + 3)
    (cluster.home() / "end").touch()
    assert job.wait_end() == ["COMPLETED"]


def test_at_the_same_time(cluster):
    p = Program(cluster)
    # Until its supervisor has taken the order: of then the agent waits for some seconds.
    p.begin("until [ -e asked ]; do sleep 0.1; done; "
            "while [ -e .sckpt/test/$SLURM_JOB_ID/batch/request ]; do sleep 0.02; done")
    assert saved(cluster, p.job, "waits") is None
    p.done()
    p.begin("until [ -e refused ]; do sleep 0.1; done")
    why = saved(cluster, p.job, "refused")
    assert re.fullmatch(r"the program's own criu \(process \d+, criu dump\) is at work, and two cannot "
                        "have the same processes at once: try again when it has ended", why)
    (cluster.home() / "refused").touch()
    p.done()
    p.begin("sleep 1.5")
    p.job.preempt()
    p.done()
    p.restore()
    p.end()
