/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carried directories at a dump: they are looked through twice, before, for what may
 * be in the way, and with the tree frozen, for their content. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"

#define DEEP 128 /* directories in each other */

/* What does not travel, and why. */
enum left_out { OTHERS, MOUNTS, UNREADABLE, SOCKETS, DEVICES, DEEPER, CHANGED, REASONS };

static const char *const left_out[] = {
	"of other users", "other file systems", "not to be read", "unix sockets",
	"devices", "too deep or too long a path", "changed while they were copied",
};

/* A file with several names. */
struct inode {
	ino_t inode;
	char *path;
};

struct walk {
	struct step *step;
	const struct carry_root *root;
	char path[PATH_MAX]; /* below it */
	size_t entries;
	uint64_t bytes;
	unsigned left[REASONS];
	char example[200];
	void *inodes; /* tsearch(3): struct inode */
	/* Of the second time alone: */
	const struct manifest *m;
	struct image_writer *writer;
	int pages;
	FILE *list;
	struct err *e;
};

static void leave_out(struct walk *w, enum left_out why)
{
	if (!*w->example && why != SOCKETS)
		snprintf(w->example, sizeof(w->example), "%.90s/%.90s",
			 w->root->path, w->path);
	w->left[why]++;
}

static int put(struct walk *w, const struct carry_entry *entry)
{
	if (++w->entries > CARRY_MOST)
		return err_set(w->e, "carry=%.300s: there are more than %d files in it",
			       w->root->path, CARRY_MOST);
	if (w->list && carry_put(w->list, entry) < 0)
		return err_set(w->e, "no memory for the carried directories");
	return 0;
}

/* It stays as it is where it is, and what is in it. */
static int leave_there(struct walk *w, enum left_out why)
{
	const struct carry_entry entry = { .kind = CARRY_OPEN, .path = w->path };

	leave_out(w, why);
	return put(w, &entry);
}

static struct carry_entry entry_of(struct walk *w, enum carry_kind kind,
				   const struct stat *st)
{
	return (struct carry_entry){ .kind = kind,
				     .mode = st->st_mode & 07777,
				     .gid = st->st_gid,
				     .mtime_ns = files_mtime(st),
				     .path = w->path };
}

static int compare_inodes(const void *a, const void *b)
{
	const struct inode *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void free_inode(void *inode)
{
	free(((struct inode *)inode)->path);
	free(inode);
}

/* The name that an inode was met by before. */
static const char *met(struct walk *w, const struct stat *st)
{
	const struct inode wanted = { st->st_ino, NULL };
	struct inode **found = tfind(&wanted, &w->inodes, compare_inodes);
	struct inode *new;

	if (found)
		return (*found)->path;
	/* Without memory it is copied twice. */
	if (!(new = malloc(sizeof(*new))))
		return NULL;
	*new = (struct inode){ st->st_ino, strdup(w->path) };
	if (!new->path || !tsearch(new, &w->inodes, compare_inodes))
		free_inode(new);
	return NULL;
}

/* Its entry in the manifest, by any of its names. */
static const struct manifest_file *is_open(const struct walk *w,
					   const struct stat *st)
{
	struct stat named;

	for (size_t i = 0; w->m && i < w->m->file_count; i++) {
		const struct manifest_file *f = &w->m->files[i];

		if ((f->local || f->stream) && !manifest_is_name(f) &&
		    f->inode == st->st_ino && lstat(f->path, &named) == 0 &&
		    named.st_dev == st->st_dev && named.st_ino == st->st_ino)
			return f;
	}
	return NULL;
}

/* The path of an open file below this directory; NULL: it is elsewhere. */
static const char *path_below(const struct walk *w, const struct manifest_file *f)
{
	size_t n = strlen(w->root->path);

	return !strncmp(f->path, w->root->path, n) && f->path[n] == '/' ?
		       f->path + n + 1 :
		       NULL;
}

/* ---- a file's content ----------------------------------------------------------- */

static int put_extents(struct walk *w, int fd, struct carry_entry *entry)
{
	int64_t at = 0;

	while (at < entry->size) {
		int64_t begin = lseek(fd, at, SEEK_DATA), end;
		struct carry_extent *more;
		int rc;

		if (begin < 0 && errno == ENXIO)
			break; /* a hole to its end */
		if (begin < 0)
			begin = at;
		end = lseek(fd, begin, SEEK_HOLE);
		if (end < 0 || end > entry->size)
			end = entry->size;
		begin -= begin % IMAGE_PAGE;
		if (begin < at)
			begin = at;
		if (end < entry->size)
			end += (IMAGE_PAGE - end % IMAGE_PAGE) % IMAGE_PAGE;
		if (end > entry->size)
			end = entry->size;
		if (end <= begin)
			break; /* it became shorter */
		more = realloc(entry->extents,
			       (entry->extent_count + 1) * sizeof(*more));
		if (!more)
			return err_set(w->e, "no memory for the carried directories");
		entry->extents = more;
		more[entry->extent_count++] = (struct carry_extent){ begin, end - begin };
		rc = image_writer_read(w->writer, w->pages, fd, begin, end - begin,
				       w->e);
		if (rc < 0)
			return err_context(w->e, "%.200s/%.200s", w->root->path,
					   w->path);
		if (rc == 0)
			leave_out(w, CHANGED);
		at = end;
	}
	return 0;
}

static int look_at_content(struct walk *w, int dir, const char *name,
			   const struct stat *st)
{
	struct carry_entry entry = entry_of(w, CARRY_FILE, st);
	cleanup_fd int fd = -1;
	struct stat opened;
	int rc;

	/* It may be less than its size, and of an overlay or the like 0. */
	w->bytes += (uint64_t)(st->st_blocks * INT64_C(512) < st->st_size ?
				       st->st_blocks * INT64_C(512) :
				       st->st_size);
	entry.size = st->st_size;
	if (w->writer) {
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &opened) < 0 || !S_ISREG(opened.st_mode) ||
		    opened.st_ino != st->st_ino)
			return leave_there(w, UNREADABLE);
		if (put_extents(w, fd, &entry) < 0) {
			free(entry.extents);
			return -1;
		}
	}
	rc = put(w, &entry);
	free(entry.extents);
	return rc;
}

static int look_at_file(struct walk *w, int dir, const char *name,
			const struct stat *st)
{
	struct carry_entry entry = entry_of(w, CARRY_OPEN, st);
	const struct manifest_file *open = is_open(w, st);
	const char *other = open ? path_below(w, open) : NULL;

	if (open && open->stream)
		return put(w, &entry);
	if (other && !strcmp(other, w->path))
		return put(w, &entry);
	if (!other && st->st_nlink > 1)
		other = met(w, st);
	if (!other)
		return look_at_content(w, dir, name, st);
	entry.kind = CARRY_NAME;
	/* It is only written. */
	entry.to = (char *)(uintptr_t)other;
	return put(w, &entry);
}

/* ---- all of it ----------------------------------------------------------------------- */

static int look_through(struct walk *w, int fd, int depth);

static int look_at_directory(struct walk *w, int dir, const char *name,
			     const struct stat *st, int depth)
{
	const struct carry_entry entry = entry_of(w, CARRY_DIR, st);
	int fd;

	if (st->st_dev != w->root->dev)
		return leave_there(w, MOUNTS);
	if (depth >= DEEP)
		return leave_there(w, DEEPER);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return leave_there(w, UNREADABLE);
	if (put(w, &entry) < 0) {
		close(fd);
		return -1;
	}
	return look_through(w, fd, depth + 1);
}

static int look_at_link(struct walk *w, int dir, const char *name,
			const struct stat *st)
{
	struct carry_entry entry = entry_of(w, CARRY_LINK, st);
	char to[PATH_MAX];
	ssize_t n = readlinkat(dir, name, to, sizeof(to));

	if (n <= 0 || n == sizeof(to))
		return leave_there(w, UNREADABLE);
	to[n] = '\0';
	entry.to = to;
	return put(w, &entry);
}

static int look_at(struct walk *w, int dir, const char *name, int depth)
{
	struct carry_entry entry;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : leave_there(w, UNREADABLE);
	if (st.st_uid != geteuid()) {
		leave_out(w, OTHERS);
		return 0;
	}
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return look_at_file(w, dir, name, &st);
	case S_IFDIR:
		return look_at_directory(w, dir, name, &st, depth);
	case S_IFLNK:
		return look_at_link(w, dir, name, &st);
	case S_IFIFO:
		entry = entry_of(w, CARRY_FIFO, &st);
		return put(w, &entry);
	default:
		return leave_there(w, S_ISSOCK(st.st_mode) ? SOCKETS : DEVICES);
	}
}

/* Takes fd. */
static int look_through(struct walk *w, int fd, int depth)
{
	const size_t was = strlen(w->path);
	struct dirent *entry;
	DIR *dir = fdopendir(fd);
	int rc = 0;

	if (!dir) {
		close(fd);
		return err_sys(w->e, "%.200s/%.200s", w->root->path, w->path);
	}
	while (rc == 0 && (errno = 0, entry = readdir(dir))) {
		const char *name = entry->d_name;
		size_t n = strlen(name);

		if (!strcmp(name, ".") || !strcmp(name, "..") ||
		    (!was && !strcmp(name, CARRY_MARK)) || strstr(name, CARRY_ASIDE))
			continue;
		if (was + n + 2 > sizeof(w->path)) {
			leave_out(w, DEEPER);
			continue;
		}
		snprintf(w->path + was, sizeof(w->path) - was, "%s%s", was ? "/" : "",
			 name);
		rc = look_at(w, dirfd(dir), name, depth);
		w->path[was] = '\0';
	}
	if (rc == 0 && errno)
		rc = err_sys(w->e, "cannot read %.200s/%.200s", w->root->path,
			     w->path);
	closedir(dir);
	return rc;
}

static void free_inodes(struct walk *w)
{
	tdestroy(w->inodes, free_inode);
	w->inodes = NULL;
}

static int walk_root(struct walk *w, const struct carry_root *root)
{
	int fd = openat(root->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	w->root = root;
	w->path[0] = '\0';
	rc = fd < 0 ? err_sys(w->e, "carry=%.400s", root->path) :
		      look_through(w, fd, 0);
	free_inodes(w);
	return rc;
}

/* ---- before ------------------------------------------------------------------------------ */

static int check_one(const struct step *step, const char *path, void *arg,
		     struct err *e)
{
	struct walk *w = arg;
	struct carry_root root;
	char size[16], most[16];
	int rc = carry_open(step, path, &root, e);

	if (rc <= 0) {
		if (rc == 0 && !w->step->told_carry)
			step_tell(step, CONTROL_NOTE, "carry=%s: there is no such directory now, so nothing of it is in the checkpoint",
				  path);
		w->step->told_carry |= rc == 0;
		return rc;
	}
	rc = carry_whose(step, &root, 0, e);
	if (rc >= 0)
		rc = carry_mark(step, &root, e);
	if (rc >= 0)
		rc = walk_root(w, &root);
	close(root.fd);
	if (rc < 0 || w->bytes <= step->spec.limits.files_max)
		return rc;
	size_print(w->bytes, size);
	size_print(step->spec.limits.files_max, most);
	return err_set(e, "carry=%.400s: with that directory %s would travel, and files-max= of sckpt.conf allows %s: carry less, or keep it where all nodes see it",
		       path, size, most);
}

int carry_check(struct step *step, struct err *e)
{
	struct walk w = { .step = step, .e = e };
	int rc = carry_each(step, check_one, &w, e);

	step->carried = (int64_t)w.bytes;
	return rc;
}

/* ---- with the tree frozen ------------------------------------------------------------------- */

static int put_above(const char *dir, const struct stat *st, void *arg)
{
	struct walk *w = arg;
	struct carry_entry entry = entry_of(w, CARRY_ABOVE, st);

	entry.path = (char *)(uintptr_t)dir;
	return put(w, &entry);
}

static int record_one(const struct step *step, const char *path, void *arg,
		      struct err *e)
{
	struct walk *w = arg;
	struct carry_root root;
	struct carry_entry entry;
	struct stat st;
	int rc = carry_open(step, path, &root, e);

	if (rc <= 0)
		return rc;
	w->root = &root;
	w->path[0] = '\0';
	rc = local_parents(step, path, put_above, w);
	if (rc == 0 && fstat(root.fd, &st) < 0)
		rc = err_sys(e, "carry=%.400s", path);
	if (rc == 0) {
		entry = entry_of(w, CARRY_ROOT, &st);
		entry.path = root.path;
		rc = put(w, &entry);
	}
	if (rc == 0)
		rc = walk_root(w, &root);
	close(root.fd);
	return rc;
}

/* Once: what is not to be carried will not be next time either. */
static void tell_left_out(struct walk *w)
{
	char text[400] = "";
	size_t n = 0;

	for (int i = 0; i < REASONS; i++)
		if (w->left[i] && i != SOCKETS && n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u %s",
					      n ? ", " : "", w->left[i], left_out[i]);
	if (!n || w->step->told_left_out)
		return;
	w->step->told_left_out = true;
	step_tell(w->step, CONTROL_NOTE, "carry=: not all of it travels with the checkpoint: %s (%s)",
		  text, w->example);
}

static int put_list(struct walk *w, const struct image_sink *sink, char *text,
		    size_t size)
{
	cleanup_fd int fd = memfd_create(CARRY_LIST, MFD_CLOEXEC);
	int handle;

	if (fd < 0 || file_write(fd, text, size, w->e) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return err_set(w->e, "no memory for the carried directories");
	handle = sink->open(sink->arg, CARRY_LIST, w->e);
	return handle < 0 || sink->pour(sink->arg, handle, fd, w->e) < 0 ||
			       sink->close(sink->arg, handle, w->e) < 0 ?
		       -1 :
		       0;
}

int carry_record(struct step *step, const struct manifest *m,
		 struct image_writer *writer, struct err *e)
{
	struct image_sink sink = image_writer_sink(writer);
	struct walk w = { .step = step, .m = m, .writer = writer, .e = e };
	cleanup_free char *text = NULL;
	size_t size = 0;
	int rc;

	if (!*step->spec.carry)
		return 0;
	if (!(w.list = open_memstream(&text, &size)))
		return err_sys(e, "no memory for the carried directories");
	w.pages = sink.open(sink.arg, CARRY_PAGES, e);
	rc = w.pages < 0 ? -1 : carry_each(step, record_one, &w, e);
	if (rc == 0)
		rc = sink.close(sink.arg, w.pages, e);
	if (fclose(w.list) != 0 && rc == 0)
		rc = err_set(e, "no memory for the carried directories");
	if (rc == 0 && size)
		rc = put_list(&w, &sink, text, size);
	if (rc == 0)
		tell_left_out(&w);
	return rc;
}
