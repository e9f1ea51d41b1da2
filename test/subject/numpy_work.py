# SPDX-License-Identifier: GPL-2.0-or-later
"""numpy_work.py UNITS: threads, BLAS, child processes and queues; about a
second of work a unit, less once the home has a file `quick`, and a digest that
depends on all of it.

Every number is a whole one that a double holds exactly, so that the result is
the same on any processor, with any BLAS and any number of its threads."""
import hashlib
import multiprocessing
import os
import sys
import threading
import time

import numpy as np

PRIME = 251
SIZE = 300
STEPS = 10  # of one unit
QUICK = os.path.expanduser("~/quick")


def pause(seconds):
    if not os.path.exists(QUICK):
        time.sleep(seconds)


def multiply(matrix, add):
    """Exact: below SIZE * PRIME**2 + PRIME, far less than 2**53."""
    return (matrix @ matrix.T + add) % PRIME


def start(seed, size=SIZE):
    rng = np.random.RandomState(seed)
    return rng.randint(0, PRIME, (size, size)).astype(np.float64)


def digest(matrix):
    return hashlib.sha256(matrix.astype(np.int64).tobytes()).hexdigest()


def child(number, work, done):
    """Keeps its own state: its answers depend on all the questions before."""
    state = start(number, SIZE // 2)
    while (item := work.get()) is not None:
        state = multiply(state, item)
        done.put((number, item, digest(state)))


def pool(pairs):
    """A pool of one's own: whoever is free takes the next one."""
    work, done = pairs
    while (item := work.get()) is not None:
        number, data = item
        done.put((number, int((data * data % PRIME).sum())))


class Adder(threading.Thread):
    """Adds up its own random numbers, and those of all under a lock."""

    lock = threading.Lock()
    total = 0

    def __init__(self, number, units):
        super().__init__()
        self.number, self.units, self.sum = number, units, 0

    def run(self):
        rng = np.random.RandomState(100 + self.number)
        for _ in range(self.units * 4):
            part = int(np.sort(rng.randint(0, 1 << 20, 20000)).sum())
            self.sum += part
            with Adder.lock:
                Adder.total += part
            pause(0.2)


def main():
    units = int(sys.argv[1])
    ctx = multiprocessing.get_context("fork")
    result = hashlib.sha256()

    done = ctx.Queue()
    own = [ctx.Queue() for _ in range(2)]
    shared = (ctx.Queue(), ctx.Queue())
    children = [ctx.Process(target=child, args=(n, q, done))
                for n, q in enumerate(own)]
    children += [ctx.Process(target=pool, args=(shared,)) for _ in range(2)]
    for c in children:
        c.start()
    adders = [Adder(n, units) for n in range(4)]
    for a in adders:
        a.start()

    matrix = start(99)
    for step in range(units * STEPS):
        for q in own:
            q.put(step)
        for n in range(4):
            shared[0].put((n, np.arange(n, n + 5000)))
        matrix = multiply(matrix, step)
        answers = sorted(done.get() for _ in own)
        answers += sorted(shared[1].get() for _ in range(4))
        result.update(repr(answers).encode())
        result.update(digest(matrix).encode())
        if step % STEPS == 0:
            print("unit", step // STEPS, result.hexdigest()[:16], flush=True)
        pause(0.08)

    for a in adders:
        a.join()
    for q in own + [shared[0], shared[0]]:
        q.put(None)
    for c in children:
        c.join()
    sums = [a.sum for a in adders]
    assert sum(sums) == Adder.total
    result.update(repr(sums).encode())
    print("result", result.hexdigest(), [c.exitcode for c in children])


main()
