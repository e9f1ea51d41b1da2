#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""faulty.py DIR STATE: mounts a file system over DIR that shows what DIR has,
and fails as the file STATE/fault says:

    none       it works
    write      writing gives EIO
    fsync      fsync gives EIO, of files and of directories
    full       writing gives ENOSPC
    readonly   whatever changes something gives EROFS
    hang       nothing is answered until STATE/fault says something else

What it refused or held, and for which process, is noted in STATE/seen. Ends when DIR is unmounted. It speaks the
kernel's own protocol (linux/fuse.h) and needs nothing but python3 and root."""
import ctypes
import errno
import os
import pathlib
import struct
import sys
import time

(LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE,
 STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE,
 INTERRUPT, DESTROY, BATCH_FORGET, RENAME2) = (
     1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 25, 26, 27, 28, 29, 30, 35,
     36, 38, 42, 45)
CHANGES = (SETATTR, MKDIR, UNLINK, RMDIR, RENAME, RENAME2, LINK, WRITE, CREATE)
FAULTS = {"write": (errno.EIO, (WRITE,)), "fsync": (errno.EIO, (FSYNC, FSYNCDIR)),
          "full": (errno.ENOSPC, (WRITE,)), "readonly": (errno.EROFS, CHANGES)}
MAX_WRITE = 128 << 10
ROOT = 1


def attributes(st):
    times = [t for t in (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns)]
    return struct.pack("<6Q10I", st.st_ino, st.st_size, st.st_blocks,
                       *(t // 10**9 for t in times), *(t % 10**9 for t in times),
                       st.st_mode, st.st_nlink, st.st_uid, st.st_gid, 0, 4096, 0)


class FileSystem:
    def __init__(self, directory, state):
        self.state = state
        # A node's number, an O_PATH descriptor of it, how often the kernel has it.
        self.nodes = {ROOT: [os.open(directory, os.O_PATH | os.O_DIRECTORY), 1]}
        self.numbers = {}
        self.lists = {}
        self.next = ROOT + 1

    def path(self, node):
        return f"/proc/self/fd/{self.nodes[node][0]}"

    def dir(self, node):
        return self.nodes[node][0]

    def entry(self, node, name):
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.dir(node))
        st = os.fstat(fd)
        number = self.numbers.get((st.st_dev, st.st_ino))
        if number:
            os.close(fd)
            self.nodes[number][1] += 1
        else:
            number, self.next = self.next, self.next + 1
            self.numbers[st.st_dev, st.st_ino] = number
            self.nodes[number] = [fd, 1]
        return struct.pack("<4Q2I", number, 0, 0, 0, 0, 0) + attributes(st)

    def forget(self, node, times):
        known = self.nodes[node]
        known[1] -= times
        if known[1] <= 0 and node != ROOT:
            st = os.fstat(known[0])
            del self.numbers[st.st_dev, st.st_ino], self.nodes[node]
            os.close(known[0])

    def attr(self, node):
        return struct.pack("<Q2I", 0, 0, 0) + attributes(os.fstat(self.dir(node)))

    # One method for each request: the header's node, who asks, what follows.

    def lookup(self, node, who, data):
        return self.entry(node, data.rstrip(b"\0"))

    def getattr(self, node, who, data):
        return self.attr(node)

    def setattr(self, node, who, data):
        (valid, _, _, size, _, _, _, _, _, _, _, mode, _, uid, gid, _) = struct.unpack_from(
            "<2I6Q8I", data)
        if valid & 6:
            os.chown(self.path(node), uid if valid & 2 else -1, gid if valid & 4 else -1)
        if valid & 1:
            os.chmod(self.path(node), mode & 0o7777)
        if valid & 8:
            os.truncate(self.path(node), size)
        return self.attr(node)

    def mkdir(self, node, who, data):
        (mode,), name = struct.unpack_from("<I", data), data[8:].rstrip(b"\0")
        os.mkdir(name, mode, dir_fd=self.dir(node))
        os.chown(name, *who, dir_fd=self.dir(node))
        return self.entry(node, name)

    def unlink(self, node, who, data):
        os.unlink(data.rstrip(b"\0"), dir_fd=self.dir(node))

    def rmdir(self, node, who, data):
        os.rmdir(data.rstrip(b"\0"), dir_fd=self.dir(node))

    def rename(self, node, who, data, skip=8):
        (to,), names = struct.unpack_from("<Q", data), data[skip:].split(b"\0")
        os.rename(names[0], names[1], src_dir_fd=self.dir(node), dst_dir_fd=self.dir(to))

    def rename2(self, node, who, data):
        if struct.unpack_from("<I", data, 8)[0]:
            raise OSError(errno.EINVAL, "no flags")
        self.rename(node, who, data, 16)

    def link(self, node, who, data):
        (old,), name = struct.unpack_from("<Q", data), data[8:].rstrip(b"\0")
        os.link(self.path(old), name, dst_dir_fd=self.dir(node), follow_symlinks=True)
        return self.entry(node, name)

    def open(self, node, who, data):
        flags, = struct.unpack_from("<I", data)
        keep = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND
        return struct.pack("<Q2I", os.open(self.path(node), flags & keep), 0, 0)

    def create(self, node, who, data):
        flags, mode = struct.unpack_from("<2I", data)
        name = data[16:].rstrip(b"\0")
        keep = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND | os.O_EXCL
        fd = os.open(name, flags & keep | os.O_CREAT, mode & 0o7777, dir_fd=self.dir(node))
        os.fchown(fd, *who)
        return self.entry(node, name) + struct.pack("<Q2I", fd, 0, 0)

    def read(self, node, who, data):
        fd, offset, size = struct.unpack_from("<2QI", data)
        return os.pread(fd, size, offset)

    def write(self, node, who, data):
        fd, offset, size = struct.unpack_from("<2QI", data)
        return struct.pack("<2I", os.pwrite(fd, data[40:40 + size], offset), 0)

    def statfs(self, node, who, data):
        s = os.statvfs(self.path(node))
        return struct.pack("<5Q4I24x", s.f_blocks, s.f_bfree, s.f_bavail, s.f_files,
                           s.f_ffree, s.f_bsize, s.f_namemax, s.f_frsize, 0)

    def release(self, node, who, data):
        os.close(struct.unpack_from("<Q", data)[0])

    def fsync(self, node, who, data):
        os.fsync(struct.unpack_from("<Q", data)[0])

    def flush(self, node, who, data):
        pass

    def opendir(self, node, who, data):
        fd = os.open(self.path(node), os.O_RDONLY | os.O_DIRECTORY)
        self.lists[fd] = [b".", b".."] + sorted(os.fsencode(n) for n in os.listdir(fd))
        return struct.pack("<Q2I", fd, 0, 0)

    def readdir(self, node, who, data):
        fd, offset, size = struct.unpack_from("<2QI", data)
        out = b""
        for number, name in enumerate(self.lists[fd][offset:], offset + 1):
            one = struct.pack("<2Q2I", number, number, len(name), 0) + name
            one += b"\0" * (-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return out

    def releasedir(self, node, who, data):
        fd, = struct.unpack_from("<Q", data)
        del self.lists[fd]
        os.close(fd)

    def fsyncdir(self, node, who, data):
        self.fsync(node, who, data)

    def init(self, node, who, data):
        big_writes, atomic_o_trunc = 1 << 5, 1 << 3
        return struct.pack("<4I2H2I2H32x", 7, 31, 0, big_writes | atomic_o_trunc, 0, 0,
                           MAX_WRITE, 1, 0, 0)

    # ---- how it fails ------------------------------------------------------------

    def fault(self):
        return (self.state / "fault").read_text().strip()

    def note(self, name, what):
        with open(self.state / "seen", "a") as f:
            f.write(f"{name} {what}\n")

    def answer(self, opcode, node, who, data):
        """An error, 0 if none, and the answer's bytes."""
        name = NAMES.get(opcode)
        if not name:
            return errno.ENOSYS, b""
        fault = self.fault()
        if fault == "hang":
            self.note(name, f"{fault} {self.pid}")
            while (fault := self.fault()) == "hang":
                time.sleep(0.05)
        number, which = FAULTS.get(fault, (0, ()))
        writing = opcode == OPEN and struct.unpack_from("<I", data)[0] & os.O_ACCMODE
        if opcode in which or (fault == "readonly" and writing):
            self.note(name, fault)
            return number, b""
        try:
            return 0, getattr(self, name)(node, who, data) or b""
        except OSError as e:
            return e.errno, b""

    def serve(self, device):
        while True:
            try:
                request = os.read(device, MAX_WRITE + (64 << 10))
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # unmounted
            _, opcode, unique, node, uid, gid, self.pid = struct.unpack_from("<2I2Q3I", request)
            data = request[40:]
            if opcode == FORGET:
                self.forget(node, *struct.unpack_from("<Q", data))
            elif opcode == BATCH_FORGET:
                for i in range(struct.unpack_from("<I", data)[0]):
                    self.forget(*struct.unpack_from("<2Q", data, 8 + 16 * i))
            elif opcode not in (INTERRUPT, DESTROY):
                number, out = self.answer(opcode, node, (uid, gid), data)
                try:
                    os.write(device, struct.pack("<IiQ", 16 + len(out), -number, unique) + out)
                except OSError as e:
                    if e.errno != errno.ENOENT:  # whoever asked was killed
                        raise


NAMES = {number: name.lower() for name, number in list(globals().items())
         if name.isupper() and hasattr(FileSystem, name.lower())}


def mount(directory):
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = (f"fd={device},rootmode=40000,user_id=0,group_id=0,"
               "allow_other,default_permissions")
    nosuid, nodev = 2, 4
    if libc.mount(b"faulty", os.fsencode(directory), b"fuse", nosuid | nodev,
                  options.encode()):
        sys.exit(f"cannot mount on {directory}: {os.strerror(ctypes.get_errno())}")
    return device


def leave_stdio():
    """Whoever has started it may go on."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def main():
    directory, state = sys.argv[1], pathlib.Path(sys.argv[2])
    os.umask(0)
    fs = FileSystem(directory, state)
    device = mount(directory)
    # In the background from here on: the caller goes on with all mounted.
    if os.fork():
        os._exit(0)
    os.setsid()
    leave_stdio()
    fs.serve(device)


if __name__ == "__main__":
    main()
