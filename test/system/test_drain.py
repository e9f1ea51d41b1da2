# SPDX-License-Identifier: GPL-2.0-or-later
"""criu hands pages over by reference and writes into the program's code after
that (plugin/criu/drain.c): by then the agent has read them, however late it is.
strace holds up the agent before it gets each pipe, and shows who did what in which order."""
import re

from test_faults import answer, injected, order, start

LENT = re.compile(r"splice\(\d+<.*?>, NULL, \d+<(pipe:\[\d+\])>, .*\) += (\d+)")
READ = re.compile(r"read\(\d+<(pipe:\[\d+\])>, .*\) += (\d+)")
WAITED = re.compile(r"ppoll\(\[\{fd=\d+<(pipe:\[\d+\])>, events=0\}\]")
POKED = re.compile(r"ptrace\(PTRACE_POKEDATA, .*= 0")


def events(trace):
    """The calls, each whole and where it ended."""
    begun = {}
    for line in trace.splitlines():
        pid, _, call = line.strip().partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
            continue
        if (m := re.match(r"<\.\.\. \w+ resumed>(.*)", call)) and pid in begun:
            call = begun.pop(pid) + m[1]
        yield call


def criu_waited(trace):
    """Nothing that it lent was written to before it was read; and did it have to wait for that?"""
    lent, read, pokes, waited = {}, {}, 0, set()
    for call in events(trace):
        if m := LENT.match(call):
            lent[m[1]] = lent.get(m[1], 0) + int(m[2])
        elif m := READ.match(call):
            read[m[1]] = read.get(m[1], 0) + int(m[2])
        elif m := WAITED.match(call):
            waited.add(m[1])
        elif POKED.match(call):
            # criu puts its parasite in before it has lent anything.
            pokes += bool(lent)
            for pipe, size in lent.items():
                assert read.get(pipe, 0) >= size, "it writes over pages that are not read yet"
    # The root and the program; criu took leave of them after that.
    assert len(lent) >= 2 and pokes >= 2
    return waited & set(lent)


def test_nothing_lent_is_written_to(cluster):
    job = start(cluster)
    # The first criu probes the kernel with a child that asks to be traced.
    order(cluster, job, "first")
    assert answer(cluster, job, "first") is None
    # On a busy machine criu can be slower than the agent, held up as it is.
    for late in range(5):
        with injected(cluster, job, "recvmsg:delay_enter=300000",
                      "-yy -s 1 -e trace=recvmsg,read,splice,ptrace,ppoll"):
            order(cluster, job, f"late-{late}")
            assert answer(cluster, job, f"late-{late}") is None
        if criu_waited(cluster.run(job.node, "cat /tmp/trace", user="root").stdout):
            return
    raise AssertionError("the agent was never late")
