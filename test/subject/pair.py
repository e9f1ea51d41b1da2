# SPDX-License-Identifier: GPL-2.0-or-later
"""Two processes with loopback TCP connections under load: pair.py ROUNDS [ADDRESS]. The
server gives back what it gets; the clients send numbered blocks on several connections at once,
compare, and say "round N" each tenth of a second's worth, until the home has a file `quick`."""
import hashlib
import os
import socket
import sys
import threading
import time

rounds = int(sys.argv[1])
address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
family = socket.AF_INET6 if ":" in address else socket.AF_INET
BLOCK = 1 << 18
quick = os.path.expanduser("~/quick")


def echo(c):
    while data := c.recv(65536):
        c.sendall(data)


def block(n, k):
    seed = hashlib.sha256(f"{n} {k}".encode()).digest()
    return seed * (BLOCK // len(seed))


listener = socket.create_server((address, 0), family=family)
where = listener.getsockname()[:2]
if os.fork() == 0:
    while True:
        c, _ = listener.accept()
        threading.Thread(target=echo, args=(c,), daemon=True).start()
listener.close()
conns = [socket.create_connection(where) for _ in range(4)]
wrong = []


def client(c, k):
    for n in range(1, rounds + 1):
        data = block(n, k)
        sender = threading.Thread(target=c.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < len(data):
            piece = c.recv(1 << 16)
            if not piece:
                wrong.append((n, k, "broken off"))
                return
            got += piece
        sender.join()
        if got != data:
            wrong.append((n, k, "not the same"))
            return
        if k == 0:
            print("round", n, flush=True)
        if not os.path.exists(quick):
            time.sleep(0.05)


threads = [threading.Thread(target=client, args=(c, k)) for k, c in enumerate(conns)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("wrong:", wrong, flush=True)
for c in conns:
    c.close()
os._exit(bool(wrong))
