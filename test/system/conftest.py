# SPDX-License-Identifier: GPL-2.0-or-later
"""The cluster of test/cluster, for tests: real jobs under real daemons. With
pytest-xdist (-n N) each worker has its own, of the number 1 to N."""
import os
import pathlib
import re

import pytest

from cluster import COMMAND, MANY, PACE, SLOW, TOP, V2, Cluster, Job, pace, sh, until  # noqa: F401 (tests take them from here)

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["SCKPT_TEST_INSTANCE"] = str(int(worker.removeprefix("gw")) + 1)


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true",
                     help="all points of test_kill.py, not only a part")


@pytest.fixture(scope="session")
def cluster():
    c = Cluster()
    c.install_subjects()
    return c


# A directory that outlives the machine (test/vm).
EVIDENCE = os.environ.get("SCKPT_TEST_EVIDENCE")


def note(item, report):
    """How each test ended, and after how long, when it has."""
    outcome, seconds = getattr(item, "noted", ("passed", 0))
    item.noted = (outcome if report.outcome == "passed" else report.outcome,
                  seconds + report.duration)
    if EVIDENCE and report.when == "teardown":
        with open(pathlib.Path(EVIDENCE) / "results", "a") as f:
            f.write(f"| `{item.path.name}::{item.name}` | {item.noted[0]} | {item.noted[1]:.0f} |\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What Slurm and the jobs said, beside every failure."""
    report = (yield).get_result()
    note(item, report)
    if report.when != "call" or not report.failed or "cluster" not in item.funcargs:
        return
    c = item.funcargs["cluster"]
    jobs = c.ctl("squeue -a -t all --sort=-i -o '%i %T %r %N'", check=False).stdout
    report.sections.append(("jobs", "\n".join(jobs.splitlines()[:12])))
    for user in ("user1", "user2"):
        files = [p for p in c.home(user).iterdir() if p.is_file() and p.stat().st_size
                 and (p.suffix in (".out", ".err") or re.match(r"(out|err)\b", p.name))]
        for p in sorted(files, key=lambda p: p.stat().st_mtime)[-4:]:
            said = [l for l in p.read_text(errors="replace").splitlines()
                    if not l.startswith("line ")]
            report.sections.append((f"{user}/{p.name}", "\n".join(said[-10:])))
        if EVIDENCE:
            sh("cp", "-r", "--no-preserve=all", c.home(user),
               pathlib.Path(EVIDENCE) / f"{item.name.replace('/', '_')}.{user}", check=False)


@pytest.fixture(autouse=True)
def clean(cluster):
    """Every test begins and ends with nothing running."""
    conf = cluster.etc / "sckpt.conf"
    conf.unlink(missing_ok=True)
    yield
    for user in ("user1", "user2"):  # it takes one name
        cluster.ctl(f"scancel -u {user}; scancel -s KILL -u {user}", user="root")
    conf.unlink(missing_ok=True)
    cluster.idle()
    for user in ("user1", "user2"):
        home = cluster.home(user)
        for p in home.iterdir():
            sh("rm", "-rf", p)
