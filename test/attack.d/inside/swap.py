#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""swap.py SECONDS A B: exchanges what has the names A and B, as fast as it can."""
import ctypes
import os
import sys
import time

AT_FDCWD, RENAME_EXCHANGE = -100, 2
libc = ctypes.CDLL(None, use_errno=True)
a, b = (p.encode() for p in sys.argv[2:4])
end, n = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    if libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0:
        n += 1
    elif ctypes.get_errno() not in (2,):
        sys.exit(os.strerror(ctypes.get_errno()))
if n % 2:
    libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)
print(n)
