# SPDX-License-Identifier: GPL-2.0-or-later
"""criu as it is, with the capability and the options that sckpt gives it,
writing its files; and dd. The work is done on the node by bare_agent.py."""
import json
import subprocess
import time

import node


class Bare:
    """One namespace for all runs in a place (what is mounted later is not seen
    there); gone when this is closed."""

    def __init__(self):
        setup = ["unshare", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child",
                 "setpriv", "--reuid", node.USER, "--regid", node.USER, "--init-groups",
                 "--inh-caps=-all,+checkpoint_restore",
                 "--ambient-caps=-all,+checkpoint_restore"]
        self.agent = subprocess.Popen(
            node.run_args(*setup, f"{node.PROGRAMS}/bare_agent.py"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.agent.stdin.close()
        self.agent.wait()

    def ask(self, *command):
        self.agent.stdin.write(json.dumps(command) + "\n")
        self.agent.stdin.flush()
        line = self.agent.stdout.readline()
        if not line:
            raise node.Failed(f"the bare side has ended at {command[0]}")
        answer = json.loads(line)
        if "error" in answer:
            raise node.Failed(f"bare side: {answer['error']}")
        return answer

    def run(self, subject, place, path):
        """One dump that leaves it running, and one restore."""
        images = f"{path}/bare"
        result = self.ask("start", subject.argv, subject.ready)
        try:
            result |= self.ask("dump", images)
            result |= self.ask("floor", f"{images}.floor")
            self.ask("stop")
            if place == "disk":
                self.ask("forget", images)
            # The kernel is quicker with hardware breakpoints, which criu sets, for a second
            # after the last one (perf_sched_delayed, kernel/events/core.c). A job that is
            # restored has no dump just behind it: neither has this one.
            time.sleep(2)
            result |= self.ask("restore", images)
            if subject.obeys:
                self.ask("touch")
        finally:
            self.ask("stop")
            self.ask("remove", images)
        return result

    def copy(self, subject, _, path):
        return self.ask("copy", path, max(1, round(subject.mib)))
