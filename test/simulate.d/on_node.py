# SPDX-License-Identifier: GPL-2.0-or-later
"""On a node, as root: on_node.py now|begin DIR. Has strace write down what the supervisor and the
agent of the one protected step do with files.

now     of the step that runs, with all threads, and without criu
begin   of the next one, from slurmstepd on. In the count's TaskProlog, behind the supervisor's look at the
        store and before the agent, it is decided anew who is followed: criu is not to be, for the agent
        traces it at a restore itself; nor are the agent's threads, which read the packs.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

GATE, GO = pathlib.Path("/var/tmp/at-gate"), pathlib.Path("/var/tmp/go")


def processes(name):
    for p in pathlib.Path("/proc").iterdir():
        try:
            if p.name.isdigit() and (p / "comm").read_text() == name + "\n":
                yield int(p.name), (p / "cmdline").read_bytes().split(b"\0")
        except OSError:
            pass


def wait_for(probe):
    while not (found := probe()):
        time.sleep(0.001)
    return found


def trace(out, pid, *options):
    t = subprocess.Popen(["strace", "-q", "-y", "-s", "0", "-e", "trace=%file,%desc", "-o", out, *options,
                          "-p", str(pid)], stderr=subprocess.DEVNULL, start_new_session=True)
    while f"TracerPid:\t{t.pid}\n" not in pathlib.Path(f"/proc/{pid}/status").read_text():
        assert t.poll() is None, f"strace ended with {t.returncode}"
        time.sleep(0.005)
    return t


def supervisor():
    return next(processes("sckpt-supervise"), None)


def main():
    when, where = sys.argv[1:]
    known = {p for p, _ in processes("slurmstepd")}
    GATE.unlink(missing_ok=True)
    GO.unlink(missing_ok=True)
    print("ready", flush=True)
    if when == "begin":
        stepd = wait_for(lambda: [p for p, words in processes("slurmstepd")
                                  if p not in known and b".batch]" in words[0]])[0]
        first = trace(f"{where}/start", stepd, "-f")
        wait_for(GATE.exists)
        first.send_signal(signal.SIGINT)
        first.wait()
    pid, words = wait_for(supervisor)
    trace(f"{where}/supervisor", pid, "-f", "-b", "execve")
    trace(f"{where}/agent", int(words[1]), *(["-f", "-b", "execve"] if when == "now" else []))
    GO.touch()
    print("traced", flush=True)


main()
