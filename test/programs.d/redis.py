# SPDX-License-Identifier: GPL-2.0-or-later
"""redis.py PORT ROUNDS: a client that counts, writes and reads back, on two connections
that stay open; one of them waits for what the other one publishes."""
import hashlib
import socket
import sys
import time

port, rounds = int(sys.argv[1]), int(sys.argv[2])


class Redis:
    """The protocol's little that is needed here."""

    def __init__(self):
        for _ in range(100):
            try:
                self.f = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
                return
            except ConnectionRefusedError:
                time.sleep(0.1)
        sys.exit("the server does not come")

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.f.write(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.f.flush()

    def answer(self):
        kind, rest = (line := self.f.readline())[:1], line[1:].strip()
        if kind == b"$":
            return self.f.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"-" or not kind:
            sys.exit(f"the server says {line!r}")
        return int(rest) if kind == b":" else rest

    def do(self, *words):
        self.send(*words)
        return self.answer()


client, listener = Redis(), Redis()
listener.do("SUBSCRIBE", "news")
for n in range(1, rounds + 1):
    value = hashlib.sha256(str(n).encode()).digest() * 1024
    count = client.do("INCR", "count")
    client.do("SET", f"key {n}", value)
    whole = client.do("GET", f"key {n}") == value
    client.do("PUBLISH", "news", n)
    news = listener.answer()[2]
    print(n, count, whole, news.decode(), client.do("DBSIZE"), flush=True)
    time.sleep(0.08)
