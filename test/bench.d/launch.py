# SPDX-License-Identifier: GPL-2.0-or-later
"""What --checkpoint adds to the start of a step.

Runs of `srun true` and `srun --checkpoint true` alternate in one allocation;
the median of each and their difference are printed."""
import argparse

import node

# Runs on the node, inside the allocation, so that only srun is measured.
MEASURE = """
import os, statistics, subprocess, sys, time
options = {"srun": [], "srun --checkpoint": ["--checkpoint"]}
took = {name: [] for name in options}
for i in range(int(sys.argv[1]) + 1):
    for name, option in options.items():
        begin = time.perf_counter()
        subprocess.run(["srun", *option, "true"], check=True)
        if i:  # the first of each warms caches
            took[name].append(time.perf_counter() - begin)
median = {name: statistics.median(t) * 1000 for name, t in took.items()}
for name, ms in median.items():
    t = sorted(took[name])
    print(f"{name + ' true':24} median {ms:7.1f} ms   (quartiles "
          f"{t[len(t) // 4] * 1000:.1f} to {t[3 * len(t) // 4] * 1000:.1f})")
plain, ours = median.values()
print(f"{'difference':24} {ours - plain:14.1f} ms   (ratio {ours / plain:.2f}, "
      f"{len(t)} runs each)")
"""


def main(args):
    parser = argparse.ArgumentParser("test/bench launch", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=40)
    runs = parser.parse_args(args).runs
    with node.cluster():
        node.call("salloc", "-Q", "-w", node.NAME, "python3", "-c", MEASURE, str(runs),
                  user=node.USER, capture=False)
