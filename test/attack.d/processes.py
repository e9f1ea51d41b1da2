# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes: of the step, of slurmstepd's, of criu's, of others."""
import subprocess

from attack import ELEVATED, INSIDE, MARK, attack, must_not
from broker import restart, watched
from cluster import COMMAND, Job, until

NODE = "n1"
STAGES = "slurmstepd sckpt-agent criu sckpt-root sckpt-client"


def beside(c, user, program, node=NODE):
    return subprocess.Popen([COMMAND, "run", node, "--user", user, "--", "bash", "-c", program],
                            stdout=subprocess.PIPE, text=True)


def all_stages(c, rounds=2, program="srun -n1 sleep 100 & sleep 100 & wait", ready=None):
    """A script with a srun step, several tasks and checkpoints: started, dumped, rehearsed,
    requeued, restored and ended."""
    script = c.script("stages.sh", program + "\n")
    for _ in range(rounds):
        job = c.submit(script, options=f"--requeue --checkpoint=every=1s -w {NODE}")
        tasks = subprocess.Popen([COMMAND, "run", NODE, "--user", "user1", "--", "srun", "-n2", "-w", NODE,
                                  "--oversubscribe", "--overlap", "--checkpoint", "sleep", "2"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        job.wait_running()
        if ready:
            job.wait_output(ready)
        until("a checkpoint", job.generations)
        c.run(NODE, f"sckpt check {job.number}", check=False)
        c.ctl(f"scontrol requeue {job.number}")
        until("the restore", lambda: c.restored(job.number))
        until("a second one", lambda: job.generations()[-1] > 2)
        job.cancel()
        tasks.wait()
        job.wait_end()


def elevated_stages(c, word):
    """The same by the broker."""
    program, ready, _ = ELEVATED[word]
    c.conf(f"elevate={word}\noverhead=100\n")
    all_stages(c, 1, f"{program} & srun -n1 sleep 100 & wait".replace("exec ", ""), ready)


def probing(c, user, program, stages=all_stages):
    probe = beside(c, user, program)
    stages(c)
    # It works as long as it is told to.
    out = probe.communicate()[0].splitlines()
    tried = [x for x in out if x.startswith("tried")]
    assert tried, out
    had = [x for x in out if x.startswith("had")]
    must_not(had, "; ".join(had))
    return tried[0]


@attack("user2 on the node: ptrace, mem, process_vm_writev, pidfd_getfd, signals, at every stage of user1's steps")
def from_another_user(c):
    said = probing(c, "user2", f"python3 {INSIDE}/probe.py 25")
    assert all(f" {n}" in said for n in ("slurmstepd", "sckpt-agent", "criu", "sckpt-supervise")), said
    return f"the kernel: another user's ({said[:150]})"


@attack("the same, with elevate=")
def from_another_user_elevated(c):
    said = {}
    for word in ELEVATED:
        said[word] = probing(c, "user2", f"python3 {INSIDE}/probe.py 25", lambda c: elevated_stages(c, word))  # noqa: B023
        assert all(f" {n}" in said[word] for n in ("sckpt-broker", "sckpt-agent", "criu")), said
    return f"the kernel: another user's, or root's ({said})"


@attack("user1's unprotected step beside it: the same on all that have a capability")
def from_beside(c):
    said = probing(c, "user1", f"srun -n1 -w {NODE} --overlap --oversubscribe --checkpoint=off python3 {INSIDE}/probe.py 25")
    assert all(f" {n}" in said for n in ("slurmstepd", "sckpt-agent", "criu")), said
    return f"the kernel: they have more capabilities ({said[:150]})"


@attack("user1's protected step: the same on all that have more than it, and on others'")
def from_inside(c):
    c.submit("--wrap", "sleep 60", options=f"-w {NODE}", user="user2").wait_running()
    said = c.run(NODE, f"srun -n1 -w {NODE} --overlap --oversubscribe --checkpoint python3 {INSIDE}/probe.py 3").stdout
    must_not("had" in said, said)
    # Not behind the PID namespace either.
    for word in ("step", "agent"):
        out = c.run(NODE, f"srun -n1 -w {NODE} --checkpoint=grant={word} /shared/subject/captest", check=False)
        must_not(out.returncode, out.stdout)
    return "nobody is there to be seen, and captest gains nothing"


@attack("all capability sets of all of user1's processes, at every stage, of script, step and tasks, also after restores")
def capability_sets(c):
    samplers = [beside(c, "root", f"python3 {INSIDE}/sampler.py 25 1001", node) for node in c.nodes]
    all_stages(c)
    kinds = set()
    for s in samplers:
        out = s.communicate()[0].splitlines()
        more = [x for x in out if x.startswith("MORE")]
        must_not(more, "; ".join(more))
        kinds |= {tuple(x.split(None, 3)[1:3]) for x in out if x.startswith("sets")}
    names = {k[0] for k in kinds}
    assert {"sckpt-agent", "criu", "sckpt-supervise", "sckpt-root", "sleep", "the-real-srun"} <= names, names
    bare = {n for n, had in kinds if had != "0"}
    must_not({"sckpt-supervise", "sckpt-task", "sckpt-join", "scontrol", "squeue", "the-real-srun"} & bare, bare)
    return f"none has more than CAP_CHECKPOINT_RESTORE but slurmstepd's own, which nobody can trace; those with it: {', '.join(sorted(bare))}"


@attack("the same with elevate=: what criu restores has more when it is gone, or anything else has")
def capability_sets_elevated(c):
    had = {}
    for word, (program, ready, caps) in ELEVATED.items():
        kinds, rounds = set(), 0
        # It has to be seen at work, dumping and restoring, and a look may miss that.
        while ("criu", f"{1 << 40 | caps | MARK:x}") not in kinds:
            assert (rounds := rounds + 1) <= 4, kinds
            with watched(c, "sampler.py", "1001", f"{caps | MARK:x}") as lines:
                elevated_stages(c, word)
                job = c.saved("user1", wrap=program, ready=ready)
                # An ended connection keeps its port for a minute, and that is waited for.
                for _ in range(1 if word == "tcp" else 8):
                    new = Job(c, restart(c, job), "user1", c.home())
                    until("the restore", lambda: c.restored(new.number), 150)  # noqa: B023
                    new.cancel()
                    new.wait_end()
            more = [x for x in lines if x.startswith("MORE")]
            must_not(more, "; ".join(more))
            kinds |= {tuple(x.split(None, 3)[1:3]) for x in lines if x.startswith("sets")}
        had[word] = sorted(" ".join(k) for k in kinds if int(k[1], 16) & ~(1 << 40) and k[0] != "slurmstepd")
    return f"only criu and what it restores, as long as it is there: {had}"


@attack("capset, ambient, securebits, keepcaps, set-user-id programs and user namespaces, after a restore")
def after_restore(c):
    c.run(NODE, "cp /bin/cat /shared/setuid-cat && chmod 4755 /shared/setuid-cat", user="root")
    # Where the bounding set is not full criu could not restore it otherwise.
    last, bound = c.run(NODE, "cat /proc/sys/kernel/cap_last_cap; sed -n 's/^CapBnd:.//p' /proc/$(pgrep -x slurmd | head -1)/status",
                        user="root").stdout.split()
    word = "" if int(bound, 16) == (2 << int(last)) - 1 else "-n"
    script = c.script("job.sh", "echo ready; until [ -e go ]; do sleep 0.2; done; "
                      f"exec /shared/subject/captest {word} /shared/setuid-cat\n")
    job = c.submit(script, options="--requeue --checkpoint")
    job.wait_output("ready")
    c.ctl(f"scontrol requeue {job.number}")
    until("the restore", lambda: c.restored(job.number))
    c.run(NODE, "touch go")
    job.wait_output("^in the end")
    lines = [x for x in job.text().splitlines() if "allowed" in x or "exec of" in x]
    assert len(lines) > 8
    must_not(any("gained" in x and "gained 0" not in x for x in lines),
             [x for x in lines if "gained" in x and "gained 0" not in x])
    must_not(job.wait_end() != ["COMPLETED"], "captest says that something was gained")
    return "they gain nothing"


@attack("out of the PID namespace, also by descriptors that are sent in from outside; PIDs of others' processes on the host; their signals")
def pids(c):
    other = c.submit("--wrap", "sleep 60", options=f"-w {NODE}", user="user2")
    other.wait_running()
    on_host = " ".join(p[0] for p in c.ps(NODE) 
                       if p[2].split()[0] in ("munged", "slurmd", "sleep", "/usr/sbin/munged"))
    assert len(on_host.split()) >= 3, c.ps(NODE)
    at = "/home/user1/sender"
    sender = beside(c, "user1", f"python3 {INSIDE}/sender.py {at}")
    assert sender.stdout.readline() == "ready\n"
    out = c.run(NODE, f"srun -n1 -w {NODE} --overlap --oversubscribe --checkpoint python3 {INSIDE}/pids.py {at} {on_host}").stdout
    sender.wait(60)
    did = [x for x in out.splitlines() if x.startswith("did")]
    must_not(did, "; ".join(did))
    assert "could choose a child's PID" in out, out
    foreign = next(x for x in out.splitlines() if x.startswith("sent ")).partition("foreign ")[2].split()
    assert {"mnt", "pid"} <= set(foreign) and "tried in a user namespace" in out, out
    denied = len([x for x in out.splitlines() if x.startswith("denied")])
    return f"numbers in use are refused, others cannot be seen, of what is sent in nothing is entered ({denied} tries); known: " + "; ".join(
        x for x in out.splitlines() if x.startswith("could"))


@attack("no-new-privs=always: an image without it, and what is in the step beside the program")
def no_new_privs(c):
    program = "while :; do for p in self 1; do grep NoNewPrivs /proc/$p/status; done; sleep 0.5; done"
    job = c.saved("user1", wrap=program)
    c.run(NODE, f"sckpt export {job.number} ex && python3 {INSIDE}/forge.py ex bound && sckpt import ex --force")
    c.conf("no-new-privs=always\n")
    new = restart(c, job)
    until("the restore", lambda: c.restored(new))
    out = c.home() / f"slurm-{new}.out"
    had = len(out.read_text().splitlines())
    until("some lines", lambda: len(out.read_text().splitlines()) > had + 6)
    said = out.read_text().splitlines()[had:]
    must_not("NoNewPrivs:\t0" in said, said)
    assert "NoNewPrivs:\t1" in said, said
    return "it is set before the agent is executed"
