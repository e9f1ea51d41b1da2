# SPDX-License-Identifier: GPL-2.0-or-later
"""Dump and restore: sckpt against bare criu and plain copying.

Runs alternate (bare, dd, sckpt, bare, …), so that drift hits all; the first of
each size and place warms up and is not counted. A ratio is taken within each
run; what is printed are medians. Before a restore from disk the page cache
forgets the images, on both sides."""
import argparse
import contextlib
import dataclasses
import json
import mmap
import os
import pathlib
import signal
import subprocess
import sys

import bare
import node
import report
import sckpt

KINDS = ["random", "doubles", "half", "text"]
MADV_POPULATE_WRITE = 23  # linux/mman.h; Python's mmap does not name it
TREE = (64, 16)  # processes, MiB of each
IDLE = "import time; print('ready', flush=True); time.sleep(1e6)"


@dataclasses.dataclass
class Subject:
    """A program to be dumped."""
    size: str
    kind: str
    mib: float
    argv: list
    ready: str = "ready"
    obeys: bool = True  # touches and grows at signals


def subjects(size, kinds):
    fill = f"{node.PROGRAMS}/fill"
    if size == "small":
        return [Subject(size, "python3", 10, ["/usr/bin/python3", "-c", IDLE], obeys=False)]
    if size == "tree":
        count, mib = TREE
        return [Subject(size, kind, count * mib,
                        [fill, "--kind", kind, "--mib", str(mib), "--processes", str(count)])
                for kind in kinds]
    return [Subject(size, kind, int(size), [fill, "--kind", kind, "--mib", size])
            for kind in kinds]


def words(known, numbers=False):
    def parse(text):
        for word in text.split(","):
            if word not in known and not (numbers and word.isdigit() and int(word) > 0):
                raise argparse.ArgumentTypeError(
                    f"'{word}' is not known: {', '.join(known)}"
                    f"{' or a number of MiB' if numbers else ''}")
        return text.split(",")
    return parse


def options(args):
    parser = argparse.ArgumentParser("test/bench images", description=__doc__)
    parser.add_argument("--sizes", type=words(["tree", "small"], numbers=True),
                        help="MiB; tree: 64 processes of 16 MiB; small: an idle python3"
                             " (default: 256)")
    parser.add_argument("--kinds", type=words(KINDS),
                        help="of content: random,doubles,half,text (default: random,text)")
    parser.add_argument("--places", type=words(list(node.PLACES)), help="tmpfs,disk (both)")
    parser.add_argument("--runs", type=int, default=5, help="counted ones (default: 5)")
    parser.add_argument("--full", action="store_true",
                        help="256, 1024 and 4096 MiB, tree, small; all kinds and places")
    parser.add_argument("--buffer", default="", help="as in sckpt.conf (the agent's peak memory"
                        f" has its bar with {report.PEAK_BUFFER} and {report.PEAK_SIZE} MiB)")
    parser.add_argument("--bare-only", action="store_true", help="leave sckpt's side out")
    o = parser.parse_args(args)
    o.sizes = o.sizes or (["small", "256", "1024", "tree", "4096"] if o.full else ["256"])
    o.kinds = o.kinds or (KINDS if o.full else ["random", "text"])
    o.places = o.places or list(node.PLACES)
    if o.runs < 1:
        parser.error("--runs takes 1 and more; 5 and more to mean something")
    return o


def memory_needed(o):
    """In MiB: the program, and on tmpfs two generations beside one that is being
    written; the bare side's is gone by then."""
    largest = max(s.mib for size in o.sizes for s in subjects(size, KINDS[:1]))
    return int(largest * 4.3) + 1024


def warm(mib):
    """Memory that a virtual machine touches for the first time is slow. A child
    touches it, and with the child it is free again."""
    print(f"warming {mib} MiB of memory", file=sys.stderr)
    child = os.fork()
    if child == 0:
        with mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            # One page fault after the other takes several times as long.
            memory.madvise(MADV_POPULATE_WRITE)
            block = b"\1" * (1 << 20)
            for i in range(mib):
                memory[i << 20:(i + 1) << 20] = block
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise node.Failed(f"{mib} MiB of memory could not be touched")


@contextlib.contextmanager
def kept_memory():
    """A virtual machine may give free memory back to its host (mm/page_reporting.c):
    then what was free for two seconds is as slow as what was never touched, large
    pages above all, and what is measured is the host. Not while this lasts."""
    order = pathlib.Path("/sys/module/page_reporting/parameters/page_reporting_order")
    before = order.read_text() if order.exists() else None
    if before:
        # Blocks of that size there are none of, or few, as the kernel allows.
        for largest in ("11", "10"):
            with contextlib.suppress(OSError):
                order.write_text(largest)
                break
    try:
        yield
    finally:
        if before:
            order.write_text(before)


def measure(subject, place, path, sides, count, warm_up):
    """Yields a result of every side for every run that counts."""
    for i in range(-warm_up, count):
        result = {"size": subject.size, "kind": subject.kind, "place": place,
                  "mib": subject.mib, "load": os.getloadavg()[0]}
        for name, side in sides.items():
            result[name] = side(subject, place, path)
        print(f"{subject.size} {subject.kind} on {place}: "
              f"{'warm-up' if i < 0 else f'run {i + 1} of {count}'}: {report.brief(result)}",
              file=sys.stderr)
        if i >= 0:
            yield result


def run(o):
    results = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(node.cluster())
        stack.enter_context(kept_memory())
        need = memory_needed(o)
        if node.free_mib() < need:
            sys.exit(f"test/bench: this needs {need} MiB of free memory, and there are "
                     f"{node.free_mib()}: leave out the largest of --sizes")
        stack.enter_context(node.programs())
        ours = sckpt.Sckpt()
        if not o.bare_only:
            stack.enter_context(node.slurm_with(need + 2048, kill_wait=300))
        warm(need)
        for size in o.sizes:
            for place in o.places:
                with node.place(place, need) as path, bare.Bare() as plain, \
                        node.sckpt_conf(sckpt.settings(path, o.buffer)):
                    sides = {"bare": plain.run, "dd": plain.copy}
                    if not o.bare_only:
                        sides["sckpt"] = ours.run
                    for n, subject in enumerate(subjects(size, o.kinds)):
                        results += measure(subject, place, path, sides, o.runs, n == 0)
    return [{**result, "buffer": o.buffer} for result in results]


def plotting():
    """matplotlib, from Debian."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        subprocess.run("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install"
                       " -qq -y --no-install-recommends python3-matplotlib >/dev/null",
                       shell=True, check=True)


def main(args):
    o = options(args)
    # As by Ctrl-C: what was made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plotting()
    node.OUT.mkdir(exist_ok=True)
    try:
        results = run(o)
    except node.Failed as e:
        sys.exit(f"test/bench: {e}")
    (node.OUT / "bench-images.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report.table(results)
    (node.OUT / "bench-images.txt").write_text(text)
    report.plot(results, node.OUT / "bench-images.png")
    print(text)
    print(f"as JSON, text and plot: {node.OUT}/bench-images.*")
