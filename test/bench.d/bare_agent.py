#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The bare side's PID 1: takes commands as lines of JSON on standard input,
does them with criu as it is, and answers each with a line of JSON.

It has what sckpt's agent has: a private PID namespace, its /proc, the user's
uid, and CAP_CHECKPOINT_RESTORE in its ambient set, nothing else."""
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = "/usr/libexec/sckpt/sckpt-root"
ROOT_PID = 1000
WORK = pathlib.Path("/tmp/bench-bare")
SAID = WORK / "said"

# plugin/step/criu.c's, less --stream and the hook.
OPTIONS = ["--unprivileged", "--no-default-config", "-v2", "--file-locks",
           "--ghost-limit=1048576G", "--manage-cgroups=ignore", "--cpu-cap=fpu,ins"]
# criu keeps its probes of the kernel here from one run to the next.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
               "XDG_RUNTIME_DIR": str(WORK)}


def choose_next_pid(pid):
    pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))


def said():
    return SAID.read_text().split() if SAID.exists() else []


def wait_said(word, count=1, seconds=300):
    end = time.monotonic() + seconds
    while said().count(word) < count:
        if not alive():
            raise RuntimeError(f"the subject has ended before it said {word}")
        if time.monotonic() > end:
            raise RuntimeError(f"the subject has not said {word} in {seconds} s")
        time.sleep(0.01)


def alive():
    # What has ended is reaped, so that it is not taken for alive.
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    return os.path.exists(f"/proc/{ROOT_PID}")


def subject():
    children = pathlib.Path(f"/proc/{ROOT_PID}/task/{ROOT_PID}/children").read_text()
    return int(children.split()[0])


def start(argv, ready):
    """The program below sckpt-root, without new privileges, as in a step."""
    SAID.unlink(missing_ok=True)
    choose_next_pid(ROOT_PID)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # As plugin/step/program.c starts both.
    pid = os.posix_spawn("/usr/bin/setpriv",
                         ["setpriv", "--no-new-privs", "setsid", "sh", "-c",
                          f'"$@" & exec {ROOT} $!:-----', "sh", *argv],
                         {"PATH": ENVIRONMENT["PATH"], "HOME": "/"},
                         file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                                       (os.POSIX_SPAWN_OPEN, 1, str(SAID), flags, 0o600),
                                       (os.POSIX_SPAWN_DUP2, 1, 2)])
    if pid != ROOT_PID:
        raise RuntimeError(f"the root has PID {pid}, not {ROOT_PID}")
    wait_said(ready)
    return {"resident_bytes": resident()}


def resident():
    total = 0
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit() and int(p.name) >= ROOT_PID and (p / "statm").exists():
            total += int((p / "statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGESIZE")


def criu(what, directory, *options):
    """Runs it; returns microseconds. Its PIDs must not be the images'."""
    choose_next_pid(20000)
    begin = time.perf_counter()
    done = subprocess.run(["criu", what, *OPTIONS, f"--images-dir={directory}",
                           f"--log-file={what}.log", *options],
                          env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    took = time.perf_counter() - begin
    if done.returncode:
        log = pathlib.Path(directory) / f"{what}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        first = next((line for line in lines if "Error (" in line), "")
        raise RuntimeError(f"criu {what} ended with {done.returncode}: "
                           f"{first or done.stdout + done.stderr}")
    return int(took * 1e6)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def frozen_us(directory):
    """stats-dump: two magic words, a length, a protobuf whose field 1 is a
    message whose field 2 is the time (criu's images/stats.proto)."""
    data = (pathlib.Path(directory) / "stats-dump").read_bytes()
    _, at = varint(data, 13)  # behind the key of field 1: its length
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key == 2 << 3:
            return value
    raise RuntimeError("stats-dump does not tell how long the tree was frozen")


def files(directory):
    return [os.path.join(d, f) for d, _, names in os.walk(directory) for f in names]


def fsync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def dump(directory):
    os.mkdir(directory, 0o700)
    began = time.perf_counter()
    took = criu("dump", directory, f"--tree={ROOT_PID}", "--network-lock=skip",
                "--leave-running")
    for path in files(directory):
        fsync(path)
    fsync(directory)
    durable = time.perf_counter() - began
    return {"frozen_us": frozen_us(directory), "criu_us": took, "dump_us": int(durable * 1e6),
            "stored_bytes": sum(os.path.getsize(f) for f in files(directory))}


def throw_away(pipe, nowhere):
    while os.splice(pipe, nowhere, 1 << 20):
        pass
    os.close(pipe)


def serve_nobody(listener):
    """criu's image streamer (criu/img-streamer.c) whose reader has nothing to do: pages go from
    its pipes to /dev/null without being copied."""
    connection, _ = listener.accept()
    nowhere = os.open("/dev/null", os.O_WRONLY)
    readers = []
    with connection:
        while size := connection.recv(4, socket.MSG_WAITALL):
            connection.recv(int.from_bytes(size, sys.byteorder), socket.MSG_WAITALL)
            _, (pipe, *_), _, _ = socket.recv_fds(connection, 1, 1)
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)
            readers.append(threading.Thread(target=throw_away, args=(pipe, nowhere)))
            readers[-1].start()
    for reader in readers:
        reader.join()
    os.close(nowhere)


def floor(directory):
    """How long the program stands still for a dump that nobody reads."""
    os.mkdir(directory, 0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/streamer-capture.sock")
        listener.listen()
        server = threading.Thread(target=serve_nobody, args=(listener,))
        server.start()
        criu("dump", directory, f"--tree={ROOT_PID}", "--network-lock=skip", "--leave-running",
             "--stream")
        server.join()
    result = {"floor_us": frozen_us(directory)}
    subprocess.run(["rm", "-rf", directory], check=True)
    return result


def stop():
    """Whatever is left of the tree; the root last, which would reap the others."""
    pids = [int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit()]
    for pid in sorted(pids, reverse=True):
        if pid >= ROOT_PID:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    try:
        while os.wait():
            pass
    except ChildProcessError:
        return {}


def forget(directory):
    """Out of the page cache; what is not durable stays there."""
    for path in files(directory):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    return {}


def restore(directory):
    took = criu("restore", directory, "--restore-detached")
    if not alive():
        raise RuntimeError("criu restore was content, but nothing runs")
    return {"restore_us": took}


def touch():
    """As a proof of life."""
    count = said().count("touched")
    os.kill(subject(), signal.SIGUSR2)
    wait_said("touched", count + 1)
    return {}


def copy(directory, mib):
    """Plain copying of as many bytes. Zeros: to make others would be counted."""
    path = os.path.join(directory, "copy")
    begin = time.perf_counter()
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mib}",
                    "conv=fsync", "status=none"], check=True)
    took = time.perf_counter() - begin
    os.unlink(path)
    return {"copy_us": int(took * 1e6)}


def remove(directory):
    subprocess.run(["rm", "-rf", directory], check=True)
    return {}


def main():
    os.umask(0o077)
    os.chdir("/")
    WORK.mkdir(exist_ok=True)
    commands = {f.__name__: f for f in [start, dump, floor, stop, forget, restore, touch, copy, remove]}
    for line in sys.stdin:
        name, *args = json.loads(line)
        try:
            answer = commands[name](*args)
        except (OSError, RuntimeError, subprocess.SubprocessError) as e:
            answer = {"error": f"{name}: {e}"}
        print(json.dumps(answer), flush=True)


main()
