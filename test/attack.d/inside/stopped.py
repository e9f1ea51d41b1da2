#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stopped.py UID, as the user, outside of the step: the criu that restores is stopped as soon as it is there, which is
said; and goes on when there is a line to read."""
import os
import signal
import sys
import time

import watching

print("ready", flush=True)
end = time.monotonic() + 120
while not (criu := watching.find("criu", sys.argv[1])) and time.monotonic() < end:
    pass
os.kill(int(criu), signal.SIGSTOP)
print("stopped", flush=True)
sys.stdin.readline()
os.kill(int(criu), signal.SIGCONT)
sys.stdin.read()
