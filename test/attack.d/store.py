# SPDX-License-Identifier: GPL-2.0-or-later
"""Forged, altered, replayed, swapped and linked: what lies in the store."""
import itertools

from attack import INSIDE, attack, must_not
from cluster import until

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
    theirs = c.saved(wrap="secret=topsecret; sleep 20; echo $secret", store="/shared/ckpt/user2")
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
    theirs = c.saved(wrap="secret=topsecret; sleep 20; echo $secret", store="/shared/ckpt/user2")
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
    return c.run("n1", f"sckpt verify {job.number}", check=False)


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


