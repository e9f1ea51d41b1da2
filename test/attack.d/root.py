# SPDX-License-Identifier: GPL-2.0-or-later
"""Root's own: its commands, its logs, its directories."""
import re
import subprocess

from attack import INSIDE, attack, must_not
from cluster import COMMAND, until


@attack("user1 waits for processes of sckpt --user user1, and takes root's terminal, environment and descriptors")
def root_terminal(c):
    job = c.saved("user1", end=False)
    over = c.inside(c.home("user1") / "over")
    watcher = subprocess.Popen([COMMAND, "run", "n1", "--user", "user1", "--", "python3",
                                f"{INSIDE}/watcher.py", over, "topsecret"], stdout=subprocess.PIPE,
                               text=True)
    assert watcher.stdout.readline() == "ready\n"
    commands = "; ".join(f"sckpt {x} --user user1" for x in (
        f"create {job.number}", "list", f"restart {job.number} --force", f"vacate {job.number}",
        f"check {job.number}", "prune"))
    # A terminal of root's, as script(1) makes one.
    c.run("n1", "export SECRET=topsecret; exec 7</root/.bashrc; "
          f"for i in 1 2; do script -qec '{commands}' /dev/null; done; touch {over}", user="root", check=False)
    seen, *had = watcher.communicate()[0].splitlines()
    assert "scontrol" in seen or "squeue" in seen, seen
    had = [x for x in had if x]
    must_not(had, "; ".join(had))
    return f"they have neither ({seen})"


NAMES = r"""
e=$'\e[31mX\nroot: all is well'
cd ~/.sckpt/test/%d
mkdir -m 700 "$e"; echo '{' >"$e/1-0.json"
mkdir -p -m 700 "../../$e/5/batch"; chmod -R go= "../../$e"; echo '{' >"../../$e/5/batch/1-0.json"
cp -r batch 0; sed -i 's/"node": *"/&\\u001b[32m/; s/"reason": *"/&\\n\\u001b]0;x\\u0007/' 0/*.json
"""


@attack("names and manifests in user1's store steer root's terminal")
def escapes(c):
    job = c.saved("user1")
    c.run("n1", NAMES % job.number)
    n, tried = job.number, 0
    for where in ("", "mkdir -m 755 ~/.sckpt/z$'\\e[33m'"):
        c.run("n1", where or "true")
        for what in ("list", f"list {n}", "verify --all", f"verify {n}", f"show {n}", f"show {n}.0", "report",
                     f"report {n}", f"remove {n} --dry-run", f"remove {n}.0:1 --dry-run", "list 5",
                     "prune --older-than 0s --dry-run", f"restart {n} --print", f"export {n}.0 /tmp/none",
                     f"create {n}", "list --json", "verify --all --json", "report --html -"):
            done = c.run("n1", f"sckpt {what} --user user1", user="root", check=False)
            said = done.stdout + done.stderr
            assert said, what
            must_not(re.search(r"[\x00-\x08\x0b-\x1f\x7f]|^root: all", said, re.M), f"sckpt {what}: {said!r}")
            tried += 1
    return f"control characters are not printed ({tried} commands)"


@attack("lines of slurmd's log are forged by words, names and what the supervisor says")
def forged_log(c):
    line = r"\n[2026-01-01T00:00:00.000] error: forged line"
    c.run("n1", f"""
export _SLURM_SPANK_OPTION_sckpt_checkpoint=$'dir=/nowhere{line} 1'
srun -n1 -w n1 true
export _SLURM_SPANK_OPTION_sckpt_checkpoint=$'restart=1.x{line} 2:1'
srun -n1 -w n1 true
export _SLURM_SPANK_OPTION_sckpt_checkpoint=$'x{line} 3'
srun -n1 -w n1 true
export _SLURM_SPANK_OPTION_sckpt_checkpoint=$'required,dir=/%h{line} 4'
srun -n1 -w n1 true
export _SLURM_SPANK_OPTION_sckpt_checkpoint_dir=$'/x{line} 5'
srun -n1 -w n1 true
unset _SLURM_SPANK_OPTION_sckpt_checkpoint _SLURM_SPANK_OPTION_sckpt_checkpoint_dir
srun -n1 -w n1 --checkpoint -J $'x{line} 6' --export=ALL,SLURMD_NODENAME=$'x{line} 7' true
true""", check=False)
    forged = [x for x in c.log("n1").splitlines() if x.startswith("[2026-01-01")]
    logged = [x for x in c.log("n1").splitlines() if "forged line" in x and "sckpt" in x]
    assert logged, "nothing of it was logged at all"
    must_not(forged, forged)
    return f"control characters become '?' ({len(logged)} lines of sckpt's with the words)"


RUN = r"""
for what in "mkdir /run/sckpt2" "mv /run/sckpt /run/x" "rm -rf /run/sckpt" "touch /run/sckpt/criu" \
	"ln -s /home/user1 /run/sckpt/y" "cp /etc/passwd /run/sckpt/criu.1" "mkfifo /run/sckpt/calls" \
	"chmod 777 /run/sckpt" "mount -t tmpfs x /run/sckpt" "mv $HOME/mine /run/sckpt"; do
	$what 2>/dev/null && echo "did: $what"
done
true
"""


@attack("/run/sckpt is made, moved, filled, linked and mounted over by user1")
def run_directory(c):
    c.run("n1", "srun -n1 -w n1 --checkpoint true")
    look = "ls -laR --time-style=full-iso /run/sckpt; cat /run/sckpt/criu"
    before = c.run("n1", look, user="root").stdout
    assert "criu" in before
    c.script("run.sh", RUN)
    out = c.run("n1", "srun -n1 -w n1 --checkpoint=off ./run.sh").stdout
    must_not(out, out)
    # In a protected step it is the step's own.
    c.run("n1", "srun -n1 -w n1 --checkpoint ./run.sh; "
          "srun -n1 -w n1 --checkpoint sh -c 'cp /etc/passwd /run/sckpt/criu; ln -s /etc /run/sckpt/x'",
          check=False)
    must_not(c.run("n1", look, user="root").stdout != before, "root's has changed")
    # And nobody's beside it.
    job = c.submit("--wrap", "touch /run/sckpt/mine; sleep 60", options="--checkpoint -w n1")
    agent = until("its agent", lambda: c.run("n1", "pgrep -f ^/usr/libexec/sckpt/sckpt-agent",
                                             user="root", check=False).stdout.strip())
    for user in ("user1", "user2"):
        done = c.run("n1", f"ls /proc/{agent}/root/run/sckpt", user=user, check=False)
        must_not(done.returncode == 0, f"{user} sees the step's own from beside it")
    job.cancel()
    return "it is root's 0755, and a step's own is in the step's mounts"


@attack("sckpt import --user: user1's directory leads root into one that is closed to user1")
def import_closed(c):
    job = c.saved("user1")
    c.run("n1", f"sckpt export {job.number} ~/ex")
    c.run("n1", "mkdir -p -m 700 /root/closed; cp -r /home/user1/ex /root/closed/pub; "
          "chmod 755 /root/closed/pub; chmod 644 /root/closed/pub/*", user="root")
    try:
        c.run("n1", "ln -s /root/closed/pub ~/link")
        done = c.run("n1", "sckpt import /home/user1/link --force --user user1", user="root", check=False)
        must_not(done.returncode == 0, done.stdout)
        # The same in the open: it is nothing else that stops it.
        assert c.run("n1", "sckpt import /home/user1/ex --force --user user1", user="root").stdout
    finally:
        c.run("n1", "rm -rf /root/closed", user="root")
    return done.stderr.strip()


def baits(c):
    """What criu, the loader and root's commands might take from user1's home; and the words for the
    environment that lead there."""
    c.run("n1", r"""
mkdir -p ~/.criu ~/bin
printf 'action-script /home/user1/bin/criu\nlog-file /home/user1/by-criu\nverbosity 4\n' |
	tee ~/.criu/default.conf >~/criu.conf
for n in criu squeue scontrol sbatch scancel sh sckpt-hook mail; do
	printf '#!/bin/sh\nid -u >>/home/user1/ran.%s\ncat /proc/$PPID/comm >>/home/user1/ran.%s\n' $n $n >~/bin/$n
done
chmod +x ~/bin/*; echo ': >/home/user1/by-bash' >~/bin/rc""")
    return ("PATH=/home/user1/bin:/usr/bin:/bin CRIU_CONFIG_FILE=/home/user1/criu.conf CRIU_LIBS_DIR=/home/user1 "
            "LD_DEBUG=files LD_DEBUG_OUTPUT=/home/user1/ld XDG_RUNTIME_DIR=/home/user1/xdg SCKPT_HOOK=/home/user1/hook "
            "SQUEUE_FORMAT=%i BASH_ENV=/home/user1/bin/rc GCONV_PATH=/home/user1 "
            "SLURM_CONF=/home/user1/slurm.conf SLURM_TIME_FORMAT=x")


@attack("settings of criu and of the loader, fake commands in PATH, and what is exported reach criu or root's code")
def configuration(c):
    export = baits(c)
    names = " ".join(x.partition("=")[0] for x in export.split())
    script = c.script("job.sh", f"export {export}; echo ready; sleep 6; echo done\n")
    job = c.submit(script, options="--requeue --checkpoint=every=2s -w n1 --export=ALL," + export.replace(" ", ","))
    job.wait_output("ready")
    until("a checkpoint", job.generations)
    c.ctl(f"scontrol requeue {job.number}")
    job.wait_output("done")
    job.wait_end()
    found = c.run("n1", "find /home/user1 -printf '%u %p\n'", user="root").stdout.splitlines()
    mine = c.run("n1", "ls; grep -l -e 'needed by /usr/sbin/criu' -e 'needed by /usr/libexec/sckpt' "
                 "-e 'needed by /usr/bin/s' ld.* | sed 's/^/loaded /'").stdout.splitlines()
    # They do reach what is the user's own.
    assert "ld.1001" in mine and "by-bash" in mine, mine
    must_not([x for x in found if x.startswith("root ")], found)
    bad = [x for x in mine if x.startswith(("ran.", "by-criu", "hook", "xdg", "loaded"))]
    must_not(bad, bad)
    return f"criu and the supervisor have environments of their own, without {names}"
