#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""work.py KIND SEED UNITS PACE: a program whose whole output SEED and UNITS decide: it
prints a digest of all that it remembers after each unit of work, and then
waits PACE seconds. With 0 it tells what is to be expected.

  heap      memory that grows, and is written to again here and there
  threads   four threads that hand a token on, each with numbers of its own
  children  many processes, each at the end of two pipes
"""
import hashlib
import os
import queue
import random
import sys
import threading
import time

kind, seed, units, pace = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
rng = random.Random(seed)
digest = hashlib.sha256()


def say(unit):
    os.write(1, f"{kind} {unit} {digest.hexdigest()}\n".encode())
    time.sleep(pace)


def heap():
    blocks = []
    size = rng.choice([1 << 16, 1 << 18, 1 << 20, 1 << 22])
    for unit in range(1, units + 1):
        # Of all kinds: what does not compress, text, zeros.
        blocks.append(bytearray(rng.choice([
            lambda: rng.randbytes(size),
            lambda: b"%8d\n" % unit * (size // 9),
            lambda: bytes(size)])()))
        for _ in range(8):
            block = rng.choice(blocks)
            at = rng.randrange(len(block) - 64)
            digest.update(block[at:at + 64])
            block[at:at + 64] = rng.randbytes(64)
        say(unit)
    for block in blocks:
        digest.update(block)
    say("whole")


def threads():
    ring = [queue.Queue() for _ in range(4)]
    done = queue.Queue()

    def run(i):
        own = random.Random(seed + i)
        while (token := ring[i].get()) is not None:
            token = hashlib.sha256(token + own.randbytes(32)).digest()
            (ring[i + 1] if i < 3 else done).put(token)

    for i in range(4):
        threading.Thread(target=run, args=(i,), daemon=True).start()
    for unit in range(1, units + 1):
        ring[0].put(rng.randbytes(32))
        digest.update(done.get())
        say(unit)


def children():
    pipes = []
    for i in range(24):
        (take, to), (back, give) = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(to)
            total = i
            while data := os.read(take, 8):
                total = (total * 31 + int.from_bytes(data, "big")) % (1 << 61)
                os.write(give, total.to_bytes(8, "big"))
            os._exit(i)
        os.close(take), os.close(give)
        pipes.append((to, back))
    for unit in range(1, units + 1):
        for to, back in pipes:
            os.write(to, rng.randbytes(8))
            digest.update(os.read(back, 8))
        say(unit)
    for to, _ in pipes:
        os.close(to)
    # Earlier ones hold later ones' pipes no more than these do: fork copied them.
    codes = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in pipes)
    os.write(1, f"codes {codes}\n".encode())


{"heap": heap, "threads": threads, "children": children}[kind]()
