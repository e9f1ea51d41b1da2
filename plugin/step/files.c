/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that the program has open for writing, at a dump. A file is either
 * appended to (every descriptor of it is in append mode, or writes and stands at
 * its end), or it is written in place: then its size tells nothing. What only this
 * node has (local.c) is taken along whole, also what is only read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "files.h"

/* One of them, as long as the tree is frozen. */
struct found {
	dev_t dev;
	int fd; /* a descriptor of ours */
	int64_t data; /* bytes of it that are no holes */
	int64_t wrote; /* where the program's last append ended; 0 unknown */
	bool mapped;
};

struct look {
	struct step *step;
	struct manifest *m;
	struct found *list; /* as many as m->files */
	size_t room;
	bool full; /* there were more than a manifest holds */
	struct err *e;
};

int64_t files_mtime(const struct stat *st)
{
	return st->st_mtim.tv_sec < 0 ?
		       0 :
		       st->st_mtim.tv_sec * INT64_C(1000000000) +
			       st->st_mtim.tv_nsec;
}

/* ---- which there are --------------------------------------------------------- */

static int grow(struct look *l)
{
	size_t room = l->room ? 2 * l->room : 16;
	struct manifest_file *files = realloc(l->m->files, room * sizeof(*files));
	struct found *list;

	if (files)
		l->m->files = files;
	list = files ? realloc(l->list, room * sizeof(*list)) : NULL;
	if (!list)
		return err_set(l->e, "no memory for the program's files");
	l->list = list;
	l->room = room;
	return 0;
}

/* For reading where that is allowed: then it can be digested, too. */
static int hold(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0 ? fd : openat(dir, name, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

/* The number of the one that has an entry; of none, how many entries there are. */
static size_t entry_of(const struct look *l, const struct stat *st)
{
	size_t i = 0;

	while (i < l->m->file_count && (l->list[i].dev != st->st_dev ||
					l->m->files[i].inode != st->st_ino))
		i++;
	return i;
}

/* A new entry; path, inode and times are filled in here. 1; 0: there are too many;
 * -1. */
static int add_entry(struct look *l, const char *path, const struct stat *st,
		     struct manifest_file f, struct found found)
{
	struct manifest *m = l->m;
	size_t i = m->file_count;

	if (i >= MANIFEST_FILES_MAX) {
		l->full = true;
		return 0;
	}
	if (i >= l->room && grow(l) < 0)
		return -1;
	f.path = strdup(path);
	f.inode = st->st_ino;
	f.mtime_ns = files_mtime(st);
	if (!f.path)
		return err_set(l->e, "no memory for the program's files");
	found.dev = st->st_dev;
	m->files[i] = f;
	l->list[i] = found;
	m->file_count++;
	return 1;
}

/* It is open by another name, too, where only this node has it. */
static int add_other_name(struct look *l, size_t at, const char *path,
			  const struct stat *st)
{
	const struct manifest_file *f = &l->m->files[at];
	const struct manifest_file other = { .size = st->st_size,
					     .mode = (int)st->st_mode,
					     .name_of = (int)at + 1,
					     .local = true };
	struct stat named;

	if (st->st_nlink < 2 || !f->local || !strcmp(f->path, path) ||
	    !local_is(l->step, path) || lstat(path, &named) < 0 ||
	    named.st_dev != st->st_dev || named.st_ino != st->st_ino)
		return 0;
	for (size_t i = at + 1; i < l->m->file_count; i++)
		if (l->m->files[i].name_of == other.name_of &&
		    !strcmp(l->m->files[i].path, path))
			return 0;
	return add_entry(l, path, st, other, (struct found){ .fd = -1 }) < 0 ? -1 : 0;
}

/* The entry of a file; a new one when it has none. *at is set unless it is to be
 * left out. */
static int find(struct look *l, int dir, const char *name, const char *path,
		const struct stat *st, size_t *at)
{
	struct manifest_file f = { .size = st->st_size,
				   .mode = st->st_mode & 07777,
				   .appended = true,
				   .append_mode = true };
	struct found found = { .data = st->st_blocks * INT64_C(512) };
	struct stat named;
	int rc;

	*at = entry_of(l, st);
	if (*at < l->m->file_count)
		return add_other_name(l, *at, path, st) < 0 ? -1 : 1;
	/* One without its name travels in criu's images. */
	if (lstat(path, &named) < 0 || named.st_dev != st->st_dev ||
	    named.st_ino != st->st_ino)
		return 0;
	if (found.data > st->st_size)
		found.data = st->st_size;
	f.local = local_is(l->step, path);
	found.fd = hold(dir, name);
	rc = add_entry(l, path, st, f, found);
	if (rc <= 0 && found.fd >= 0)
		close(found.fd);
	return rc;
}

static int add_name(const char *path, const struct stat *st, void *arg)
{
	struct look *l = arg;
	const struct manifest_file f = { .mode = (int)st->st_mode, .local = true };

	if (entry_of(l, st) < l->m->file_count)
		return 0;
	return add_entry(l, path, st, f, (struct found){ .fd = -1 }) < 0 ? -1 : 0;
}

/* /proc and devices are no files that keep anything; shared memory is. What was
 * removed is criu's. */
static bool counts(const char *path, const struct stat *st)
{
	return *path == '/' && S_ISREG(st->st_mode) && st->st_nlink > 0 &&
	       !file_silly_renamed(path) &&
	       strncmp(path, "/proc/", 6) && strncmp(path, "/sys/", 5) &&
	       (strncmp(path, "/dev/", 5) || !strncmp(path, "/dev/shm/", 9));
}

/* One that is the user's and can be opened; what is in it criu has. */
static bool is_named_pipe(const char *path, const struct stat *st)
{
	struct stat named;

	return S_ISFIFO(st->st_mode) && st->st_uid == geteuid() &&
	       lstat(path, &named) == 0 && named.st_dev == st->st_dev &&
	       named.st_ino == st->st_ino;
}

/* A descriptor that writes, with its flags and position. */
static void add_descriptor(struct look *l, size_t at, int flags, int64_t pos)
{
	struct manifest_file *f = &l->m->files[at];
	bool writes = (flags & O_ACCMODE) == O_WRONLY;

	if (!(flags & O_APPEND))
		f->append_mode = false;
	if (!(flags & O_APPEND) && !(writes && pos == f->size))
		f->appended = false;
	/* One that reads, too, may stand anywhere. */
	if (writes && flags & O_APPEND && pos > l->list[at].wrote)
		l->list[at].wrote = pos;
}

static int look_at_fd(struct look *l, pid_t pid, int dir, const char *name)
{
	cleanup_free char *info = NULL;
	char path[4096 + 3], info_path[320], *at;
	struct stat st;
	ssize_t n;
	size_t i;
	bool writes, local;
	int rc, flags;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	writes = st.st_mode & S_IWUSR; /* as the descriptor does (proc(5)) */
	if (fstatat(dir, name, &st, 0) < 0 ||
	    (n = readlinkat(dir, name, path, sizeof(path) - 3)) <= 0)
		return 0;
	/* Of a directory that is open, it is needed itself. */
	strcpy(path + n, S_ISDIR(st.st_mode) ? "/." : "");
	/* Its name is not in the link; what is in it criu makes again. */
	if (S_ISSOCK(st.st_mode))
		return bound_name(pid, name, path, sizeof(path)) ?
			       local_parents(l->step, path, add_name, l) :
			       0;
	local = local_is(l->step, path);
	/* Also of what has lost its name, which criu makes again there. */
	if (local && local_parents(l->step, path, add_name, l) < 0)
		return -1;
	if (local && is_named_pipe(path, &st))
		return add_name(path, &st, l);
	if (!counts(path, &st) ||
	    (!writes && !(local && st.st_uid == geteuid())))
		return 0;
	if ((rc = find(l, dir, name, path, &st, &i)) <= 0)
		return rc;
	if (!writes)
		return 0;
	snprintf(info_path, sizeof(info_path), "/proc/%d/fdinfo/%s", pid, name);
	/* Of one that does not tell, nothing is sure. */
	flags = O_RDWR;
	if (file_read(AT_FDCWD, info_path, 65536, &info, NULL) > 0 &&
	    (at = strstr(info, "flags:")))
		flags = (int)strtol(at + 6, NULL, 8);
	at = info ? strstr(info, "pos:") : NULL;
	add_descriptor(l, i, flags, at ? strtoll(at + 4, NULL, 10) : 0);
	return 0;
}

static int look_at_fds(struct look *l, pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int rc = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (!(dir = opendir(path)))
		return 0; /* a zombie */
	while (rc == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			rc = look_at_fd(l, pid, dirfd(dir), entry->d_name);
	closedir(dir);
	return rc;
}

/* Mappings need no descriptor. */
static int look_at_maps(struct look *l, pid_t pid)
{
	cleanup_free char *maps = NULL;
	char path[64], *rest, *line;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (file_read(AT_FDCWD, path, 256 << 20, &maps, NULL) < 0)
		return 0; /* a zombie */
	for (rest = maps; (line = strsep(&rest, "\n"));) {
		char *name = strchr(line, '/'), *mode = strchr(line, ' ');
		bool writes = name && mode && mode[2] == 'w' && mode[4] == 's';
		struct stat st;
		size_t i;
		int rc;

		if (!name || !mode || (!writes && !local_is(l->step, name)) ||
		    lstat(name, &st) < 0 || !counts(name, &st) ||
		    (!writes && st.st_uid != geteuid()))
			continue;
		if (local_parents(l->step, name, add_name, l) < 0 ||
		    (rc = find(l, AT_FDCWD, name, name, &st, &i)) < 0)
			return -1;
		if (rc > 0 && writes) {
			l->m->files[i].appended = false;
			l->m->files[i].append_mode = false;
			l->list[i].mapped = true;
		}
	}
	return 0;
}

/* The directory that a process is in. */
static int look_at_cwd(struct look *l, pid_t pid)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/cwd", pid);
	if ((n = readlink(link, path, sizeof(path) - 3)) <= 0)
		return 0; /* a zombie */
	memcpy(path + n, "/.", 3);
	return local_parents(l->step, path, add_name, l);
}

/* Output files that slurmstepd opened: of the whole step, whether or not the
 * program still has them. */
static int look_at_streams(struct look *l)
{
	const struct stdio *io = l->step->io;

	for (int i = 1; i < io->count; i++) {
		const struct std_stream *s = &io->s[i];
		char path[4096], name[64];
		struct stat st;
		ssize_t n;
		size_t at;
		int rc;

		if (s->kind != STREAM_FILE || !s->regular ||
		    fstat(s->outer, &st) < 0)
			continue;
		snprintf(name, sizeof(name), "/proc/self/fd/%d", s->outer);
		n = readlink(name, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		if (!counts(path, &st))
			continue;
		if ((rc = find(l, AT_FDCWD, name, path, &st, &at)) < 0)
			return -1;
		if (rc == 0)
			continue;
		if (!l->m->files[at].stream)
			l->m->files[at].stream = i;
		l->m->files[at].local = false; /* its output log travels */
		add_descriptor(l, at, fcntl(s->outer, F_GETFL),
			       lseek(s->outer, 0, SEEK_CUR));
	}
	return 0;
}

static int look_at_all(struct look *l)
{
	cleanup_free pid_t *pids = NULL;
	int count;

	if (look_at_streams(l) < 0)
		return -1;
	if (l->step->spec.limits.files == FILES_LEAVE)
		return 0;
	if ((count = program_tree(l->step->root, &pids, l->e)) < 0)
		return -1;
	for (int i = 0; i < count; i++)
		if (look_at_cwd(l, pids[i]) < 0 || look_at_fds(l, pids[i]) < 0 ||
		    look_at_maps(l, pids[i]) < 0)
			return -1;
	if (l->full)
		step_tell(l->step, CONTROL_NOTE, "the program has more than %d files open for writing: of the others sckpt does not look after a crash how far they were written",
		     MANIFEST_FILES_MAX);
	return 0;
}

/* ---- what is known of them ------------------------------------------------------ */

static struct file_seen *seen(struct step *step, dev_t dev, ino_t inode)
{
	struct files_seen *all = &step->seen;
	struct file_seen *more;

	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].dev == dev && all->list[i].inode == inode)
			return &all->list[i];
	if (!(more = realloc(all->list, (all->count + 1) * sizeof(*more))))
		return NULL;
	all->list = more;
	more[all->count] = (struct file_seen){ .dev = dev, .inode = inode };
	return &more[all->count++];
}

/* Of a file that was closed before this dump nothing is kept but what must not be forgotten:
 * programs open ever new ones. */
static void forget_closed(struct files_seen *all)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct file_seen *s = &all->list[i];

		if (!s->met && !s->told && !s->shared)
			continue;
		s->met = false;
		all->list[kept++] = *s;
	}
	all->count = kept;
}

void files_shared(struct step *step, const struct manifest_file *f)
{
	struct file_seen *s;
	struct stat st;

	if (lstat(f->path, &st) == 0 && st.st_ino == f->inode &&
	    (s = seen(step, st.st_dev, st.st_ino)))
		s->shared = true;
}

/*
 * Has the file more behind the program's own last append? Then somebody else
 * wrote it, or a process of the program's that has ended: who is not known, and
 * nothing of it may be cut off. Slurm's notice of the job's end is no sign.
 */
static bool written_behind(const struct look *l, size_t at)
{
	const struct manifest_file *f = &l->m->files[at];
	int64_t from = l->list[at].wrote, size = f->size - from;
	cleanup_free char *buf = NULL;

	if (!from || size <= 0)
		return false;
	if (!f->stream || size > 65536 || !(buf = malloc((size_t)size)) ||
	    pread(l->list[at].fd, buf, (size_t)size, from) != size)
		return true;
	return output_strip(buf, (size_t)size, l->step->spec.job) > 0;
}

/* Once for each file: that it would be found newer than the program. */
static void tell_not_kept(struct look *l, size_t at, struct file_seen *s,
			  bool too_large)
{
	const struct manifest_file *f = &l->m->files[at];
	char size[16], most[16];
	bool written = f->mtime_ns >= l->step->seen.begun ||
		       (s && s->mtime_ns && s->mtime_ns != f->mtime_ns);

	if ((!f->local && (!f->size || !written)) || (s && s->told))
		return;
	if (s)
		s->told = true;
	size_print((uint64_t)f->size, size);
	size_print(l->step->spec.limits.files_max, most);
	if (f->local)
		step_tell(l->step, CONTROL_NOTE, "%s (%s) is on %s alone and does not travel with the checkpoint%s%s: the program can only go on there; a directory that all nodes see would help",
			   f->path, size, l->step->spec.node,
			   too_large ? ", for that would be more than files-max= allows, " : "",
			   too_large ? most : "");
	else if (too_large)
		step_tell(l->step, CONTROL_NOTE, "%s (%s) is written in place and does not travel with the checkpoint: that would be more than files-max= allows (%s); after a crash it would be newer than the program",
		     f->path, size, most);
	else
		step_tell(l->step, CONTROL_NOTE, "%s (%s) is written in place, and a checkpoint does not hold its content: after a crash it would be newer than the program; files=copy takes it along",
		     f->path, size);
}

/* ---- copies -------------------------------------------------------------------------- */

/*
 * A write to a mapping changes the file's time when the kernel hears of it
 * (page_mkwrite): not in memory file systems (mm/shmem.c, fs/ramfs), and what is
 * below an overlay is not known. There nobody can tell that a file is what it was.
 */
static bool times_lie(int fd)
{
	static const uint32_t types[] = {
		0x01021994, /* tmpfs */
		0x794c7630, /* overlayfs */
		0x858458f6, /* ramfs */
		0x958458f6, /* hugetlbfs */
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if ((uint32_t)fs.f_type == types[i])
			return true;
	return false;
}

/* The same file, unchanged since. */
static const struct manifest_file *earlier(const struct manifest *before,
					   const struct manifest_file *f)
{
	for (size_t i = 0; i < before->file_count; i++) {
		const struct manifest_file *b = &before->files[i];

		if (*b->copy && b->inode == f->inode && b->size == f->size &&
		    b->mtime_ns == f->mtime_ns && !strcmp(b->path, f->path))
			return b;
	}
	return NULL;
}

static bool take_copy(struct look *l, size_t at, const struct manifest *before,
		      struct files_held *held)
{
	struct manifest_file *f = &l->m->files[at];
	struct found *found = &l->list[at];
	const struct manifest_file *same;
	struct err e = { "" };
	struct stat st;

	/* Pages that are dirty already are written to without the time of the
	 * file being changed; once they are clean, not any more. */
	if (found->mapped && fsync(found->fd) == 0 && fstat(found->fd, &st) == 0)
		f->mtime_ns = files_mtime(&st);
	f->times_lie = times_lie(found->fd);
	same = f->times_lie ? NULL : earlier(before, f);
	if (generation_take_file(&l->step->store,
				 (struct generation){ l->m->generation, l->m->run },
				 at, found->fd, f->size, same ? same->copy : NULL,
				 f->copy, &e) < 0) {
		/* The program's memory is worth more than the file. */
		f->copy[0] = '\0';
		step_tell(l->step, CONTROL_NOTE, "%s does not travel with the checkpoint: %s",
			   f->path, e.text);
		return false;
	}
	if (!same)
		held->copied += (uint64_t)found->data;
	else
		memcpy(f->sha256, same->sha256, sizeof(f->sha256));
	f->digested = same ? f->size : 0;
	return true;
}

static void judge(struct look *l, const struct manifest *before,
		  struct files_held *held)
{
	const struct limits *limits = &l->step->spec.limits;
	uint64_t sum = 0;

	for (size_t i = 0; i < l->m->file_count; i++) {
		struct manifest_file *f = &l->m->files[i];
		struct file_seen *s = seen(l->step, l->list[i].dev,
					   (ino_t)f->inode);
		bool fits;

		if (s)
			s->met = true;
		if (manifest_is_name(f))
			continue;
		if (f->local)
			f->appended = f->append_mode = false;
		if (f->appended) {
			f->shared = (s && s->shared) || written_behind(l, i);
			if (s)
				s->shared = f->shared;
			continue;
		}
		fits = sum + (uint64_t)l->list[i].data <= limits->files_max;
		if ((limits->files == FILES_COPY || f->local) && fits &&
		    l->list[i].fd >= 0 && !f->stream) {
			if (take_copy(l, i, before, held))
				sum += (uint64_t)l->list[i].data;
		} else {
			tell_not_kept(l, i, s, !fits && (limits->files == FILES_COPY ||
							 f->local));
		}
		if (s)
			s->mtime_ns = f->mtime_ns;
	}
	forget_closed(&l->step->seen);
}

int files_record(struct step *step, struct manifest *m,
		 const struct manifest *before, struct files_held *held,
		 struct err *e)
{
	struct look l = { .step = step, .m = m, .e = e };
	int rc = 0;

	*held = (struct files_held){ .fds = NULL };
	rc = look_at_all(&l);
	if (m->file_count &&
	    !(held->fds = calloc(m->file_count, sizeof(*held->fds))))
		rc = err_set(e, "no memory for the program's files");
	for (size_t i = 0; i < m->file_count; i++)
		if (held->fds)
			held->fds[i] = l.list[i].fd;
		else if (l.list[i].fd >= 0)
			close(l.list[i].fd);
	if (rc == 0)
		judge(&l, before, held);
	free(l.list);
	return rc;
}

/* ---- afterwards ----------------------------------------------------------------------- */

static int settle_copy(const struct store *store, struct manifest_file *f,
		       struct err *e)
{
	cleanup_fd int fd = openat(store->dir, f->copy,
				   O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, "cannot write %s/%s", store->path, f->copy);
	/* An empty one has a digest, too. */
	if (f->size && f->digested == f->size)
		return 0; /* as it was copied before */
	if (image_sha256_file(fd, 0, f->size, f->sha256, e) < 0)
		return err_context(e, "%s/%s", store->path, f->copy);
	f->digested = f->size;
	return 0;
}

int files_settle(const struct step *step, struct manifest *m,
		 const struct files_held *held, struct err *e)
{
	for (size_t i = 0; i < m->file_count; i++) {
		struct manifest_file *f = &m->files[i];
		int64_t tail = f->size < FILES_TAIL ? f->size : FILES_TAIL;

		/* A crash must not leave a file shorter than its checkpoint.
		 * When the program ends here, it has no time to spare, and
		 * no crash takes with it what is on its way to the disk. */
		if (!m->ended && held->fds[i] >= 0 && fsync(held->fds[i]) < 0 &&
		    errno != EINVAL && errno != EROFS)
			return err_sys(e, "cannot make %s durable", f->path);
		if (*f->copy && settle_copy(&step->store, f, e) < 0)
			return -1;
		/* What is before its end stays as it is; elsewhere it does
		 * not. One that cannot be read is known by less. */
		if (f->appended && held->fds[i] >= 0 &&
		    image_sha256_file(held->fds[i], f->size - tail, tail,
				      f->sha256, NULL) == 0)
			f->digested = tail;
	}
	return 0;
}

void files_release(struct files_held *held, const struct manifest *m)
{
	for (size_t i = 0; held->fds && i < m->file_count; i++)
		if (held->fds[i] >= 0)
			close(held->fds[i]);
	free(held->fds);
	held->fds = NULL;
}
