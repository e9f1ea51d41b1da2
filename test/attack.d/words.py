# SPDX-License-Identifier: GPL-2.0-or-later
"""Words, names and paths with everything in them that a shell, a path or a log minds."""
import re
import shlex

from attack import attack, must_not
from cluster import until

EVIL = ("a\nb", "$(touch /shared/trap/pwned)", "`touch /shared/trap/pwned`", "; touch /shared/trap/pwned;",
        "../../../../shared/trap/up", "-rf", "--uid=0", "%n%s%h%x", "a' 'b\" \\", "\x1b[31m", "x" * 300, "|cat", "*")


def made(c):
    """What is anywhere that a user can write to, or root's sckpt does; the store is looked at on its own."""
    out = c.run("n1", "find / /shared /home /run /tmp /dev/shm -xdev \\( -path /proc -o -path /home/user1/.sckpt -o -path /shared/home -o -path /var/lib/slurm "
                "-o -path /var/spool -o -path /var/log -o -path '/run/*/*' -o -path '/usr/*/*' \\) -prune -o -print0", user="root").stdout
    return set(out.split("\0"))


@attack("--job-name, --chdir, --comment, --export and arguments with newlines, .., metacharacters and options")
def names(c):
    c.run("n1", "mkdir -p -m 777 /shared/trap", user="root")
    jobs, wheres = [], []
    for i, evil in enumerate(EVIL):
        # As it is: what has / in it leads through several, and out by its ..
        wheres.append(f"/shared/trap/{i} in/x/../x/{evil[:60]}")
        c.run("n1", f"mkdir -p {shlex.quote(wheres[-1].partition('/x/..')[0] + '/x')}; mkdir -p {shlex.quote(wheres[-1])}")
    before = made(c)
    for i, (evil, where) in enumerate(zip(EVIL, wheres)):
        c.script("job.sh", "echo ready; sleep 300\n")
        number = int(c.run("n1", "sbatch --parsable --requeue --checkpoint=notify -w n1 --oversubscribe "
                           f"--job-name={shlex.quote(evil)} --comment={shlex.quote(evil)} --chdir={shlex.quote(where)} "
                           f"-o /home/user1/out.{i} -e /home/user1/err.{i} --export=ALL,SLURM_JOB_NAME={shlex.quote(evil.replace(',', ''))} "
                           f"job.sh {shlex.quote(evil)}").stdout)
        out = c.home() / f"out.{i}"
        until("it to run", lambda: out.exists() and "ready" in out.read_text())
        c.run("n1", f"sckpt create {number}")
        said = c.run("n1", f"sckpt list {number}; sckpt show {number}; sckpt report {number}; "
                     f"sckpt report --html - {number}").stdout
        must_not(re.search(r"[\x00-\x08\x0b-\x1f\x7f]", said), repr(said))
        if i % 3 == 0:
            c.run("n1", f"sckpt vacate {number}")
            err = c.home() / f"err.{i}"
            until("the restore", lambda: "restored from" in err.read_text(errors="replace"))
        c.ctl(f"scancel {number}")
        jobs.append(str(number))
    there = c.run("n1", "ls -A ~/.sckpt ~/.sckpt/test", user="user1").stdout.split()
    stray = set(there) - {"/home/user1/.sckpt:", "/home/user1/.sckpt/test:", "test", ".log", "logs", *jobs}
    must_not([x for x in stray if not x.startswith((".", "log", "ended", "done"))], stray)
    outside = made(c) - before - {f"/home/user1/{x}" for x in ("job.sh", *(f"{k}.{i}" for i in range(len(EVIL)) for k in ("out", "err")))}
    must_not(outside, f"made outside: {outside}")
    return f"nothing of it is run, made a path of or printed as it is ({len(EVIL)} names, each saved and shown, a third restored)"


@attack("--checkpoint=WORDS with newlines, .., metacharacters, of all kinds, also from a client that does not check")
def words(c):
    c.run("n1", "mkdir -p -m 777 /shared/trap", user="root")
    tried = 0
    for evil in EVIL:
        for word in ("{}", "dir={}", "dir=/shared/trap/{}", "dir=/shared/trap/x/../../../root/{}", "restart={}.batch:1",
                     "restart=1.{}:1", "restart=1...:1", "restart=1.batch:1,restart-dir=/shared/trap/{}", "every={}",
                     "keep={}", "grant={}", "steps={}"):
            text = word.format(evil)
            c.run("n1", f"_SLURM_SPANK_OPTION_sckpt_checkpoint={shlex.quote(text)} timeout 60 "
                  "srun -n1 -w n1 -t 1 true", check=False)
            tried += 1
            if tried % 12 == 0 and tried > 60:
                break
    left = c.run("n1", "find /shared/trap -mindepth 1; ls -A /root/.sckpt /root/s* /shared/trap/../up* 2>/dev/null; true",
                 user="root").stdout.splitlines()
    must_not([x for x in left if "pwned" in x], left)
    owners = c.run("n1", "find /shared/trap -mindepth 1 ! -user user1", user="root").stdout
    must_not(owners, owners)
    must_not(not c.run("n1", "srun -n1 true", check=False).returncode == 0, "the node is out of order")
    must_not("drain" in c.ctl("sinfo -h -o %T").stdout, "a node was drained")
    return f"the parser, or the user's own rights ({tried} words)"


@attack("--checkpoint-step of user1's own making, for a directory elsewhere")
def call_step(c):
    for name in ("../../../x", "s1/../../y", "s1\n", "s1,afresh,x", "batch", "s99999999999"):
        c.run("n1", f"_SLURM_SPANK_OPTION_sckpt_checkpoint_step={shlex.quote(name)} "
              "srun -n1 -w n1 --checkpoint true", check=False)
    made = c.run("n1", "find ~ -name x -o -name y -o -name '*,*'").stdout
    must_not(made, made)
    return "it is a number of a call, or nothing"


@attack("a directory in the store whose name is a command, and the completion of bash")
def completion(c):
    job = c.saved("user1")
    c.run("n1", f"cd ~/.sckpt/test/{job.number}; d='$(id>pwned)'; cp -r batch \"$d\"")
    done = c.run("n1", "sckpt list; . /usr/share/bash-completion/completions/sckpt; "
                 "COMP_WORDS=(sckpt show ''); COMP_CWORD=2; _sckpt; echo \"${COMPREPLY[@]}\"; ls")
    assert f"{job.number}.$(id>pwned)" in done.stdout and f"{job.number}.batch:1 " in done.stdout.splitlines()[-2] + " ", done
    must_not("pwned" in done.stdout.split(), "it was run")
    return "only ids are completed"
