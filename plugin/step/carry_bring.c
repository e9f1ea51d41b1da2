/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carried directories before a restore. What is there already and is the same stays;
 * what has a name that is needed is moved aside under another one, so that all of
 * it can be undone; and where the job itself left the directory (carry_whose), what
 * it has now and had not then is moved aside, too, and removed when the program goes on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "carry.h"
#include "files.h"

struct place {
	struct carry_root root;
	struct carry_in in;
	bool made; /* the directory itself, here */
	size_t begin, end; /* its entries */
};

struct carried {
	const struct step *step;
	uint32_t origin;
	bool has_steps; /* it is of a script that has called srun */
	struct carry_list list;
	struct place *places;
	size_t place_count;
	char **above; /* directories that were made */
	size_t above_count;
	struct carry_acts acts;
	/* The file that content is for: */
	size_t next; /* entry */
	size_t place; /* and its place */
	size_t extent;
	int64_t done; /* bytes of that extent */
	int old, new; /* what is there, as long as it is the same; what is made */
};

/* ---- what is there ------------------------------------------------------------- */

/* Is something there, and may it be changed? 1, 0, -1. */
static int is_there(int dir, const char *name, struct stat *st, struct err *e)
{
	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "cannot look at it");
	return st->st_uid == geteuid() ? 1 :
					 err_set(e, "it is another user's on this node");
}

/* ---- what has no content ------------------------------------------------------------ */

static void set_times(int dir, const char *name, const struct carry_entry *f)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ f->mtime_ns / 1000000000, f->mtime_ns % 1000000000 }
	};

	/* A group that the user is not in any more is not given. */
	if (fchownat(dir, name, (uid_t)-1, f->gid, AT_SYMLINK_NOFOLLOW) < 0)
		errno = 0;
	utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

static bool same_link(int dir, const char *name, const char *to)
{
	char is[PATH_MAX];
	ssize_t n = readlinkat(dir, name, is, sizeof(is));

	return n == (ssize_t)strlen(to) && !memcmp(is, to, (size_t)n);
}

static bool is_same(const struct carried *c, size_t place, int dir, const char *name,
		    const struct stat *st, const struct carry_entry *f)
{
	struct stat named;
	const char *other;
	int at;

	switch (f->kind) {
	case CARRY_DIR:
		return S_ISDIR(st->st_mode);
	case CARRY_FIFO:
		return S_ISFIFO(st->st_mode);
	case CARRY_LINK:
		return S_ISLNK(st->st_mode) && same_link(dir, name, f->to);
	default:
		at = carry_parent(c->places[place].root.fd, f->to, &other, NULL);
		if (at < 0 || fstatat(at, other, &named, AT_SYMLINK_NOFOLLOW) < 0)
			named.st_nlink = 0;
		close_fd(&at);
		return named.st_nlink && named.st_dev == st->st_dev &&
		       named.st_ino == st->st_ino;
	}
}

static int make(const struct carried *c, size_t place, int dir, const char *name,
		const struct carry_entry *f)
{
	const char *other;
	int at, rc;

	switch (f->kind) {
	case CARRY_DIR:
		return mkdirat(dir, name, 0700);
	case CARRY_FIFO:
		return mkfifoat(dir, name, 0600);
	case CARRY_LINK:
		return symlinkat(f->to, dir, name);
	default:
		at = carry_parent(c->places[place].root.fd, f->to, &other, NULL);
		rc = at < 0 ? -1 : linkat(at, other, dir, name, 0);
		close_fd(&at);
		return rc;
	}
}

/* A directory, a link, a named pipe, a second name. */
static int bring_name(struct carried *c, size_t place, int dir, const char *name,
		      const struct carry_entry *f, struct err *e)
{
	struct stat st;
	int rc = is_there(dir, name, &st, e);

	if (rc < 0)
		return -1;
	if (rc && !is_same(c, place, dir, name, &st, f)) {
		if (carry_move_aside(&c->acts, c->places[place].in, dir, f->path, name, e) < 0)
			return -1;
		rc = 0;
	}
	if (!rc) {
		if (make(c, place, dir, name, f) < 0)
			return err_sys(e, "cannot make it");
		if (carry_made(&c->acts, c->places[place].in, f->path, e) < 0)
			return -1;
	} else if ((f->kind == CARRY_DIR || f->kind == CARRY_FIFO) &&
		   carry_had_mode(&c->acts, c->places[place].in, f->path, st.st_mode, e) < 0) {
		return -1;
	}
	/* Those of directories come when all is in them. */
	if ((f->kind == CARRY_FIFO && carry_set_mode(dir, name, f->mode) < 0) ||
	    (f->kind == CARRY_DIR && rc &&
	     carry_set_mode(dir, name, (st.st_mode & 07777) | 0700) < 0))
		return err_sys(e, "cannot give it its mode");
	if (f->kind == CARRY_FIFO || f->kind == CARRY_LINK)
		set_times(dir, name, f);
	return 0;
}

/* ---- files ------------------------------------------------------------------------------ */

static int make_file(struct carried *c, int dir, const char *name,
		     const struct carry_entry *f, struct err *e)
{
	c->new = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);
	if (c->new < 0)
		return err_sys(e, "cannot make it");
	return carry_made(&c->acts, c->places[c->place].in, f->path, e);
}

static int begin_file(struct carried *c, const struct carry_entry *f, struct err *e)
{
	const char *name;
	cleanup_fd int dir = carry_parent(c->places[c->place].root.fd, f->path, &name,
					  e);
	struct stat st;
	int rc;

	c->extent = 0;
	c->done = 0;
	if (dir < 0 || (rc = is_there(dir, name, &st, e)) < 0)
		return -1;
	if (rc && S_ISREG(st.st_mode) && st.st_size == f->size) {
		c->old = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (c->old >= 0)
			return carry_had_mode(&c->acts, c->places[c->place].in, f->path, st.st_mode, e);
	}
	if (rc && carry_move_aside(&c->acts, c->places[c->place].in, dir, f->path, name, e) < 0)
		return -1;
	return make_file(c, dir, name, f, e);
}

/* It is not the same from `same` bytes on. */
static int give_up_old(struct carried *c, const struct carry_entry *f, int64_t same,
		       struct err *e)
{
	const char *name;
	cleanup_fd int dir = carry_parent(c->places[c->place].root.fd, f->path, &name,
					  e);
	int rc = -1;

	if (dir >= 0 && carry_move_aside(&c->acts, c->places[c->place].in, dir, f->path, name, e) == 0 &&
	    make_file(c, dir, name, f, e) == 0)
		rc = file_copy(c->old, 0, c->new, same, e);
	close_fd(&c->old);
	return rc;
}

/* Between its extents it has holes; the old one must have them, too. */
static bool is_hole(int fd, int64_t at, int64_t end)
{
	int64_t data = lseek(fd, at, SEEK_DATA);

	return at >= end || (data < 0 && errno == ENXIO) || data >= end;
}

static int64_t hole_before(const struct carried *c, const struct carry_entry *f)
{
	return c->extent ? f->extents[c->extent - 1].at + f->extents[c->extent - 1].size :
			   0;
}

static int put_bytes(struct carried *c, const struct carry_entry *f,
		     const uint8_t *data, size_t size, struct err *e)
{
	const int64_t at = f->extents[c->extent].at + c->done;
	uint8_t buf[65536];
	size_t n = 0;

	if (c->old >= 0 && !c->done &&
	    !is_hole(c->old, hole_before(c, f), f->extents[c->extent].at) &&
	    give_up_old(c, f, hole_before(c, f), e) < 0)
		return -1;
	while (c->old >= 0 && n < size) {
		size_t part = size - n < sizeof(buf) ? size - n : sizeof(buf);

		if (pread(c->old, buf, part, at + (int64_t)n) == (ssize_t)part &&
		    !memcmp(buf, data + n, part))
			n += part;
		else if (give_up_old(c, f, at + (int64_t)n, e) < 0)
			return -1;
	}
	while (n < size) {
		ssize_t done = pwrite(c->new, data + n, size - n, at + (int64_t)n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return err_sys(e, "cannot write it");
		n += (size_t)done;
	}
	return 0;
}

static int end_file(struct carried *c, const struct carry_entry *f, struct err *e)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ f->mtime_ns / 1000000000, f->mtime_ns % 1000000000 }
	};
	int fd, rc = 0;

	if (c->old >= 0 && !is_hole(c->old, hole_before(c, f), f->size) &&
	    give_up_old(c, f, hole_before(c, f), e) < 0)
		return -1;
	fd = c->old >= 0 ? c->old : c->new;
	if (c->new >= 0 && ftruncate(c->new, f->size) < 0)
		rc = err_sys(e, "cannot write it");
	if (fchown(fd, (uid_t)-1, f->gid) < 0)
		errno = 0; /* the user is not in that group any more */
	if (rc == 0 && fchmod(fd, f->mode) < 0)
		rc = err_sys(e, "cannot give it its mode");
	futimens(fd, times);
	close_fd(&c->old);
	close_fd(&c->new);
	return rc;
}

/* ---- in the order of the list --------------------------------------------------------------- */

static int bring_entry(struct carried *c, const struct carry_entry *f, struct err *e)
{
	const char *name;
	cleanup_fd int dir = -1;

	/* What is open is brought by rewind.c, and has its other names after that. */
	if (f->kind == CARRY_ROOT || f->kind == CARRY_ABOVE || f->kind == CARRY_OPEN ||
	    f->kind == CARRY_NAME)
		return 0;
	if (f->kind == CARRY_FILE)
		return begin_file(c, f, e);
	dir = carry_parent(c->places[c->place].root.fd, f->path, &name, e);
	return dir < 0 ? -1 : bring_name(c, c->place, dir, name, f, e);
}

static int in_words(const struct carried *c, const struct carry_entry *f, struct err *e)
{
	return err_context(e, "%.200s/%.200s, which was carried along",
			   c->places[c->place].root.path, f->path);
}

/* On to the next file that has content. */
static int go_on(struct carried *c, struct err *e)
{
	for (; c->next < c->list.count; c->next++) {
		const struct carry_entry *f = &c->list.list[c->next];

		while (c->place_count && c->next >= c->places[c->place].end &&
		       c->place + 1 < c->place_count)
			c->place++;
		if (c->old < 0 && c->new < 0 && bring_entry(c, f, e) < 0)
			return in_words(c, f, e);
		if (f->kind != CARRY_FILE)
			continue;
		if (c->extent < f->extent_count)
			return 0;
		if (end_file(c, f, e) < 0)
			return in_words(c, f, e);
	}
	return 0;
}

/* Every extent is filled up to a whole page. */
static int take_content(void *arg, const uint8_t *data, size_t size, struct err *e)
{
	struct carried *c = arg;

	while (size) {
		const struct carry_entry *f = &c->list.list[c->next];
		int64_t left, fill;
		size_t n;

		if (c->next == c->list.count)
			return err_set(e, "the content of carried directories is longer than their list says");
		left = f->extents[c->extent].size - c->done;
		fill = (IMAGE_PAGE - f->extents[c->extent].size % IMAGE_PAGE) % IMAGE_PAGE;
		n = left > 0 && (uint64_t)left < size ? (size_t)left : size;
		if (left > 0 && put_bytes(c, f, data, n, e) < 0)
			return in_words(c, f, e);
		if (left <= 0 && (uint64_t)(left + fill) < n)
			n = (size_t)(left + fill);
		c->done += (int64_t)n;
		data += n;
		size -= n;
		if (c->done < f->extents[c->extent].size + fill)
			continue;
		c->extent++;
		c->done = 0;
		if (go_on(c, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- the directories themselves ---------------------------------------------------------------- */

static int make_above(struct carried *c, const struct carry_entry *f, struct err *e)
{
	const struct manifest_file like = { .path = f->path,
					    .mode = (int)(S_IFDIR | f->mode) };
	char **more = realloc(c->above, (c->above_count + 1) * sizeof(*more));
	mode_t was;

	if (!more)
		return err_set(e, "no memory for the carried directories");
	c->above = more;
	if (local_make_name(&like, &was, e) < 0 || local_settle_name(&like, e) < 0)
		return -1;
	if (!was)
		c->above[c->above_count++] = f->path;
	return 0;
}

static int open_place(struct carried *c, struct place *p, const char *path,
		      struct err *e)
{
	struct stat st;
	int rc = carry_open(c->step, path, &p->root, e);

	if (rc < 0)
		return -1;
	p->in = (struct carry_in){ .root = p->root.fd, .path = path };
	if (rc > 0 && (fstat(p->root.fd, &st) < 0 ||
		       carry_had_mode(&c->acts, p->in, ".", st.st_mode, e) < 0))
		return -1;
	if (rc == 0) {
		if (mkdir(path, 0700) < 0)
			return err_sys(e, "carry=%.400s: cannot make it", path);
		p->made = true;
		if (carry_open(c->step, path, &p->root, e) <= 0)
			return err_context(e, "carry=%.400s", path);
		p->in.root = p->root.fd;
		/* If this is interrupted, what is in it is ours. */
		if (carry_mark(c->step, &p->root, e) < 0)
			return -1;
		return 0;
	}
	rc = carry_whose(c->step, &p->root, c->origin, e);
	p->in.ours = rc == 1;
	return rc < 0 ? -1 : 0;
}

static int open_places(struct carried *c, struct err *e)
{
	for (size_t i = 0; i < c->list.count; i++) {
		const struct carry_entry *f = &c->list.list[i];
		struct place *more;

		if (f->kind == CARRY_ABOVE && make_above(c, f, e) < 0)
			return -1;
		if (f->kind != CARRY_ROOT) {
			if (c->place_count)
				c->places[c->place_count - 1].end = i + 1;
			continue;
		}
		more = realloc(c->places, (c->place_count + 1) * sizeof(*more));
		if (!more)
			return err_set(e, "no memory for the carried directories");
		c->places = more;
		more[c->place_count] = (struct place){ .root = { .fd = -1 },
						       .begin = i, .end = i + 1 };
		c->place_count++;
		if (open_place(c, &more[c->place_count - 1], f->path, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- what else is there ----------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const struct carry_entry *const *x = a, *const *y = b;

	return strcmp((*x)->path, (*y)->path);
}

struct others {
	struct carried *c;
	size_t place;
	const struct carry_entry **list; /* sorted by their names: what there was */
	size_t count;
	char path[PATH_MAX], mine[64];
	struct err *e;
};

static int clear(struct others *o, int fd)
{
	const size_t was = strlen(o->path);
	struct dirent *entry;
	DIR *dir = fdopendir(fd);
	int rc = 0;

	if (!dir) {
		close(fd);
		return err_sys(o->e, "cannot look through it");
	}
	while (rc == 0 && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		const struct carry_entry named = { .path = o->path };
		const struct carry_entry *at = &named, **had;
		struct stat st;
		int sub;

		if (!strcmp(name, ".") || !strcmp(name, "..") ||
		    (!was && !strcmp(name, CARRY_MARK)) || strstr(name, o->mine) ||
		    was + strlen(name) + 2 > sizeof(o->path) ||
		    fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    st.st_uid != geteuid() ||
		    st.st_dev != o->c->places[o->place].root.dev)
			continue;
		snprintf(o->path + was, sizeof(o->path) - was, "%s%s", was ? "/" : "",
			 name);
		had = bsearch(&at, o->list, o->count,
			      sizeof(const struct carry_entry *), compare);
		if (!had) {
			rc = carry_move_aside(&o->c->acts, o->c->places[o->place].in,
					      dirfd(dir), o->path,
					o->path + was + (was > 0), o->e);
		} else if ((*had)->kind == CARRY_DIR &&
			   (sub = openat(dirfd(dir), name,
					 O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
						 O_CLOEXEC)) >= 0) {
			rc = clear(o, sub);
		}
		o->path[was] = '\0';
	}
	closedir(dir);
	return rc;
}

/* What the job has left here and had not at the checkpoint. */
static int clear_place(struct carried *c, size_t place, struct err *e)
{
	const struct place *p = &c->places[place];
	struct others o = { .c = c, .place = place, .e = e };
	int fd, rc;

	o.list = calloc(p->end - p->begin + 1, sizeof(const struct carry_entry *));
	fd = openat(p->root.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!o.list || fd < 0) {
		free(o.list);
		close_fd(&fd);
		return err_set(e, "no memory for the carried directories");
	}
	for (size_t i = p->begin + 1; i < p->end; i++)
		o.list[o.count++] = &c->list.list[i];
	qsort(o.list, o.count, sizeof(const struct carry_entry *), compare);
	snprintf(o.mine, sizeof(o.mine), CARRY_ASIDE "%u.%d", c->step->spec.job,
		 c->step->spec.restart);
	rc = clear(&o, fd);
	free(o.list);
	return rc < 0 ? err_context(e, "carry=%.300s", p->root.path) : 0;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static bool has_list(const struct manifest *m)
{
	for (size_t i = 0; i < m->set.item_count; i++)
		if (!strcmp(m->set.items[i].name, CARRY_LIST))
			return true;
	return false;
}

static int append(void *arg, const uint8_t *data, size_t size, struct err *e)
{
	FILE *to = arg;

	return fwrite(data, 1, size, to) == size ?
		       0 :
		       err_set(e, "no memory for the carried directories");
}

static int read_list(struct carried *c, struct image_reader *reader, struct err *e)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	int rc;

	if (!to)
		return err_set(e, "no memory for the carried directories");
	rc = image_reader_each(reader, CARRY_LIST, append, to, e);
	if (fclose(to) != 0 && rc == 0)
		rc = err_set(e, "no memory for the carried directories");
	return rc < 0 ? -1 : carry_take(text, &c->list, e);
}

static int bring(struct carried *c, struct image_reader *reader, struct err *e)
{
	if (read_list(c, reader, e) < 0 || open_places(c, e) < 0)
		return -1;
	for (size_t i = 0; i < c->place_count; i++)
		if (c->places[i].in.ours && clear_place(c, i, e) < 0)
			return -1;
	if (go_on(c, e) < 0 ||
	    image_reader_each(reader, CARRY_PAGES, take_content, c, e) < 0)
		return -1;
	return c->next == c->list.count ?
		       0 :
		       err_set(e, "the content of carried directories is shorter than their list says");
}

struct carried *carry_bring(const struct step *step, const struct manifest *m,
			    struct image_reader *reader, struct err *e)
{
	struct carried *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, "no memory for the carried directories");
		return NULL;
	}
	c->step = step;
	c->origin = m->origin;
	c->has_steps = m->calls > 0;
	c->acts.job = step->spec.job;
	c->acts.run = step->spec.restart;
	c->old = c->new = -1;
	if (has_list(m) && bring(c, reader, e) < 0) {
		carry_undo(c);
		carry_close(c);
		return NULL;
	}
	return c;
}

int carry_finish(struct carried *c, struct err *e)
{
	/* Other names, then what was changed by making all that: directories, the
	 * innermost first. */
	for (size_t p = 0; p < c->place_count; p++) {
		const struct place *place = &c->places[p];

		c->place = p;
		/* rewind.c may have given them their modes. */
		for (size_t i = place->begin; i < place->end; i++) {
			const struct carry_entry *f = &c->list.list[i];
			const char *name;
			int dir;

			if (f->kind != CARRY_DIR)
				continue;
			dir = carry_parent(place->root.fd, f->path, &name, NULL);
			if (dir >= 0)
				carry_open_up(dir, name);
			close_fd(&dir);
		}
		for (size_t i = place->begin; i < place->end; i++) {
			const struct carry_entry *f = &c->list.list[i];
			const char *name;
			cleanup_fd int dir = -1;

			if (f->kind != CARRY_NAME)
				continue;
			dir = carry_parent(place->root.fd, f->path, &name, e);
			if (dir < 0 || bring_name(c, p, dir, name, f, e) < 0)
				return in_words(c, f, e);
		}
		for (size_t i = place->end; i-- > place->begin;) {
			const struct carry_entry *f = &c->list.list[i];
			const char *name = ".";
			cleanup_fd int dir = -1;

			if (f->kind != CARRY_DIR && f->kind != CARRY_ROOT)
				continue;
			dir = f->kind == CARRY_ROOT ?
				      openat(place->root.fd, ".",
					     O_RDONLY | O_DIRECTORY | O_CLOEXEC) :
				      carry_parent(place->root.fd, f->path, &name, e);
			if (dir < 0)
				return in_words(c, f, e);
			if (carry_set_mode(dir, name, f->mode) < 0) {
				err_sys(e, "cannot give it its mode");
				return in_words(c, f, e);
			}
			set_times(dir, name, f);
		}
		if (carry_mark(c->step, &place->root, e) < 0)
			return -1;
	}
	return 0;
}

/* Takes away what was made, and gives names back, the last first. */
void carry_undo(struct carried *c)
{
	close_fd(&c->old);
	close_fd(&c->new);
	carry_acts_undo(&c->acts);
	for (size_t i = c->place_count; i-- > 0;)
		if (c->places[i].root.fd >= 0 && !c->places[i].in.ours) {
			unlinkat(c->places[i].root.fd, CARRY_MARK, 0);
			if (c->places[i].made)
				rmdir(c->places[i].root.path);
		}
	while (c->above_count)
		rmdir(c->above[--c->above_count]);
}

void carry_drop(struct carried *c)
{
	/* The steps of a script go on from checkpoints of their own, and may miss it: what they have
	 * closed since the script's is nowhere else. */
	if (!c->has_steps)
		carry_acts_drop(&c->acts);
}

/* A job that goes on from another one's checkpoint may have been told other names. */
static int is_asked_for(const struct step *step, const char *path, void *arg,
			struct err *e)
{
	(void)step;
	(void)e;
	return strcmp(path, arg) ? 0 : -1;
}

static void keep_carrying(struct step *step, const char *path)
{
	char *words = step->spec.carry;
	const size_t n = strlen(words), room = sizeof(step->spec.carry) - n;

	if (carry_each(step, is_asked_for, (void *)(uintptr_t)path, NULL) < 0)
		return;
	if ((size_t)snprintf(words + n, room, "%s%s", n ? ":" : "", path) >= room) {
		words[n] = '\0';
		step_tell(step, CONTROL_NOTE, "carry=%s: the list would be too long; that directory is not in later checkpoints",
			  path);
	}
}

void carry_done(const struct carried *c, struct step *step)
{
	char where[400] = "";
	unsigned kept = carry_acts_kept(&c->acts, where, sizeof(where));

	for (size_t i = 0; i < c->place_count; i++)
		keep_carrying(step, c->places[i].root.path);
	if (kept)
		step_tell(step, CONTROL_NOTE, "carry=: %s here that %s: what had it before lies beside it (%s)",
			  kept == 1 ? "a name was in use" : "names were in use",
			  c->has_steps ? "the script's checkpoint has otherwise, or not, and its steps may need" :
					"the checkpoint has, too", where);
}

void carry_close(struct carried *c)
{
	if (!c)
		return;
	close_fd(&c->old);
	close_fd(&c->new);
	for (size_t i = 0; i < c->place_count; i++)
		close_fd(&c->places[i].root.fd);
	carry_acts_free(&c->acts);
	free(c->above);
	free(c->places);
	carry_free(&c->list);
	free(c);
}
