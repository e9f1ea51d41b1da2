# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages=python3
version='python3 --version'

prepare() {
	cat >work.py <<'END'
import asyncio, hashlib

async def question(n, size):
    p = await asyncio.create_subprocess_exec(
        "sh", "-c", f"seq {size} | sha256sum; sleep 0.{n % 9}; exit {n % 5}",
        stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate()
    return out.decode().split()[0], p.returncode

async def main():
    total = hashlib.sha256()
    for unit in range(45):
        answers = await asyncio.gather(*(question(unit * 6 + i, 20000 + i) for i in range(6)))
        total.update(repr(answers).encode())
        print(unit, total.hexdigest(), [code for _, code in answers], flush=True)
asyncio.run(main())
END
}

work() { python3 ../work.py; }
