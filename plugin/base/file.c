/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files and directories that only their owner may touch. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "sckpt/base.h"

int file_write(int fd, const void *data, size_t size, struct err *e)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot write");
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int copy_through_memory(int from, int64_t at, int to, int64_t size,
			       struct err *e)
{
	const size_t room = 1 << 20;
	cleanup_free char *buf = malloc(room);

	if (!buf)
		return err_sys(e, "cannot copy");
	while (size > 0) {
		ssize_t n = pread(from, buf,
				  size < (int64_t)room ? (size_t)size : room, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? err_sys(e, "cannot read") :
				   err_set(e, "it became shorter meanwhile");
		if (file_write(to, buf, (size_t)n, e) < 0)
			return -1;
		at += n;
		size -= n;
	}
	return 0;
}

/* Bytes that are no hole. */
static int copy_data(int from, int64_t at, int to, int64_t size, struct err *e)
{
	while (size > 0) {
		loff_t where = at;
		ssize_t n = copy_file_range(from, &where, to, NULL,
					    size < 1 << 30 ? (size_t)size : 1 << 30,
					    0);

		if (n <= 0) /* not between these two, or not here */
			return copy_through_memory(from, at, to, size, e);
		at += n;
		size -= n;
	}
	return 0;
}

/* Where data begins, `at` or later; `end` if before that is only a hole. */
static int64_t next_data(int fd, int64_t at, int64_t end)
{
	int64_t data = lseek(fd, at, SEEK_DATA);
	struct stat st;

	if (data >= 0)
		return data < end ? data : end;
	/* Behind the end of the file is no hole. */
	return errno == ENXIO && fstat(fd, &st) == 0 && st.st_size >= end ? end : at;
}

int file_copy(int from, int64_t at, int to, int64_t size, struct err *e)
{
	const int64_t end = at + size;
	struct stat a, b;
	off_t now;

	/* Of whole files only: anything else would have to be aligned. */
	if (at == 0 && fstat(from, &a) == 0 && a.st_size == size &&
	    fstat(to, &b) == 0 && b.st_size == 0 && ioctl(to, FICLONE, from) == 0)
		return 0;
	while (at < end) {
		int64_t data = next_data(from, at, end), hole;

		if (data > at) {
			if (lseek(to, data - at, SEEK_CUR) < 0)
				return err_sys(e, "cannot copy");
			at = data;
			continue;
		}
		hole = lseek(from, at, SEEK_HOLE);
		hole = hole <= at || hole > end ? end : hole;
		if (copy_data(from, at, to, hole - at, e) < 0)
			return -1;
		at = hole;
	}
	/* A hole at the end has to be there, too. */
	if ((now = lseek(to, 0, SEEK_CUR)) < 0 || fstat(to, &b) < 0 ||
	    (b.st_size < now && ftruncate(to, now) < 0))
		return err_sys(e, "cannot copy");
	return 0;
}

ssize_t file_read(int dirfd, const char *name, size_t max, char **data,
		  struct err *e)
{
	/* In a directory of ours lie plain files: anything else is somebody's
	 * doing, and is neither followed nor waited for. */
	const int plain = dirfd == AT_FDCWD ? 0 : O_NOFOLLOW | O_NONBLOCK;
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | plain);
	cleanup_free char *buf = NULL;
	size_t room = 4096, size = 0;
	ssize_t n;

	if (fd < 0)
		return err_sys(e, "cannot open %s", name);
	/* Files of /proc have no size of their own: read until the end. */
	for (;;) {
		char *more;

		room = size + 1 >= room ? room * 2 : room;
		if (!(more = realloc(buf, room)))
			return err_sys(e, "cannot read %s", name);
		buf = more;
		n = read(fd, buf + size, room - size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot read %s", name);
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > max)
			return err_set(e, "%s is larger than %zu bytes", name,
				       max);
	}
	buf[size] = '\0';
	*data = buf;
	buf = NULL;
	return (ssize_t)size;
}

int dir_private(int dirfd, const char *name, bool make, struct err *e)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (make && mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make directory %s", name);
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "cannot open directory %s", name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot look at directory %s", name);
	errno = EPERM;
	if (st.st_uid != geteuid())
		return err_set(e, "directory %s belongs to user id %u, not to %u",
			       name, st.st_uid, geteuid());
	if (st.st_mode & 077)
		return err_set(e, "directory %s is open to others (mode %03o): chmod 700 it",
			       name, st.st_mode & 0777);
	return steal_fd(&fd);
}

int tree_remove(int dirfd, const char *name, struct err *e)
{
	struct dirent *entry;
	int fd, rc = 0;
	DIR *dir;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(e, "cannot remove %s", name);
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "cannot remove %s", name);
	if (!(dir = fdopendir(fd))) {
		close(fd);
		return err_sys(e, "cannot remove %s", name);
	}
	while (rc == 0 && (errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			rc = tree_remove(fd, entry->d_name, e);
	closedir(dir);
	if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 &&
	    errno != ENOENT)
		rc = err_sys(e, "cannot remove directory %s", name);
	return rc;
}
