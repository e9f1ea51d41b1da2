# SPDX-License-Identifier: GPL-2.0-or-later
"""The jobs of the soak: each is decided by a random number, and what it will have
written in the end, to the byte, is known before it starts."""
import dataclasses
import functools
import hashlib
import random
import re
import subprocess
import sys

from cluster import TOP

SUBJECT = "/shared/subject"


@dataclasses.dataclass
class Plan:
    script: str
    files: dict  # name: all that is in it in the end
    options: str = "-n1"
    words: str = ""  # of --checkpoint, behind those that were drawn
    protected: bool = True  # the script; else it says --checkpoint itself
    tasks: int = 1
    calls: tuple = ()  # the word that each step's lines begin with, by srun's number


@functools.cache
def worked(kind, seed, units):
    """What work.py prints."""
    return subprocess.run(
        [sys.executable, TOP / "test/subject/work.py", kind, str(seed), str(units), "0"],
        capture_output=True, text=True, check=True).stdout


def pace(rng, seconds, units):
    return f"{rng.uniform(0.7, 1) * seconds / units:.3f}"


def said(word, count):
    return "".join(f"{word} {i}\n" for i in range(1, count + 1))


def says(word, count, delay, exit_code=0):
    """A program for a step."""
    return (f"bash -c 'for i in $(seq {count}); do echo {word} $i; sleep {delay}; done; "
            f"exit {exit_code}'")


def program(kind, rng, seconds):
    seed, units = rng.randrange(1 << 30), rng.randint(20, 60)
    return Plan(f"exec python3 {SUBJECT}/work.py {kind} {seed} {units} "
                f"{pace(rng, seconds, units)}\n", {"out": worked(kind, seed, units)})


def array(rng, seconds, tasks=0):
    seed, units = rng.randrange(1 << 30), rng.randint(20, 40)
    tasks = tasks or rng.randint(2, 4)
    return Plan(f"exec python3 {SUBJECT}/work.py heap $(({seed} + SLURM_ARRAY_TASK_ID)) {units} "
                f"{pace(rng, seconds, units)}\n",
                {f"out.{i}": worked("heap", seed + i, units) for i in range(1, tasks + 1)},
                tasks=tasks)


def writer(rng, seconds, words=""):
    """Four files at once; with in-place two more, in which it looks itself."""
    n = int(seconds / 0.06)
    return Plan(f"rm -f w.*; exec {SUBJECT}/writer.py {n} w {words}\n", {
        "out": said("out", n) + "end\n", "err": said("err", n),
        "w.append": said("append", n), "w.write": said("write", n)}, "-n1 -e err")


def pipeline(rng, seconds):
    n = rng.randint(100, 300)
    squares = "".join(f"{i} {i * i}\n" for i in range(1, n + 1))
    turned = "".join(l + "\n" for l in sorted(squares.splitlines(), reverse=True))
    return Plan(
        "set -o pipefail\n"
        f"for i in $(seq {n}); do echo $i; sleep {pace(rng, seconds, n)}; done |\n"
        "while read -r i; do echo $i $((i * i)); done | tee squares | LC_ALL=C sort -r |\n"
        "tee turned | sha256sum\necho ${PIPESTATUS[*]}\n",
        {"squares": squares, "turned": turned,
         "out": hashlib.sha256(turned.encode()).hexdigest() + "  -\n0 0 0 0 0 0\n"})


def steps(rng, seconds):
    """One after the other; the script's own variables and place count."""
    words = ["one", "two", "three", "four"][:rng.randint(2, 4)]
    script, out, states = "state=begin\n", "", ""
    for word in words:
        n, code = rng.randint(20, 60), rng.randint(0, 3)
        script += (f"srun {says(word, n, pace(rng, seconds / len(words), n), code)}\n"
                   f"state=\"$state {word}:$?\"\n")
        out += said(word, n)
        states += f" {word}:{code}"
    return Plan(script + "echo $state\n", {"out": out + f"begin{states}\n"}, calls=words)


def background(rng, seconds):
    words, script, waits, files = ["a", "b"], "", "", {"out": ""}
    for word in words:
        n, code = rng.randint(20, 60), rng.randint(0, 3)
        script += (f"srun -n1 --exact {says(word, n, pace(rng, seconds, n), code)} "
                   f">{word}.out 2>&1 & {word}=$!\n")
        waits += f"wait ${word}; echo {word} $?\n"
        files[f"{word}.out"] = said(word, n)
        files["out"] += f"{word} {code}\n"
    return Plan(script + waits, files, rng.choice(["-n2 -N1", "-n2"]), calls=words)


def step(rng, seconds):
    """The step alone is protected: the script starts from its top."""
    seed, units = rng.randrange(1 << 30), rng.randint(20, 60)
    return Plan("echo begins\n"
                f"srun --checkpoint python3 {SUBJECT}/work.py heap {seed} {units} "
                f"{pace(rng, seconds, units)}\necho ends $?\n",
                {"out": "begins\n" + worked("heap", seed, units) + "ends 0\n"},
                protected=False)


def slices(rng, seconds):
    """A minute is the least that Slurm knows as a limit."""
    n = rng.randint(150, 300)
    return Plan(f"for i in $(seq {n}); do echo line $i; sleep {90 / n:.3f}; done\n",
                {"out": said("line", n)}, "-n1 --time=1", "timelimit")


def step_slices(rng, seconds):
    """One after the other: which of two that start at once is Slurm's step 0 is
    chance, and the script starts from its top. Of what had ended all runs again in such a
    script: two that are each longer than a slice can take turns for ever."""
    files = {f"{word}.out": said(word, rng.randint(150, 250)) for word in "ab"}
    script = ""
    for word, length in ("a", 20), ("b", 80):
        n = files[f"{word}.out"].count("\n")
        script += (f"rm -f {word}.out; srun -n1 --exact --checkpoint=timelimit {says(word, n, f'{length / n:.3f}')} "
                   f">{word}.out 2>&1 &\nuntil [ -s {word}.out ]; do sleep 0.2; done\n")
    return Plan(script + "wait\necho all\n", {"out": "all\n", **files}, "-n2 -N1 --time=1",
                protected=False)


# Name: how often, what.
KINDS = {
    "heap": (3, lambda r, s: program("heap", r, s)),
    "threads": (2, lambda r, s: program("threads", r, s)),
    "children": (2, lambda r, s: program("children", r, s)),
    "array": (2, array),
    "append": (2, writer),
    "in-place": (1, lambda r, s: writer(r, s, "in-place")),
    "pipeline": (2, pipeline),
    "steps": (3, steps),
    "background": (3, background),
    "step": (2, step),
    "slices": (1, slices),
    "step-slices": (1, step_slices),
}


def draw(rng: random.Random, seconds_left):
    """A kind's name and a plan that can be done in that time; None if none can."""
    names = [n for n in KINDS if seconds_left >= (100 if "slices" in n else 40)]
    if not names:
        return None
    name = rng.choices(names, [KINDS[n][0] for n in names])[0]
    plan = KINDS[name][1](rng, rng.uniform(15, 40))
    words = [w for w in (plan.words, rng.choice(["", "", "every=4s", "every=10s", "every=auto"]))
             if w]
    if plan.protected:
        plan.options += " --checkpoint" + ("=" + ",".join(words) if words else "")
    return name, plan


# ---- afterwards ------------------------------------------------------------------

# srun has sent its question, and slurmctld is restarted before it answers
# (launch.c, launch_common_step_retry_errno: not among those it asks again for).
SLURMS_OWN = re.compile("srun: error: Unable to (create step|confirm allocation) for job \\d+: "
                        "Connection reset by peer")
NOISE = ("sckpt: ", "srun: ", "slurmstepd")
AFRESH = "sckpt: there is no checkpoint of srun-"


def written(text, calls):
    """What the program wrote: less what Slurm and sckpt say, and less the first
    lines of a step that, as sckpt says there, starts afresh in its script."""
    kept = []
    for line in text.splitlines(keepends=True):
        if line.startswith(AFRESH):
            word = calls[int(line[len(AFRESH):].split(":")[0]) - 1]
            before = [l for l in kept if l.startswith(word + " ")]
            if "".join(before) == said(word, len(before)):
                kept = [l for l in kept if not l.startswith(word + " ")]
        elif not line.startswith(NOISE):
            kept.append(line)
    return "".join(kept)


def spoilt(home, plan):
    """Slurm itself has failed the job, as it would have without sckpt: that line."""
    for name in plan.files:
        if (home / name).exists() and (m := SLURMS_OWN.search((home / name).read_text())):
            return m[0]
    return None


def difference(home, plan):
    """Why the result is wrong, or None."""
    for name, expected in plan.files.items():
        path = home / name
        if not path.exists():
            return f"{name} is not there"
        got = written(path.read_text(errors="replace"), plan.calls).splitlines()
        want = expected.splitlines()
        if got == want:
            continue
        at = next((i for i, (g, w) in enumerate(zip(got, want)) if g != w),
                  min(len(got), len(want)))
        return (f"{name} is wrong from line {at + 1} of {len(want)} on: it has "
                f"{got[at:at + 3]} of {len(got)} lines and not {want[at:at + 3]}")
    return None
