#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""forge.py DIR KIND: makes the program of exported images (sckpt export) more than its
user is, and the manifest's digests fit."""
import hashlib
import json
import pathlib
import sys

import pycriu

ALL = [0xffffffff, 0x1ff]
top, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
for path in top.glob("core-*.img"):
    if path.name == "core-1000.img":
        continue
    with path.open("rb") as f:
        image = pycriu.images.load(f)
    thread = image["entries"][0]["thread_core"]
    creds = thread["creds"]
    if kind in ("caps", "ambient"):
        for name in ("cap_inh", "cap_prm", "cap_eff", "cap_bnd") + (
                ("cap_amb",) if kind == "ambient" else ()):
            creds[name] = ALL
    elif kind == "more":
        # CAP_SYS_ADMIN beside CAP_CHECKPOINT_RESTORE: what the broker's criu has itself.
        for name in ("cap_inh", "cap_prm", "cap_eff", "cap_amb"):
            creds[name] = [1 << 21, 1 << 8]
    elif kind == "uid":
        for name in ("uid", "gid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid"):
            creds[name] = 0
    elif kind == "securebits":
        creds["secbits"] = 0x2f
    elif kind == "bound":
        creds["cap_bnd"] = ALL
        # Wherever this criu has it.
        for at in (creds, thread):
            if "no_new_privs" in at:
                at["no_new_privs"] = 0
    with path.open("wb") as f:
        pycriu.images.dump(image, f)
if kind == "root":
    with (top / "pstree.img").open("rb") as f:
        image = pycriu.images.load(f)
    for entry in image["entries"]:
        for name in ("pid", "ppid", "pgid", "sid"):
            entry[name] = 2000 if entry[name] == 1000 else entry[name]
    with (top / "pstree.img").open("wb") as f:
        pycriu.images.dump(image, f)
manifest = json.loads((top / "sckpt.json").read_text())
for image in manifest["images"]:
    data = (top / image["name"]).read_bytes()
    if not image["bulk"]:
        image["size"] = image["length"] = len(data)
        image["sha256"] = hashlib.sha256(data).hexdigest()
(top / "sckpt.json").write_text(json.dumps(manifest))
