# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage of every kind, in every file of a generation, of a real dump: verify
finds each, and a restore goes down the ladder and says why."""
import re
import shutil

import pytest

from conftest import MANY, until

SUBJECT = "/shared/subject"


def own(path):
    shutil.chown(path, 1001, 1001)
    path.chmod(0o600)


def two_generations(cluster):
    """A job with two generations, the second leaning on the first, that waits
    in the queue; returns it and its store."""
    script = cluster.script("job.sh", f"exec {SUBJECT}/ender {MANY // 10} exit 0\n")
    job = cluster.submit(script, options="--requeue --checkpoint")
    at = 0
    # Held, not to run before it is damaged.
    for n, requeue in ((1, "requeue"), (2, "requeuehold")):
        job.wait_output(f"^line {at + 20}$")
        job.cluster.ctl(f"scontrol {requeue} {job.number}")
        until(f"dump {n}", lambda n=n: job.generations() == list(range(1, n + 1)))
        # It stands still then: what is said after that is the next run's.
        at = len(job.text().splitlines())
    until("the requeue", lambda: job.state == ["PENDING"])
    d = job.store()
    assert job.verify() == ["2-1 whole", "1-0 whole"]
    return job, d


def offsets(size):
    """Every byte of a small file, both ends and some of the middle of others."""
    if size <= 64:
        return list(range(size))
    return sorted({0, 1, 7, 8, 15, 16, size // 3, size // 2, 2 * size // 3,
                   size - 9, size - 2, size - 1})


def test_every_kind_is_found(cluster):
    job, d = two_generations(cluster)
    try:
        mine = sorted(p for p in d.iterdir() if p.name.startswith("2-1."))
        kinds = [re.sub(r"\.\d+\.", ".N.", p.name) for p in mine]
        assert sorted(set(kinds)) == ["2-1.N.pack", "2-1.json", "2-1.meta", "2-1.seal"]
        found = 0

        def damaged(what):
            nonlocal found
            lines = job.verify()
            assert len(lines) == 2, (what, lines)
            assert re.match(r"^2-1: .{10}", lines[0]), (what, lines)
            assert lines[1] == "1-0 whole", (what, lines)
            found += 1

        for p in mine:
            good = p.read_bytes()
            size = len(good)
            for at in offsets(size):
                bad = bytearray(good)
                bad[at] ^= 1 << (at % 8)
                p.write_bytes(bad)
                damaged(f"{p.name}: a bit of byte {at}")
            for at in {0, 1, size // 2, size - 1}:
                p.write_bytes(good[:at])
                damaged(f"{p.name}: cut to {at} bytes")
            p.write_bytes(good + b"x")
            damaged(f"{p.name}: longer")
            other = p.with_name(p.name.replace("2-1.", "1-0.", 1))
            if other.exists():
                p.write_bytes(other.read_bytes())
                damaged(f"{p.name}: generation 1's")
            if p.suffix != ".json":
                p.unlink()
                damaged(f"{p.name}: gone")
            p.write_bytes(good)
            own(p)
        # Rolled back to the older manifest, with its own seal.
        was = {s: (d / f"2-1.{s}").read_bytes() for s in ("json", "seal")}
        for s in was:
            (d / f"2-1.{s}").write_bytes((d / f"1-0.{s}").read_bytes())
        damaged("rolled back")
        for s, text in was.items():
            (d / f"2-1.{s}").write_bytes(text)
        # The same manifest, sealed by somebody else.
        (cluster.shared / "text").write_bytes(was["json"])
        (cluster.shared / "text").chmod(0o644)
        (d / "2-1.seal").write_text(cluster.run(
            "n1", "sha256sum /shared/text | cut -c-64 | tr a-f A-F | "
            "python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))' "
            "| munge", user="user2").stdout.strip())
        lines = job.verify()
        assert lines[0] == "2-1: it was sealed by user id 1002, and is to be of 1001"
        found += 1
        (d / "2-1.seal").write_bytes(was["seal"])
        # The packs that it leans on are the first one's, too: both are lost.
        lean = [p["name"] for p in job.manifest()["packs"] if p["name"].startswith("1-0.")]
        assert lean, "the second generation leans on nothing"
        pack = d / lean[0]
        good = pack.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 4
        pack.write_bytes(bad)
        lines = job.verify()
        assert all(": " in l and "damaged" in l for l in lines) and len(lines) == 2, lines
        pack.write_bytes(good)
        assert job.verify() == ["2-1 whole", "1-0 whole"]
        print("kinds of damage found:", found)
        # And it goes on, after all that.
        cluster.ctl(f"scontrol release {job.number}")
        assert job.finish() == ["COMPLETED"]
        assert job.text().splitlines() == [f"line {i}" for i in range(1, MANY + 1)]
    finally:
        job.cancel()


# That each kind of damage is found in each file is shown above; here, that a
# restore refuses it in words and takes the generation before.
@pytest.mark.parametrize("what, how", [("pack", "bit"), ("seal", "gone")])
def test_restore_goes_down_the_ladder(cluster, what, how):
    job, d = two_generations(cluster)
    p = next(p for p in d.iterdir() if p.name.startswith("2-1.") and p.suffix == f".{what}")
    good = p.read_bytes()
    if how == "bit":
        bad = bytearray(good)
        bad[len(good) // 2] ^= 1
        p.write_bytes(bad)
    elif how == "cut":
        p.write_bytes(good[:len(good) // 2])
    else:
        p.unlink()
    cluster.ctl(f"scontrol release {job.number}")
    assert job.finish() == ["COMPLETED"]
    lines = job.text().splitlines()
    assert [l for l in lines if l.startswith("line")] == [f"line {i}" for i in range(1, MANY + 1)]
    said = [l for l in lines if l.startswith("sckpt: ")]
    if (what, how) == ("json", "gone"):
        assert said == []  # then it is not there
    else:
        assert len(said) == 1 and f"step {job.number}.batch: generation 2: " in said[0], said


def test_nothing_left_to_go_on_from(cluster):
    job, d = two_generations(cluster)
    for p in list(d.iterdir()):
        if p.suffix == ".pack":
            p.unlink()
    cluster.ctl(f"scontrol release {job.number}")
    until("the hold", lambda: job.record()["state_reason"] == "JobHeldUser")
    until("its end", lambda: job.state == ["PENDING"])
    for g in (1, 2):
        assert re.search(rf"cannot go on: .*generation {g}: \S+\.pack is missing", job.text()), job.text()
    assert job.generations() == [1, 2]
    job.cancel()


def test_held_though_slurmctld_is_away_at_first(cluster):
    """It may be starting itself."""
    job, d = two_generations(cluster)
    for p in d.glob("*.pack"):
        p.write_bytes(p.read_bytes()[:100])
    away = ("n=$(cat /home/user1/asked 2>/dev/null || echo 0)\n"
            "echo $((n + 1)) >/home/user1/asked\n"
            "[ $n -ge 3 ] && exec /usr/bin/scontrol.real \"$@\"\n"
            "exit 1\n")
    with cluster.replaced("scontrol", away):
        cluster.ctl(f"scontrol release {job.number} && scontrol update job {job.number} StartTime=now || true", user="root")
        job.wait_output("the job is held and its checkpoints are kept")
    until("it to be held", lambda: job.state == ["PENDING"] and job.record()["hold"])
    job.cancel()
