# SPDX-License-Identifier: GPL-2.0-or-later
"""One step, one claimant: two nodes race for it, and a node that was cut off
comes back."""
import subprocess

from conftest import COMMAND, until

SUBJECT = "/shared/subject"
RACES = 100


def racer(cluster, node, path):
    """Claims run 1 to RACES, each as the other node does: both wait for the
    run's file, which appears for both at once."""
    script = (
        f"for i in $(seq {RACES}); do until [ -e {path}.go/$i ]; do :; done; "
        f"{SUBJECT}/generation claim {path} $i {node}; done")
    return subprocess.Popen(
        [str(COMMAND), "run", node, "--user", "user1", "--", "bash", "-c", script],
        stdout=subprocess.PIPE, text=True)


def test_hundred_races(cluster):
    home = cluster.home()
    cluster.run("n1", "mkdir -m 700 step step.go")
    here = cluster.inside(home / "step")
    racers = [racer(cluster, n, here) for n in cluster.nodes]
    go = home / "step.go"
    for i in range(1, RACES + 1):
        (go / str(i)).write_text("")
        # The next one begins when this one is decided for both.
        until(f"claim {i}", lambda i=i: (home / "step" / f"claim.{i}").exists())
    said = [r.communicate(timeout=120)[0].splitlines() for r in racers]
    wins = {n: 0 for n in cluster.nodes}
    for i, (one, two) in enumerate(zip(*said), 1):
        assert sorted(["claimed" in one, "claimed" in two]) == [False, True], (i, one, two)
        winner = cluster.nodes[0] if one == "claimed" else cluster.nodes[1]
        loser = two if one == "claimed" else one
        # It is told who was first; or the race for the next run was on already.
        assert f"on {winner}" in loser or "a later run of this step" in loser, loser
        assert f'"node": "{winner}"' in (home / "step" / f"claim.{i}").read_text()
        wins[winner] += 1
    assert len(said[0]) == len(said[1]) == RACES
    print("wins:", wins)
    # No file of a claim in the making is left.
    assert [p.name for p in (home / "step").iterdir()
            if not p.name.startswith("claim.")] == []


def test_cut_off_node_cannot_publish(cluster):
    """n1 has written everything and not published yet when it is cut off; the
    job goes on on n2, and n1 comes back."""
    home = cluster.home()
    cluster.run("n1", f"mkdir -m 700 step; {SUBJECT}/generation claim step 0 n1")
    here = cluster.inside(home / "step")
    late = subprocess.Popen(
        [str(COMMAND), "run", "n1", "--user", "user1", "--", f"{SUBJECT}/generation",
         "publish", here, "0", "n1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert late.stdout.readline() == "written\n"
    subprocess.run([str(COMMAND), "cut", "n1"], check=True)
    try:
        assert cluster.run("n2", f"{SUBJECT}/generation claim step 1 n2").stdout == "claimed\n"
        said = cluster.run("n2", f"echo go | {SUBJECT}/generation publish step 1 n2").stdout
        assert said.splitlines()[-1].startswith("published ")
        out, _ = late.communicate("go\n", timeout=60)
    finally:
        subprocess.run([str(COMMAND), "join", "n1"], check=True)
    assert out == "the job goes on on n2 since: this run may not save any more\n"
    assert late.returncode == 1
    lines = cluster.run("n2", f"{SUBJECT}/generation verify step").stdout.splitlines()
    assert [l.split()[0].split("-")[1] for l in lines] == ["1"]
    until("n1 to be back", lambda: cluster.ctl(
        "sinfo -h -N -p low -n n1 -o %T").stdout.split() == ["idle"], 150)
