# SPDX-License-Identifier: GPL-2.0-or-later
"""sqlite.py UNITS JOURNAL DIRECTORY: transactions on a data base in a directory of
its own below DIRECTORY, and digests of all that is in it."""
import hashlib
import os
import random
import sqlite3
import sys
import tempfile
import time

units, journal, top = int(sys.argv[1]), *sys.argv[2:]
rng = random.Random(5)
with tempfile.TemporaryDirectory(dir=top) as d:
    db = sqlite3.connect(os.path.join(d, "work.db"))
    print(db.execute(f"pragma journal_mode={journal}").fetchone())
    db.execute("create table t (k integer primary key, v text)")
    for unit in range(units):
        for _ in range(40):
            with db:
                for _ in range(30):
                    k = rng.randrange(20000)
                    v = hashlib.sha256(f"{unit} {k}".encode()).hexdigest()
                    db.execute("insert into t values (?, ?)"
                               " on conflict (k) do update set v = v || ?", (k, v, v))
        digest = hashlib.sha256()
        for row in db.execute("select * from t order by k"):
            digest.update(repr(row).encode())
        print(unit, digest.hexdigest(), flush=True)
        time.sleep(0.3)
    print(db.execute("pragma integrity_check").fetchone())
    db.close()
