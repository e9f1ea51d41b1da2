/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only this node has: files below /tmp and the like (local= of sckpt.conf)
 * and $TMPDIR. The next node has other ones there, or none. What the program
 * has open of it, and the directories that it is in, therefore travel with the
 * images (files.c takes the content, rewind.c brings it back). Only what is
 * the user's own: the rest is the system's, and every node has it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "files.h"

/* Is it below dir (`size` bytes of it)? */
static bool below(const char *path, const char *dir, size_t size)
{
	while (size && dir[size - 1] == '/')
		size--;
	return size && !strncmp(path, dir, size) && path[size] == '/';
}

/* linux/magic.h, and the ones that are not in the kernel's tree. */
static bool is_shared_type(const char *path)
{
	static const uint32_t types[] = {
		0x6969, /* NFS */
		0x00c36400, /* Ceph */
		0x01021997, /* 9P */
		0x0bd00bd0, /* Lustre */
		0x19830326, /* BeeGFS */
		0x20030528, /* OrangeFS */
		0x47504653, /* Storage Scale */
		0x517b, /* SMB */
		0x5346414f, /* AFS */
		0x65735546, /* FUSE */
		0x7461636f, /* OCFS2 */
		0xaad7aaea, /* PanFS */
		0xfe534d42, /* SMB 2 */
		0xff534d42, /* CIFS */
	};
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if ((uint32_t)fs.f_type == types[i])
			return true;
	return false;
}

/* Where links lead, for the kernel names what is open so. NULL: it is not there. */
static const char *real_name(const char *dir, size_t size)
{
	static struct known {
		struct known *next;
		char *name, *real;
	} *all;
	struct known *k;

	for (k = all; k; k = k->next)
		if (strlen(k->name) == size && !memcmp(k->name, dir, size))
			return k->real;
	if (!(k = calloc(1, sizeof(*k))))
		return NULL;
	k->name = strndup(dir, size);
	k->real = k->name ? realpath(k->name, NULL) : NULL;
	if (!k->real) {
		free(k->name);
		free(k);
		return NULL;
	}
	k->next = all;
	all = k;
	return k->real;
}

/* How many bytes of path are that directory, by either name; 0: it is not below it. */
static size_t size_below(const char *path, const char *dir, size_t size)
{
	const char *real;

	if (below(path, dir, size))
		return size;
	real = real_name(dir, size);
	return real && below(path, real, strlen(real)) ? strlen(real) : 0;
}

/* How many bytes of path are the directory that every node has for itself; 0:
 * none of it. */
static size_t root_of(const struct step *step, const char *path)
{
	const char *dirs = step->spec.limits.local, *tmp = getenv("TMPDIR");
	size_t size = 0, n;

	for (; *dirs && !size; dirs += n + (dirs[n] == ':')) {
		n = strcspn(dirs, ":");
		size = size_below(path, dirs, n);
	}
	if (size || !tmp)
		return size;
	/* Sites point it at a shared file system, too. */
	size = size_below(path, tmp, strlen(tmp));
	return size && !is_shared_type(tmp) ? size : 0;
}

bool local_is(const struct step *step, const char *path)
{
	return root_of(step, path) > 0;
}

int local_parents(const struct step *step, const char *path,
		  int (*add)(const char *dir, const struct stat *st, void *arg),
		  void *arg)
{
	cleanup_free char *dir = strdup(path);
	size_t size = root_of(step, path);
	struct stat st;

	if (!dir)
		return -1;
	while (size && dir[size] == '/') {
		size_t next = size + 1 + strcspn(dir + size + 1, "/");

		if (path[next] != '/')
			break;
		dir[next] = '\0';
		if (lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
		    st.st_uid == geteuid() && add(dir, &st, arg) < 0)
			return -1;
		dir[next] = '/';
		size = next;
	}
	return 0;
}

int local_check(const struct manifest_file *f, struct err *e)
{
	struct stat st;

	if (lstat(f->path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%.400s", f->path);
	if (st.st_uid != geteuid())
		return err_set(e, "%.400s is another user's on this node", f->path);
	if ((st.st_mode & S_IFMT) !=
	    (manifest_is_name(f) ? f->mode & S_IFMT : S_IFREG))
		return err_set(e, "%.400s is no %s on this node", f->path,
			       S_ISDIR(f->mode)	 ? "directory" :
			       S_ISFIFO(f->mode) ? "named pipe" :
						   "plain file");
	return 0;
}

int local_make_name(const struct manifest_file *f, mode_t *was, struct err *e)
{
	const mode_t mode = (mode_t)f->mode & 07777;
	struct stat st;

	*was = 0;
	if ((S_ISDIR(f->mode) ? mkdir : mkfifo)(f->path, mode) < 0) {
		if (errno != EEXIST)
			return err_sys(e, "cannot make %.400s", f->path);
		/* Whoever was first here since it was looked at has it. */
		if (local_check(f, e) < 0)
			return -1;
		if (lstat(f->path, &st) < 0)
			return err_sys(e, "%.400s", f->path);
		*was = st.st_mode;
	}
	/* Whatever the umask is; criu compares it. Of a directory that is
	 * local_settle_name's. */
	return chmod(f->path, S_ISDIR(f->mode) ? mode | 0700 : mode) < 0 ?
		       err_sys(e, "%.400s", f->path) :
		       0;
}

int local_settle_name(const struct manifest_file *f, struct err *e)
{
	return chmod(f->path, (mode_t)f->mode & 07777) < 0 ?
		       err_sys(e, "%.400s", f->path) :
		       0;
}

void local_remove(int dir, const char *name)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;
	bool shut = fstat(dir, &st) == 0 && (st.st_mode & 0300) != 0300 &&
		    fchmod(dir, (st.st_mode & 07777) | 0700) == 0;

	tree_remove(dir, name, NULL);
	if (!shut)
		return;
	times[1] = st.st_mtim;
	futimens(dir, times);
	fchmod(dir, st.st_mode & 07777);
}

/* Another program may have made a file of that name, and been given that inode. */
static bool is_as_left(const struct manifest_file *was, const struct stat *st)
{
	return was->local && was->inode == st->st_ino && was->size == st->st_size &&
	       was->mtime_ns == files_mtime(st);
}

void local_find_left(const struct step *step, const struct manifest *m,
		     const struct stat files[], bool left[])
{
	cleanup_free struct generation *list = NULL;
	int count = store_generations(&step->store, &list, NULL);

	for (int g = 0; g < count; g++) {
		struct manifest was;

		if (generation_peek(&step->store, list[g], &was, NULL) < 0)
			continue;
		for (size_t i = 0; i < m->file_count; i++)
			for (size_t k = 0; k < was.file_count && !left[i]; k++)
				left[i] = files[i].st_ino && is_as_left(&was.files[k], &files[i]) &&
					  !strcmp(was.node, step->spec.node) &&
					  !strcmp(was.files[k].path, m->files[i].path);
		manifest_free(&was);
	}
}
