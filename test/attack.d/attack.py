# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of attacks, and what runs them. An attack returns what stopped it, or raises
Won. Whatever else it raises is no answer: what it needs was not there."""
import argparse
import importlib
import pathlib
import signal
import subprocess
import time
import traceback

from cluster import COMMAND, Cluster, sh

ATTACKS = []
INSIDE = "/shared/attack"
SANDBOX = "/shared/subject/sandbox"
# elevate='s words: what needs them, how it says that it is ready, and what its criu has for it.
ELEVATED = {"seccomp": (f"exec {SANDBOX} 600", "^tick 1$", 1 << 21),
            "tcp": ("exec python3 /shared/subject/pair.py 100000", "^round 1$", 1 << 12)}
MARK = 1 << 18  # SYS_CHROOT, of every criu of the broker's (broker/enter.c)
SYSTEM_LOG = "/var/log/system-log"


class Won(Exception):
    """The attack has succeeded: a fault of the product."""


def attack(text):
    def add(function):
        ATTACKS.append((text, function))
        return function
    return add


def must_not(condition, text):
    if condition:
        raise Won(text)


class Field(Cluster):
    """The cluster as an attacker finds it."""

    def prepare(self):
        self.install_subjects()
        target = self.shared / "attack"
        target.mkdir(exist_ok=True)
        for p in (pathlib.Path(__file__).parent / "inside").iterdir():
            sh("install", "-m", "755", p, target / p.name)
        for node in self.nodes:
            self.run(node, f"python3 {INSIDE}/syslog.py {SYSTEM_LOG}", user="root")

    def system_log(self, node):
        """All lines that were sent to it until now."""
        mark = f"mark {time.monotonic()}"
        return self.run(node, f"python3 -c \"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'{mark}', '/dev/log')\"; "
                        f"until grep -q '^{mark}$' {SYSTEM_LOG}; do sleep 0.02; done; grep -v '^mark ' {SYSTEM_LOG}",
                        user="root", check=False).stdout.splitlines()

    def logged(self):
        """What an admin has to hear of, line by line: of sckpt-broker, and of the plugin."""
        return [(node, line) for node in self.nodes for line in self.system_log(node) + self.run(
            node, "grep -h sckpt /var/log/slurm/slurmd.log | grep -v ' debug[0-9]*:'", user="root", check=False).stdout.splitlines()]

    def tidy(self):
        for user in ("user1", "user2"):
            self.ctl(f"scancel -u {user}; scancel -s KILL -u {user}", user="root")
        (self.etc / "sckpt.conf").unlink(missing_ok=True)
        self.idle()
        for user in ("user1", "user2"):
            for p in self.home(user).iterdir():
                sh("rm", "-rf", p)
        sh("rm", "-rf", self.shared / "ckpt", self.shared / "trap")

    def shared_store(self, conf=""):
        """dir= that all users have in common."""
        (self.shared / "ckpt").mkdir(exist_ok=True)
        (self.shared / "ckpt").chmod(0o1777)
        self.conf("dir=/shared/ckpt\n" + conf)

    def saved(self, user="user2", options="", end=True, wrap="sleep 300", store=None, ready=None):
        """A job of the user's with a checkpoint, which has ended."""
        job = self.submit("--wrap", wrap, options=f"--requeue --checkpoint -w n1 {options}",
                          user=user)
        job.wait_running()
        if ready:
            job.wait_output(ready)
        where = f"--dir {store} " if store else ""
        for n in range(20):
            done = self.run("n1", f"sckpt create {where}{job.number}", user=user, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.3)
        assert done.returncode == 0, done.stderr
        if end:
            job.cancel()
            job.wait_end()
        return job

    def restored(self, number):
        return "restored from" in self.ctl(f"scontrol show job {number}").stdout


def main(text):
    p = argparse.ArgumentParser(prog="test/attack", description=text)
    p.add_argument("words", nargs="*", help="only attacks with one of them in their name or line")
    p.add_argument("--keep", action="store_true", help="leave the cluster up")
    args = p.parse_args()
    for name in ("store", "processes", "root", "words", "allow", "broker"):
        importlib.import_module(name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    up = sh(COMMAND, "status", check=False).returncode == 0
    try:
        if not up:
            subprocess.run([COMMAND, "up"], check=True, stdout=subprocess.DEVNULL)
        bad = run(args.words)
    finally:
        if not up and not args.keep:
            sh(COMMAND, "down")
    raise SystemExit(1 if bad else 0)


def run(words):
    c = Field()
    c.prepare()
    count = failed = won = broken = 0
    for text, function in ATTACKS:
        if words and not any(w in text or w in function.__name__ for w in words):
            continue
        count += 1
        begin, before = time.monotonic(), set(c.logged())
        try:
            stopped = function(c)
            assert stopped, "it says nothing"
            failed += 1
            print(f"failed     {text}: {stopped}", end="")
        except Won as e:
            won += 1
            print(f"SUCCEEDED  {text}: {e}", end="")
        except Exception:  # noqa: BLE001 (whatever it is, the next one is tried)
            broken += 1
            print(f"BROKEN     {text}\n{traceback.format_exc()}", end="")
        print(f" ({time.monotonic() - begin:.0f} s)")
        new = [line for line in c.logged() if line not in before]
        print(f"           in the logs: {len(new)} lines, {new[0][1][:150]}" if new else
              "           in the logs: none (the kernel's word, or the job's own)", flush=True)
        c.tidy()
    if broken:
        print(f"{broken} could not be tried")
    print(f"{count} attacks, {failed} failed, {won} SUCCEEDED")
    return won + broken
