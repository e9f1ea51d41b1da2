# SPDX-License-Identifier: GPL-2.0-or-later
"""Forged, altered, replayed, swapped and linked: what lies in the store."""
import contextlib
import itertools
import re
import subprocess

from attack import INSIDE, attack, must_not
from cluster import COMMAND, until

REACH = """
s={store}
for what in "ls $s" "ls {step}" "cat {step}/1-0.json" "cat {step}/1-0.meta" "cat {step}/1-0.0.pack" \
	"cat {step}/1-0.seal" "touch {step}/x" "ln {step}/1-0.json $HOME/json" "mv $s $s.mine" \
	"rm -rf {step}" "chmod 777 $s" "touch {step}/request" "setfacl -m u:user1:rwx $s" \
	"mount --bind $s $HOME" "sckpt list --dir $s" "sckpt verify --all --dir $s" \
	"sckpt export --dir $s {job} $HOME/ex" "sckpt list --user user2"; do
	$what >/dev/null 2>&1 && echo "did: $what"
done
true
"""


@attack("user1, in a protected step, reads, lists, moves, links and writes user2's store")
def reach(c):
    c.shared_store()
    job = c.saved(store="/shared/ckpt/user2")
    store = "/shared/ckpt/user2"
    step = f"{store}/test/{job.number}/batch"
    before = c.run("n1", f"cd {store} && find . -type f -exec sha256sum {{}} +", user="user2").stdout
    assert "1-0.json" in before
    c.script("reach.sh", REACH.format(store=store, step=step, job=job.number))
    out = c.run("n1", "srun -n1 -w n1 --checkpoint ./reach.sh").stdout
    must_not(out, out.replace("\n", "; "))
    after = c.run("n1", f"cd {store} && find . -type f -exec sha256sum {{}} +", user="user2").stdout
    must_not(before != after, "something in it has changed")
    return "its directories are user2's alone (0700)"


def refused(c, job):
    """A job that was to go on from what it must not: it did nothing, and says why."""
    until("the job to say something", lambda: "sckpt: " in job.text() or "secret" in job.text()
          or "afresh" in job.text())
    text = job.text()
    must_not("secret" in text, "what user2's program knew was printed")
    said = [x for x in text.splitlines() if x.startswith("sckpt: ")]
    assert said, text
    return said[0]


@attack("user1's job goes on from user2's checkpoint (restart=ID, restart-dir=, dir=)")
def restart_others(c):
    c.shared_store("user-dir=yes\n")
    theirs = c.saved(wrap="secret=topsecret; sleep 300; echo $secret", store="/shared/ckpt/user2")
    said = []
    for option in (f"restart={theirs.number}.batch:1",
                   f"restart={theirs.number}.batch:1,restart-dir=/shared/ckpt/user2",
                   f"restart={theirs.number}.batch:1,restart-dir=/shared/ckpt/user2,dir=/shared/ckpt/user2"):
        job = c.submit("--wrap", "echo afresh", options=f"--requeue --checkpoint={option}")
        said.append(refused(c, job))
        job.cancel()
    return said[1]


def given_away(c, where, job, to):
    """user2 was careless: a copy of the checkpoint that user1 can read, and has put
    where one of a job of user1's would be."""
    c.run("n1", f"cp -r /shared/ckpt/user2/test/{job}/batch /tmp/given; chmod -R a+rX /tmp/given",
          user="user2")
    c.run("n1", f"umask 077; mkdir -p {where}/{to}; cp -r /tmp/given {where}/{to}/batch; "
          f"chmod -R u+w,go= {where}")


@attack("user1 has a copy of user2's checkpoint, and restores it as the own one")
def copied(c):
    c.shared_store()
    theirs = c.saved(wrap="secret=topsecret; sleep 300; echo $secret", store="/shared/ckpt/user2")
    try:
        given_away(c, "/shared/ckpt/user1/test", theirs.number, theirs.number)
        done = c.run("n1", f"sckpt verify {theirs.number}", check=False)
        must_not(done.returncode == 0, "sckpt verify takes it for good")
        job = c.submit("--wrap", "echo afresh",
                       options=f"--requeue --checkpoint=restart={theirs.number}.batch:1")
        said = refused(c, job)
        must_not("sealed by user id 1002" not in said, said)
        # Sealed anew for another manifest: user1's seal, user2's uid in it.
        mine = c.saved("user1", store="/shared/ckpt/user1")
        d = f"/shared/ckpt/user1/test/{theirs.number}/batch"
        c.run("n1", f"cp /shared/ckpt/user1/test/{mine.number}/batch/1-0.seal {d}/1-0.seal")
        done = c.run("n1", f"sckpt verify {theirs.number}", check=False)
        must_not(done.returncode == 0, "another seal of user1's is taken for it")
    finally:
        c.run("n1", "rm -rf /tmp/given", user="root")
    return said


def verdict(c, job):
    done = c.run("n1", f"timeout 20 sckpt verify {job.number}", check=False)
    must_not(done.returncode == 124, "it waits for somebody to write to it")
    return done


@attack("manifest, seal, images and packs are altered, replayed and swapped")
def altered(c):
    one, two = c.saved("user1"), c.saved("user1")
    a, b = (f"/home/user1/.sckpt/test/{j.number}/batch" for j in (one, two))
    assert verdict(c, one).returncode == 0
    tries = [
        f"sed -i 's/\"uid\": *1001/\"uid\": 0/' {a}/1-0.json",
        f"sed -i 's/\"command\": *\"/&x/' {a}/1-0.json",
        f"cp {b}/1-0.json {a}/1-0.json",
        f"cp {b}/1-0.json {b}/1-0.seal {a}/",
        f"cp {b}/1-0.* {a}/",
        f"cp {b}/1-0.meta {a}/",
        f"cp {b}/1-0.0.pack {a}/",
        f"printf x | dd of={a}/1-0.0.pack bs=1 seek=999 conv=notrunc",
        f"printf x | dd of={a}/1-0.meta bs=1 seek=99 conv=notrunc",
        f": >{a}/1-0.seal",
        f"echo MUNGE:AwQFAAC: >{a}/1-0.seal",
        f"munge -s x >{a}/1-0.seal",
        f"sha256sum {a}/1-0.json | cut -c1-64 | munge >{a}/1-0.seal",
        f"rm {a}/1-0.meta; ln -s {b}/1-0.meta {a}/1-0.meta",
        f"rm {a}/1-0.json; ln -s /etc/passwd {a}/1-0.json",
        f"rm {a}/1-0.json; mkfifo {a}/1-0.json",
        f"rm {a}/1-0.0.pack; mkfifo {a}/1-0.0.pack",
        f"rm {a}/1-0.meta; mkfifo {a}/1-0.meta",
    ]
    c.run("n1", f"cp -r {a} ~/whole")
    for what in tries:
        c.run("n1", f"rm -rf {a}; cp -r ~/whole {a}; chmod 700 {a}; {what} 2>/dev/null")
        done = verdict(c, one)
        must_not(done.returncode == 0, f"it is good after: {what}")
    return f"seal and digests, {len(tries)} times"


FORGED = ("caps", "ambient", "uid", "securebits", "bound")


@attack("images with root's ids, all capabilities and securebits, exported, changed and sealed anew")
def forged(c):
    said = []
    for kind in FORGED:
        job = c.saved("user1", wrap="while :; do sleep 0.2; done")
        c.run("n1", f"rm -rf ex; sckpt export {job.number} ex && python3 {INSIDE}/forge.py ex {kind} && "
              "sckpt import ex --force")
        new = int(c.run("n1", f"sckpt restart {job.number} --force").stdout.split()[-1])

        def over():
            text = c.home() / f"slurm-{new}.out"
            said = text.read_text() if text.exists() else ""
            return c.restored(new) or "cannot go on" in said
        until("the restart", over)
        for node in c.nodes:
            for line in c.run(node, f"python3 {INSIDE}/sampler.py 0 1001", user="root").stdout.splitlines():
                must_not(line.startswith("MORE"), f"{kind}: {line}")
        said.append(f"{kind} {'restored, without any of it' if c.restored(new) else 'refused'}")
        c.ctl(f"scancel {new}", check=False)
    return ", ".join(said)


SWAP_SECONDS = 12


def swapped(c, trap, swapper, opener, command):
    """`swapper` exchanges what stands under the name for SWAP_SECONDS, while `opener`
    opens it again and again; how often both did."""
    begin = f"timeout {SWAP_SECONDS + 5} python3 {INSIDE}/swap.py {SWAP_SECONDS} {trap}"
    loop = (f"n=0; end=$(($(date +%s) + {SWAP_SECONDS})); "
            f"while [ $(date +%s) -lt $end ]; do {{ {command}; }} >>/tmp/said 2>&1; n=$((n + 1)); done; echo $n")
    c.run("n1", "rm -f /tmp/said", user="root")
    out = c.run("n1", f"runuser -u {swapper} -- {begin} >/tmp/swaps & "
                f"runuser -u {opener} -- true; {'' if opener == 'root' else f'runuser -u {opener} -- '}bash -c '{loop}'; "
                "wait; cat /tmp/swaps", user="root").stdout.split()
    said = c.run("n1", "sort /tmp/said | uniq -c | sort -rn | head -50; rm -f /tmp/said /tmp/swaps",
                 user="root").stdout
    opens, swaps = int(out[0]), int(out[1])
    assert opens > 50 and swaps > 1000, (opens, swaps)
    return opens, swaps, said


@attack("user1 exchanges ~/.sckpt and what is in it for links to root's and user2's, while root runs sckpt --user user1")
def swapped_for_root(c):
    c.saved("user1"), c.saved("user2")
    mine = "/home/user1/.sckpt/test"
    # As a store of user1's, but root's.
    c.run("n1", f"rm -rf /root/precious; mkdir /root/precious; cp -r {mine} /root/precious/test; "
          "chown -R root:root /root/precious; chmod -R go= /root/precious", user="root")
    look = ("find /root/precious /home/user2/.sckpt -printf '%p %u %m %s %T@\n' | sort | sha256sum")
    before = c.run("n1", look, user="root").stdout
    c.run("n1", f"cp -r {mine}/.. ~/backup; ln -s /root/precious ~/a; ln -s /root/precious/test ~/b; "
          "ln -s /home/user2/.sckpt ~/c")
    total = opened = 0
    try:
        for trap in ("/home/user1/.sckpt /home/user1/a", f"{mine} /home/user1/b",
                     "/home/user1/.sckpt /home/user1/c"):
            opens, swaps, said = swapped(
                c, trap, "user1", "root",
                "sckpt verify --all --user user1; sckpt prune --older-than 0s --user user1")
            total, opened = total + swaps, opened + opens
            must_not("root/precious" in said or "user id 1002" in said.replace("belongs to user id 1002", ""),
                     said)
            must_not(c.run("n1", look, user="root").stdout != before, f"{trap}: something has changed")
            c.run("n1", "rm -rf .sckpt; cp -r backup .sckpt; chmod -R u+rwX,go= .sckpt; rm -rf .sckpt/a .sckpt/b .sckpt/c; "
                  "rm -f a b c; ln -s /root/precious ~/a; ln -s /root/precious/test ~/b; "
                  "ln -s /home/user2/.sckpt ~/c", check=False)
    finally:
        c.run("n1", "rm -rf /root/precious", user="root")
    return f"sckpt is user1 then, and follows no link; {total} exchanges, opened {2 * opened} times"


@attack("user1 exchanges user2's dir= in a directory of user1's, while user2 opens it and a step writes to it")
def swapped_for_user(c):
    c.run("n1", "mkdir -m 777 /shared/trap", user="root")
    c.run("n1", "chown user1 /shared/trap", user="root")
    c.run("n1", "mkdir -m 700 /shared/trap/ck ~/other", user="user2")
    c.saved("user2", options="--checkpoint=dir=/shared/trap/ck", store="/shared/trap/ck")
    c.run("n1", "mkdir -m 777 ~/mine; chmod 711 ~; mkdir /shared/trap/own; chmod 777 /shared/trap/own; "
          "ln -s /home/user1/mine /shared/trap/link")
    total = opened = 0
    for other in ("link", "own"):
        opens, swaps, said = swapped(c, f"/shared/trap/ck /shared/trap/{other}", "user1", "user2",
                                     "sckpt verify --all --dir /shared/trap/ck; "
                                     f"{INSIDE}/../subject/generation verify /shared/trap/ck/test/*/batch")
        total, opened = total + swaps, opened + opens
        job = c.submit("--wrap", "sleep 3", options="--checkpoint=every=1s,dir=/shared/trap/ck -w n1",
                       user="user2")
        c.run("n1", f"python3 {INSIDE}/swap.py 5 /shared/trap/ck /shared/trap/{other}")
        job.wait_end()
        inside = c.run("n1", "find -L /home/user1/mine /shared/trap/own /shared/trap/link -mindepth 1 "
                       "! -path '*/trap/*/test*' -o -path /home/user1/mine/test", user="root").stdout
        had = c.run("n1", "for d in /shared/trap/* /home/user1/mine; do "
                    "[ $(stat -Lc %U $d) = user1 ] && [ -e $d/test ] && echo $d; done; true",
                    user="root").stdout
        must_not(had, f"images of user2's lie in {had} {inside}")
    return f"who has the directory is looked at where it is open; {total} exchanges, opened {2 * opened} times"


@attack("a store that others can write, of which user1 is not the owner, or that is root's")
def open_store(c):
    said = set()
    for how in ("mkdir -m 777 /shared/trap/s", "mkdir -m 770 /shared/trap/s; chgrp physics /shared/trap/s",
                "mkdir -m 750 /shared/trap/s"):
        c.run("n1", "rm -rf /shared/trap; mkdir -m 1777 /shared/trap", user="root")
        c.run("n1", how)
        done = c.run("n1", "srun -n1 --checkpoint=dir=/shared/trap/s true")
        must_not("not protected" not in done.stderr, f"images go there after: {how}")
        said.add(done.stderr.strip().splitlines()[-1].rpartition(": ")[2])
    for how in ("mkdir -m 777 /shared/trap/s", "mkdir -m 700 /shared/trap/s"):
        c.run("n1", "rm -rf /shared/trap; mkdir -m 1777 /shared/trap", user="root")
        c.run("n1", how, user="user2")
        done = c.run("n1", "srun -n1 --checkpoint=dir=/shared/trap/s true")
        must_not("not protected" not in done.stderr, f"images go there after user2's: {how}")
    for where in ("/root/s", "/etc/s", "/run/sckpt/s", "/proc/self/s", "/dev/s"):
        done = c.run("n1", f"srun -n1 --checkpoint=dir={where} true", check=False)
        must_not("not protected" not in done.stderr, f"images go to {where}")
    return "; ".join(sorted(said))


@attack("files of one user's job in /tmp on the next node, under names that another user has there")
def names_in_tmp(c):
    script = c.script("job.sh", "umask 077; mkdir -p /tmp/w; exec 5>/tmp/w/data; echo one >&5; "
                      "echo ready; sleep 8; echo two >&5; echo done\n", user="user2")
    try:
        for trap, carry in itertools.product(
                ("mkdir -m 777 /tmp/w", "ln -s /home/user2/precious /tmp/w", "mkfifo -m 666 /tmp/w",
                 "touch /tmp/w"), ("", "=carry=/tmp/w")):
            c.run("n1", "rm -rf ~/precious; mkdir ~/precious; echo mine >~/precious/data", user="user2")
            c.run("n2", f"rm -rf /tmp/w; runuser -u user1 -- {trap}", user="root")
            job = c.submit(script, options=f"--requeue --checkpoint{carry} --nodelist=n1", user="user2")
            job.wait_output("ready")
            c.ctl(f"scontrol requeue {job.number}", user="root")
            until("the dump", job.generations)
            until("it to wait", lambda: "COMPLETING" not in job.state)
            c.ctl(f"scontrol update jobid={job.number} NodeList=n2 StartTime=now+2", user="root",
                  check=False)
            c.ctl(f"scontrol update jobid={job.number} ReqNodeList=n2", user="root", check=False)
            until("the answer", lambda: "cannot go on" in job.text() or "done" in job.text())
            text = job.text()
            job.cancel()
            must_not("done" in text, f"it went on with: {trap} {carry}")
            assert "/tmp/w" in text, text
            kept = c.run("n2", "cat ~/precious/data; ls ~/precious", user="user2").stdout
            must_not(kept != "mine\ndata\n", f"{trap}: {kept}")
            job.wait_end()
            c.run("n1", "rm -rf /tmp/w", user="root")
    finally:
        for node in c.nodes:
            c.run(node, "rm -rf /tmp/w", user="root")
    return "the program does not go on where another user has its names"


# Its memory tells which word it has.
WORD = "w=the-right-word; while :; do echo $w; sleep 0.1; done"
EXPORTS = """
end=$(($(date +%s) + {seconds})); : >got; : >said
while [ $(date +%s) -lt $end ]; do
	rm -rf ex
	if sckpt export {job} ex >/dev/null 2>>said; then cat ex/* | sha256sum >>got; else echo refused >>got; fi
done
sort got | uniq -c; sort said | sed 's/^/said /' | uniq -c | sort -rn | head -3
"""


def exports(c, job, seconds=8, where=""):
    """What came of exports that were made meanwhile: how often which digest, or "refused"."""
    out = c.run("n1", EXPORTS.format(job=f"{job.number} {where}", seconds=seconds)).stdout
    return {words[1]: int(words[0]) for words in map(str.split, out.splitlines()) if words[1] != "said"}, out


def goes_on(c, job, where=""):
    """A job that is to go on from it while all this happens: 1 if it does, and then with its word."""
    for _ in range(5):
        done = c.run("n1", f"sckpt restart {job.number} {where} --force", check=False)
        if done.returncode == 0:
            break
    else:
        return 0
    new = int(done.stdout.split()[-1])
    out = c.home() / f"slurm-{new}.out"
    text = lambda: out.read_text(errors="replace") if out.exists() else ""  # noqa: E731
    try:
        until("the restart", lambda: "cannot go on" in text() or c.restored(new))
        if c.restored(new):
            had = len(text())
            until("it to say something", lambda: len(text()) > had + 40 or "cannot go on" in text())
    except AssertionError:
        # It was restored and did nothing: not with its own memory.
        must_not(c.restored(new), "what was restored does nothing")
        raise
    finally:
        c.ctl(f"scancel {new}", check=False)
    must_not("the-wrong-word" in text(), "it goes on with other memory than was sealed")
    return int(c.restored(new))


@attack("user1's files of the store have a second name each, by which they are rewritten while they are read")
def second_names(c):
    # As it is in memory, so that one who alters it need not know how it is packed.
    c.conf("compress=none\n")
    job = c.saved("user1", wrap=WORD, ready="right")
    d = f"/home/user1/.sckpt/test/{job.number}/batch"
    whole, _ = exports(c, job, 2)
    assert len(whole) == 1 and "refused" not in whole, whole
    right = list(whole)[0]
    refused = went = right_ones = writes = 0
    for name, change in (
            ("1-0.0.pack", "sed -i s/the-right-word/the-wrong-word/g other"),
            ("1-0.meta", "printf xyz | dd of=other bs=1 seek=$(($(stat -c %s other) / 2)) conv=notrunc"),
            ("1-0.json", "sed -i 's/\"uid\": 1001/\"uid\": 1002/' other"),
            ("1-0.seal", r"sed -i -E 's/^(.{40})./\1#/' other")):
        c.run("n1", f"export LC_ALL=C; rm -f other mine; ln {d}/{name} mine; cp mine other; {change} 2>/dev/null; "
              "[ $(stat -c %s other) = $(stat -c %s mine) ]; ! cmp -s other mine")
        swapper = subprocess.Popen([COMMAND, "run", "n1", "--user", "user1", "--", "python3", f"{INSIDE}/rewrite.py",
                                    "22", "/home/user1/mine", "/home/user1/other"], stdout=subprocess.PIPE, text=True)
        try:
            got, said = exports(c, job)
            for _ in range(3):
                went += goes_on(c, job)
        finally:
            n = int(swapper.communicate()[0])
        assert n > 1000, n
        must_not(set(got) - {right, "refused"}, f"{name}: what is exported is not what was sealed: {said}")
        assert got.get("refused"), (name, said)
        refused, right_ones, writes = refused + got["refused"], right_ones + got.get(right, 0), writes + n
    assert right_ones, "it was never whole"
    # Its other name is the user's, and what sckpt removes is not.
    c.run("n1", f"sckpt remove {job.number}; [ ! -e {d} ]; [ -s mine ]")
    return (f"digests of what was read, not of what is there: rewritten {writes} times, {refused} exports refused, "
            f"{right_ones} right; of {3 * 4} restarts {went} went on, with the memory that was sealed")


NAMES = ("1-0.json 1-0.meta 1-0.0.pack 1-0.seal 2-0.json 2-0.meta 2-0.0.pack 2-0.seal output.1 output.2 events "
         "claim.0 claim.1 submit.json script status.json request order nodes ran.0 .client .speed")


@attack("files of user2's and of root's as hard links under the names of user1's store")
def others_names(c):
    c.shared_store()
    # Their names and the store's are below one mount, or no link is possible at all.
    c.run("n1", "mkdir -m 1777 /shared/trap", user="root")
    files = []
    for user, mode in (("user2", "644"), ("user2", "600"), ("root", "644"), ("root", "600")):
        files.append(f"/shared/trap/{user}-{mode}")
        c.run("n1", f"umask 077; yes topsecret-{mode} | head -9 >{files[-1]}; chmod {mode} {files[-1]}", user=user)
    look = f"stat -c '%n %U %G %a %s %Y' {' '.join(files)}; sha256sum {' '.join(files)}"
    before = c.run("n1", look, user="root").stdout
    said = c.run("n1", f"for f in {' '.join(files)}; do ln $f /shared/trap/own && echo did; done", check=False)
    # Where fs.protected_hardlinks is 0 users can; here root does for them, below.
    assert "did" in said.stdout or said.stderr.count("Operation not permitted") == len(files), said.stderr
    c.run("n1", "rm -f /shared/trap/own", user="root")
    # Its output is shorter than those files, which would pass for it.
    done = c.saved("user1", wrap="echo a line of output of some length; sleep 300", store="/shared/ckpt/user1",
                   ready="length")
    d = f"/shared/ckpt/user1/test/{done.number}/batch"
    c.run("n1", f"cp -r {d} ~/whole")
    linked = tried = 0
    # All the same: as if they had been the user's when the link was made.
    for f in files:
        for name in NAMES.split():
            c.run("n1", f"rm -rf {d}; cp -r ~/whole {d}; chmod 700 {d}", user="user1")
            c.run("n1", f"ln -f {f} {d}/{name}", user="root")
            linked += 1
            if name not in ("1-0.json", "output.1", "events", "script", "1-0.0.pack"):
                continue
            told = c.run("n1", "; ".join(f"sckpt {x} --user user1" for x in (
                f"list {done.number}", f"show {done.number}", f"verify {done.number}", f"report {done.number}",
                f"export {done.number} /home/user1/ex", f"restart {done.number} --print")) +
                "; grep -aoh topsecret-600 -r ~user1/ex; rm -rf ~user1/ex", user="root", check=False)
            must_not("topsecret-600" in told.stdout + told.stderr, f"{f} as {name}: it is shown")
            tried += 6
    # A step that runs, that is restored, and all that is removed.
    for f in files:
        c.run("n1", f"rm -rf {d}; (umask 077; mkdir -p {d}); cp -r ~/whole/. {d}")
        job = c.submit("--wrap", "while :; do echo x; sleep 0.2; done", options="--requeue --checkpoint=every=1s -w n1")
        at = f"/shared/ckpt/user1/test/{job.number}/batch"
        until("a checkpoint", lambda: c.run("n1", f"ls {at}/*.json", check=False).returncode == 0)
        c.run("n1", f"for n in {NAMES} 3-0.json 3-0.meta 3-0.0.pack; do ln -f {f} {at}/$n; done", user="root")
        c.run("n1", f"sckpt create {job.number}", check=False)
        c.ctl(f"scontrol requeue {job.number}")
        out = c.home() / f"slurm-{job.number}.out"
        until("it to be over", lambda: "sckpt: " in out.read_text() or c.restored(job.number), 90)
        job.cancel()
        job.wait_end()
        c.run("n1", f"for n in {NAMES}; do ln -f {f} {d}/$n; done", user="root")
        c.run("n1", f"sckpt prune --older-than 0s --user user1; sckpt remove {done.number} --user user1; "
              f"sckpt remove {job.number} --user user1; sckpt remove {done.number} --user user1", user="root", check=False)
        tried += 6
    after = c.run("n1", look, user="root", check=False).stdout
    must_not(after != before, f"before:\n{before}after:\n{after}")
    return (f"the kernel: {(said.stderr or 'none').strip().splitlines()[0].rpartition(': ')[2]}; made by root, {linked} times: "
            f"sckpt has user1's rights to them, and removes names alone ({tried} commands)")


# How often each of them is tried.
TIMES = 10000
OPENS = ("private", "private-make", "path", "store", "store-make", "below", "below-make")
OPENS_INSIDE = ("file", "pack", "output", "output-make", "event", "remove")
# In memory: a disk would leave no time for so many.
SCENE = """
umask 022; rm -rf /tmp/trap; mkdir -p /tmp/trap/theirs; cd /tmp/trap
step() {{ mkdir -p $1/test/1/batch; cp -r {d}/. $1/test/1/batch; chmod -R $2 $1; chown -R $3 $1; }}
step ck u=rwX,go= user2; step ck/st u=rwX,go= user2
# Another state of user2's own under what is another's.
step theirs u=rwX,go=rX user1; step theirs/st u=rwX,go= user2; ln -s theirs link
# What user2 alone can write to, and anybody's.
mkdir -m 700 in; cp {d}/* in; mv in/1-0.0.pack in/pack; rm -f in/events in/output.*
for n in file pack output.1 events; do [ -e in/$n ] || echo right >in/$n; done
cp -r in out; sed -i s/right/other/ out/file; chmod -R a+rwX out
mv in/pack in/1-0.0.pack; for n in file pack output.1 events; do ln -s ../out/$n in/$n.link; done; mv in/pack.link in/1-0.0.pack.link
mkdir -m 777 out/tree; echo x >out/tree/x; chmod 666 out/tree/x; ln -s ../out/tree in/tree.link
chown -R user2 in; chown user1 . link; chown -R user1 out
"""


@attack(f"what opens a store by name, {TIMES} times each, while a swapper exchanges the name for another user's")
def opened_by_name(c):
    job = c.saved("user1")
    c.run("n1", SCENE.format(d=f"/home/user1/.sckpt/test/{job.number}/batch"), user="root")
    look = "cd /tmp/trap; find out theirs -type f -exec sha256sum {} + -o -printf '%p %U\n' | sort"
    before = c.run("n1", look, user="root").stdout
    total = swaps = 0
    tries = [(kind, 1001, f"ck /tmp/trap/{to}") for kind in OPENS for to in ("link", "theirs")]
    # Who can exchange what is in a private directory is the user, who would have root open it.
    tries += [(kind, 1002, {"file": "in/file", "pack": "in/1-0.0.pack", "output": "in/output.1", "output-make": "in/output.1",
                            "event": "in/events", "remove": "in/tree"}[kind]) for kind in OPENS_INSIDE]
    for kind, swapper, what in tries:
        what = what if " " in what else f"{what} /tmp/trap/{what}.link"
        done = c.run("n1", f"timeout 60 /shared/subject/opener {kind} {TIMES} 1002 {swapper} /tmp/trap/{what}", user="root", check=False)
        had = re.match(r"\S+ opens (\d+) swaps (\d+) right (\d+) refused (\d+) other (\d+)$", done.stdout)
        assert had, done.stdout + done.stderr
        n, swapped, right, refused, other = map(int, had.groups())
        must_not(other, done.stdout)
        assert n >= TIMES and swapped >= TIMES / 10 and right, done.stdout
        # It was met with.
        assert refused or kind in ("event", "remove"), done.stdout
        must_not(c.run("n1", look, user="root").stdout != before, f"{kind}: another user's has changed")
        total, swaps = total + n, swaps + swapped
    c.run("n1", "rm -rf /tmp/trap", user="root")
    return f"none was the other's: {len(tries)} ways, opened {total} times, exchanged {swaps} times"


@contextlib.contextmanager
def lies(c, others=""):
    """A mount of user1's at ~/fuse, whose files are in ~/real, and what says how it lies."""
    c.run("n1", "mkdir -m 700 fuse real state; echo none >state/fault; : >state/seen")
    c.run("n1", f"python3 {INSIDE}/liar.py /home/user1/real /home/user1/state 1001 /home/user1/fuse {others}", user="root")
    state = c.home() / "state"

    def how(word):
        (state / "seen").write_text("")
        (state / "new").write_text(word)
        (state / "new").rename(state / "fault")
    try:
        yield how, lambda: (state / "seen").read_text()
    finally:
        how("none")
        c.run("n1", "umount -l /home/user1/fuse", user="root")
        until("it to end", lambda: c.run("n1", "pgrep -f [l]iar.py", user="root", check=False).returncode)


@attack("a store on a FUSE mount of user1's own process: other owners, other bytes at the second read")
def fuse_lies(c):
    c.conf("compress=none\n")
    at = "--dir /home/user1/fuse"
    with lies(c) as (how, seen):
        job = c.saved("user1", wrap=WORD, options="--checkpoint=dir=/home/user1/fuse", store="/home/user1/fuse",
                      ready="right")
        whole, said = exports(c, job, 2, at)
        assert len(whole) == 1 and "refused" not in whole, (whole, said)
        right = list(whole)[0]
        assert goes_on(c, job, at), "it does not work at all"
        told = []
        for owner in (0, 1002):
            how(f"owner {owner}")
            for user, as_root in (("user1", ""), ("root", "--user user1")):
                done = c.run("n1", f"sckpt verify {job.number} {at} {as_root}", user=user, check=False)
                must_not(done.returncode == 0 or f"user id {owner}" not in done.stderr, done.stdout + done.stderr)
            told.append(done.stderr.strip().splitlines()[-1])
            done = c.run("n1", "srun -n1 -w n1 --checkpoint=dir=/home/user1/fuse true")
            must_not("not protected" not in done.stderr, "images go where another one is said to be the owner")
            assert "lied" in seen()
        got = went = 0
        for lie in ("second", "open"):
            how(lie)
            results, said = exports(c, job, 4, at)
            must_not(set(results) - {right, "refused"}, f"{lie}: {said}")
            assert results.get("refused"), said
            got += sum(results.values())
            for _ in range(3):
                # Counted anew.
                how("none"), c.run("n1", f"sckpt list {at}"), how(lie)
                went += goes_on(c, job, at)
            assert "altered" in seen()
        # Root's view is the user's.
        for user, as_root in (("user1", ""), ("root", "--user user1")):
            how("second")
            c.run("n1", f"sckpt show {job.number} {at} {as_root}", user=user, check=False)
            done = c.run("n1", f"sckpt verify {job.number} {at} {as_root}", user=user, check=False)
            must_not(done.returncode == 0, f"it is good for {user}")
    return f"{told[-1]}; digests of what was read ({got} exports right or refused, of 6 restarts {went} went on with what was sealed)"


@attack("the same mount, for others, too, passes for a directory of user2's, who has put a dir= there")
def fuse_passes(c):
    mode = c.run("n1", "stat -c %a ~").stdout.strip()
    try:
        with lies(c, "others") as (how, seen):
            c.run("n1", "chmod 755 ~")
            how("owner 1002")
            done = c.run("n1", "srun -n1 -w n1 --checkpoint=dir=/home/user1/fuse stat -c %u:%a /home/user1/fuse", user="user2")
            assert done.stdout == "1002:700\n" and "lied" in seen(), done.stdout + done.stderr
            must_not("not protected" not in done.stderr, done.stderr)
            assert "a process of user id 1001 makes (FUSE)" in done.stderr, done.stderr
            # Its own user's it may be.
            how("none")
            done = c.run("n1", "srun -n1 -w n1 --checkpoint=dir=/home/user1/fuse true")
            assert "not protected" not in done.stderr, done.stderr
    finally:
        c.run("n1", f"chmod {mode} ~")
    return "it is seen whose process makes that file system"


@attack("the same mount does not answer, while root runs sckpt --user user1 on it")
def fuse_hangs(c):
    at = "--dir /home/user1/fuse --user user1"
    ended = []
    with lies(c) as (how, seen):
        job = c.saved("user1", options="--checkpoint=dir=/home/user1/fuse", store="/home/user1/fuse")
        for what in (f"list {at}", f"show {job.number} {at}", f"verify {job.number} {at}", f"prune --older-than 0s {at}"):
            how("hang")
            # As Ctrl-C does, to all that the terminal has in the foreground, when that waits for the
            # answer. A shell's own child in the background is deaf to it.
            done = c.run("n1", f"env --default-signal=INT setsid sckpt {what} </dev/null >/dev/null 2>/tmp/said & p=$!; "
                         "for i in $(seq 300); do grep -qsx \"[a-z]* hang $(pgrep -P $p)\" /home/user1/state/seen && break; sleep 0.1; done; "
                         "[ $i -lt 300 ] || echo not there; kill -INT -$p; "
                         "for i in $(seq 300); do case $(ps -o s= -p $p) in ''|Z) cat /tmp/said; exit;; esac; sleep 0.1; done; "
                         "grep State: /proc/$p/status; cat /proc/$p/wchan; echo", user="root", check=False)
            waited = seen()
            how("none")
            c.run("n1", "ls fuse")
            assert waited and "not there" not in done.stdout, (what, done.stdout, done.stderr)
            # It is that file system which it waits for.
            assert "does not answer" in done.stdout or "State:" in done.stdout, done.stdout
            must_not("State:" in done.stdout, f"sckpt {what.split()[0]} does not end by Ctrl-C: {done.stdout.strip()}")
            ended.append(what.split()[0])
    return f"Ctrl-C ends it: {', '.join(ended)}"
