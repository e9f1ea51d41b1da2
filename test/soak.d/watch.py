# SPDX-License-Identifier: GPL-2.0-or-later
"""What sckpt does meanwhile, as its store and the jobs' output show it. Both forget:
they are looked at all the time."""
import collections
import contextlib
import json
import re

MANIFEST = re.compile(r"^(\d+)-(\d+)\.json$")
RAN = re.compile(r"^ran\.(\d+)$")


class Watch:
    def __init__(self, store):
        self.store = store  # of all jobs
        self.checkpoints = {}  # (job, step, generation, run): reason
        self.restores = set()  # (job, step, run)
        self.lines = set()  # (directory, line)

    def look_at_store(self):
        if not self.store.exists():
            return
        for job in self.store.iterdir():
            try:
                for step in job.iterdir():
                    for p in step.iterdir():
                        self.look_at_file(job.name, step.name, p)
            except (FileNotFoundError, NotADirectoryError):
                pass  # removed meanwhile

    def look_at_file(self, job, step, p):
        if m := MANIFEST.match(p.name):
            key = (job, step, int(m[1]), int(m[2]))
            if key not in self.checkpoints:
                self.checkpoints[key] = json.loads(p.read_text())["reason"]
        elif m := RAN.match(p.name):
            self.restores.add((job, step, int(m[1])))

    def look_at_output(self, home):
        for p in home.iterdir():
            if "out" in p.name or p.name == "err":
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    for line in p.read_text(errors="replace").splitlines():
                        if line.startswith("sckpt: "):
                            self.lines.add((home.name, line))

    def reasons(self):
        return collections.Counter(
            re.sub(r"every .*", "every=", r) for r in self.checkpoints.values())

    def said(self):
        """How often, and an example; lines that differ only in numbers and files are
        one."""
        found = collections.defaultdict(list)
        for home, line in sorted(self.lines):
            found[re.sub(r"\d+(\.\d+)?|/\S*", "", line)].append(f"{line}  [{home}]")
        return sorted(((len(lines), lines[0]) for lines in found.values()), reverse=True)
