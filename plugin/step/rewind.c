/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that goes back to a checkpoint writes again what it had written
 * since. Its files go back before it, if it is certain what they hold: what was
 * appended is cut off, what was written in place comes from the store, and what
 * is taken away lies beside the file afterwards, as FILE.sckpt-cut.JOB.RUN.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

/* ---- a file as it is now ---------------------------------------------------------- */

struct change {
	enum rewind_action action;
	const char *why;
	struct file_now now;
	bool done; /* something of it; what has failed before that is not undone */
	mode_t was; /* of a directory that was there; 0: it was made */
	int64_t taken; /* bytes that lie in `side` now */
	char side[4200]; /* "" nothing was taken away */
};

struct rewind {
	const struct step *step;
	const struct manifest *m;
	bool ours; /* the program may have run on after the checkpoint */
	bool asked; /* for others */
	struct change *list; /* as many as m->files */
};

static void look_at(const struct rewind *r, const struct manifest_file *f, int fd,
		    const struct stat *st, struct file_now *now)
{
	uint8_t sha256[IMAGE_SHA256];
	bool appended, left;

	*now = (struct file_now){ .there = S_ISREG(st->st_mode),
				  .same_inode = st->st_ino == f->inode,
				  .size = st->st_size,
				  .mtime_ns = files_mtime(st),
				  .ours = r->ours };
	appended = f->appended && now->size >= f->size && (f->digested || !f->size);
	/* Where times lie all of it is compared, if it may be what was left here. */
	left = f->local && f->times_lie && *f->copy && now->same_inode &&
	       now->size == f->size && now->mtime_ns == f->mtime_ns;
	if (fd < 0 || (!appended && !left))
		return;
	now->known = image_sha256_file(fd, f->size - f->digested, f->digested,
				       sha256, NULL) == 0;
	now->same = now->known && !memcmp(sha256, f->sha256, sizeof(sha256));
}

/* By its name; never through a link that somebody put there since. */
static int look_by_name(struct rewind *r, size_t i, struct err *e)
{
	const struct manifest_file *f = &r->m->files[i];
	cleanup_fd int fd = -1;
	struct stat st = { .st_mode = 0 };

	r->list[i].now = (struct file_now){ .ours = r->ours };
	if (lstat(f->path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ?
			       0 :
			       err_sys(e, "%s", f->path);
	if (!S_ISREG(st.st_mode))
		return 0;
	fd = open(f->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) < 0)
		return err_sys(e, "%s", f->path);
	look_at(r, f, fd, &st, &r->list[i].now);
	return 0;
}

/* Asked only when something is to be taken away. */
static void ask_for_others(struct rewind *r)
{
	cleanup_free bool *others = NULL;

	if (r->asked)
		return;
	r->asked = true;
	others = calloc(r->m->file_count, sizeof(*others));
	if (others)
		others_find(r->step, r->m, others);
	for (size_t i = 0; i < r->m->file_count; i++)
		r->list[i].now.others = !others || others[i];
}

static void decide(struct rewind *r, size_t i)
{
	const struct manifest_file *f = &r->m->files[i];
	struct change *c = &r->list[i];
	bool others = c->now.others;

	c->action = rewind_decide(f, &c->now, &c->why);
	if (c->action != REWIND_CUT && c->action != REWIND_BRING)
		return; /* of what is replaced, others keep theirs */
	ask_for_others(r);
	if (c->now.others != others)
		c->action = rewind_decide(f, &c->now, &c->why);
}

/* ---- changing it ------------------------------------------------------------------------ */

/* A new file beside it, with the same permissions. */
static int open_side(struct rewind *r, const char *path, int mode,
		     char *side, size_t size, struct err *e)
{
	const struct spec *spec = &r->step->spec;
	const char *name = strrchr(path, '/');
	size_t all = strlen(path), own = strlen(name ? name + 1 : path);

	for (int n = 1; n < 1000; n++) {
		char end[64];
		size_t more = (size_t)snprintf(end, sizeof(end),
					       n > 1 ? ".sckpt-cut.%u.%d.%d" :
						       ".sckpt-cut.%u.%d",
					       spec->job, spec->restart, n);
		/* A long name has no room for that. */
		size_t over = own + more > NAME_MAX ? own + more - NAME_MAX : 0;
		int fd;

		if ((size_t)snprintf(side, size, "%.*s%s", (int)(all - over), path,
				     end) >= size)
			break;
		fd = open(side, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  0600);
		if (fd >= 0) {
			fchmod(fd, (mode_t)mode & 0777);
			return fd;
		}
		if (errno != EEXIST)
			break;
	}
	err_sys(e, "what would be taken out of it cannot be kept in %.200s", side);
	side[0] = '\0';
	return -1;
}

/* Bytes [from, end) of fd go into a file beside. */
static int keep_beside(struct rewind *r, struct change *c, const char *path,
		       int fd, int64_t from, struct err *e)
{
	cleanup_fd int side = -1;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot look at it");
	side = open_side(r, path, (int)st.st_mode, c->side, sizeof(c->side), e);
	if (side < 0)
		return -1;
	c->taken = st.st_size - from;
	if (file_copy(fd, from, side, c->taken, e) < 0 ||
	    (fsync(side) < 0 && err_sys(e, "cannot write %.200s", c->side) < 0)) {
		unlink(c->side);
		c->side[0] = '\0';
		return -1;
	}
	return 0;
}

static int open_to_change(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "cannot open it") : fd;
}

static int cut(struct rewind *r, const struct manifest_file *f, struct change *c,
	       const char *path, struct err *e)
{
	cleanup_fd int fd = open_to_change(path, e);

	if (fd < 0 || keep_beside(r, c, path, fd, f->size, e) < 0)
		return -1;
	if (ftruncate(fd, f->size) < 0 || fsync(fd) < 0)
		return err_sys(e, "cannot cut it");
	return 0;
}

/* Writes what is in `from` to the file, and nothing else is in it then. */
static int put_content(int from, int64_t size, int fd, struct err *e)
{
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "cannot write it");
	if (file_copy(from, 0, fd, size, e) < 0)
		return -1;
	return fsync(fd) < 0 ? err_sys(e, "cannot write it") : 0;
}

static int open_copy(const struct rewind *r, const struct manifest_file *f,
		     struct err *e)
{
	int fd = openat(r->step->store.dir, f->copy,
			O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "its copy %s/%s", r->step->store.path, f->copy) :
			fd;
}

static int check_copy(const struct rewind *r, const struct manifest_file *f,
		      struct err *e)
{
	cleanup_fd int fd = open_copy(r, f, e);

	if (fd < 0)
		return -1;
	return file_check(fd, f, e) < 0 ?
		       err_context(e, "its copy %.200s/%s", r->step->store.path,
				   f->copy) :
		       0;
}

static int bring(struct rewind *r, const struct manifest_file *f,
		 struct change *c, struct err *e)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ f->mtime_ns / 1000000000, f->mtime_ns % 1000000000 }
	};
	cleanup_fd int from = open_copy(r, f, e);
	cleanup_fd int fd = -1;

	if (from < 0)
		return -1;
	if (c->now.there) {
		c->done = true;
		if ((fd = open_to_change(f->path, e)) < 0 ||
		    (c->now.size &&
		     keep_beside(r, c, f->path, fd, 0, e) < 0))
			return -1;
	} else {
		fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW |
					   O_CLOEXEC, (mode_t)f->mode & 0777);
		if (fd < 0)
			return err_sys(e, "cannot make it");
		c->done = true;
		fchmod(fd, (mode_t)f->mode & 0777);
	}
	if (put_content(from, f->size, fd, e) < 0)
		return -1;
	futimens(fd, times);
	return 0;
}

/* What has the name is moved away whole: whoever has it open goes on with it. */
static int move_away(struct rewind *r, const struct manifest_file *f,
		     struct change *c, int64_t size, struct err *e)
{
	int side = open_side(r, f->path, f->mode, c->side, sizeof(c->side), e);

	if (side < 0)
		return -1;
	close(side);
	if (rename(f->path, c->side) < 0) {
		err_sys(e, "cannot move away what is there");
		unlink(c->side);
		c->side[0] = '\0';
		return -1;
	}
	c->taken = size;
	c->done = true;
	return 0;
}

static int replace(struct rewind *r, const struct manifest_file *f,
		   struct change *c, struct err *e)
{
	if (c->now.there && move_away(r, f, c, c->now.size, e) < 0)
		return -1;
	c->now.there = false;
	return bring(r, f, c, e);
}

/* One more name of a file that has been brought back. */
static int name_again(struct rewind *r, const struct manifest_file *f,
		      struct change *c, struct err *e)
{
	const char *first = r->m->files[f->name_of - 1].path;
	struct stat is, want;

	if (lstat(first, &want) < 0)
		return err_sys(e, "%.400s", first);
	if (lstat(f->path, &is) == 0) {
		if (is.st_dev == want.st_dev && is.st_ino == want.st_ino)
			return 0;
		if (move_away(r, f, c, is.st_size, e) < 0)
			return -1;
	}
	if (link(first, f->path) < 0)
		return err_sys(e, "cannot make it a name of %.400s", first);
	c->done = true;
	return 0;
}

static int change(struct rewind *r, size_t i, struct err *e)
{
	const struct manifest_file *f = &r->m->files[i];
	struct change *c = &r->list[i];
	int rc;

	if (f->name_of)
		return name_again(r, f, c, e);
	if (manifest_is_name(f)) {
		rc = local_make_name(f, &c->was, e);
		c->done = rc == 0;
		return rc;
	}
	switch (c->action) {
	case REWIND_CUT:
		c->done = true;
		return cut(r, f, c, f->path, e);
	case REWIND_BRING:
		return bring(r, f, c, e);
	case REWIND_REPLACE:
		return replace(r, f, c, e);
	default:
		return 0;
	}
}

static void undo(const struct manifest_file *f, struct change *c)
{
	cleanup_fd int fd = -1, side = -1;

	c->done = false;
	if (f->name_of || c->action == REWIND_REPLACE) {
		unlink(f->path);
		if (*c->side)
			rename(c->side, f->path);
		return;
	}
	if (manifest_is_name(f)) {
		if (c->was)
			chmod(f->path, c->was & 07777);
		else
			remove(f->path);
		return;
	}
	if (!*c->side) {
		if (c->action == REWIND_BRING && !c->now.there)
			unlink(f->path);
		else if (c->action == REWIND_BRING && !c->now.size)
			truncate(f->path, 0);
		return;
	}
	if ((fd = open_to_change(f->path, NULL)) < 0 ||
	    (side = open(c->side, O_RDONLY | O_CLOEXEC)) < 0)
		return;
	/* What was cut off begins where the file ends. */
	if (c->action == REWIND_CUT) {
		if (ftruncate(fd, f->size) < 0 ||
		    lseek(fd, 0, SEEK_END) != f->size ||
		    file_copy(side, 0, fd, c->taken, NULL) < 0)
			return;
	} else if (put_content(side, c->taken, fd, NULL) < 0) {
		return;
	}
	unlink(c->side);
}

/* ---- all of them -------------------------------------------------------------------------- */

static int check_all(struct rewind *r, struct err *e)
{
	for (size_t i = 0; i < r->m->file_count; i++) {
		const struct manifest_file *f = &r->m->files[i];

		if ((f->local && local_check(f, e) < 0) ||
		    (!f->stream && !manifest_is_name(f) && look_by_name(r, i, e) < 0))
			return -1;
	}
	for (size_t i = 0; i < r->m->file_count; i++) {
		const struct manifest_file *f = &r->m->files[i];
		struct change *c = &r->list[i];

		if (f->stream || manifest_is_name(f))
			continue;
		decide(r, i);
		if (c->action == REWIND_REFUSE)
			return err_set(e, "%.400s, which the program %s, %s",
				       f->path, f->local ? "has open" : "writes",
				       c->why);
		if ((c->action == REWIND_BRING || c->action == REWIND_REPLACE) &&
		    check_copy(r, f, e) < 0)
			return err_context(e, "%.200s, which the program writes",
					   f->path);
	}
	return 0;
}

static int change_all(struct rewind *r, struct err *e)
{
	for (size_t i = 0; i < r->m->file_count; i++)
		if (!r->m->files[i].stream && change(r, i, e) < 0) {
			rewind_undo(r);
			return err_context(e, "%.300s, which the program writes",
					   r->m->files[i].path);
		}
	for (size_t i = 0; i < r->m->file_count; i++)
		if (S_ISDIR(r->m->files[i].mode) &&
		    local_settle_name(&r->m->files[i], e) < 0) {
			rewind_undo(r);
			return -1;
		}
	return 0;
}

struct rewind *rewind_begin(const struct step *step, const struct manifest *m,
			    struct err *e)
{
	struct rewind *r = calloc(1, sizeof(*r));
	int ran = store_ran_between(&step->store, m->run, step->spec.restart, e);

	if (!r || !(r->list = calloc(m->file_count + 1, sizeof(*r->list)))) {
		free(r);
		err_set(e, "no memory for the program's files");
		return NULL;
	}
	r->step = step;
	r->m = m;
	r->ours = !m->ended || ran > 0 || m->origin;
	if (ran < 0 || (step->spec.limits.files != FILES_LEAVE &&
			(check_all(r, e) < 0 || change_all(r, e) < 0))) {
		rewind_free(r);
		return NULL;
	}
	return r;
}

void rewind_undo(struct rewind *r)
{
	/* Directories come before what is in them, and that can be taken away when
	 * their owner may write to them. */
	for (size_t i = 0; i < r->m->file_count; i++)
		if (r->list[i].done && S_ISDIR(r->m->files[i].mode))
			chmod(r->m->files[i].path, 0700);
	for (size_t i = r->m->file_count; i-- > 0;)
		if (r->list[i].done)
			undo(&r->m->files[i], &r->list[i]);
}

/* What lies behind the program's last word, or was marked before, is of others. */
static bool is_shared(const struct manifest_file *f, const struct file_now *now)
{
	return f->shared || now->others ||
	       (f->appended && !now->ours && now->size > f->size);
}

static void drop(char *path)
{
	char *name = strrchr(path, '/');
	cleanup_fd int dir = -1;

	if (!name)
		return;
	*name++ = '\0';
	dir = open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir >= 0)
		local_remove(dir, name);
}

/* What the program itself had had on this node is of no use to anybody any more. */
void rewind_drop(const struct rewind *r)
{
	cleanup_free struct stat *files = calloc(r->m->file_count + 1, sizeof(*files));
	cleanup_free bool *left = calloc(r->m->file_count + 1, sizeof(*left));
	bool any = false;

	for (size_t i = 0; files && i < r->m->file_count; i++)
		if (r->m->files[i].local && *r->list[i].side)
			any |= lstat(r->list[i].side, &files[i]) == 0;
	if (!any || !left)
		return;
	local_find_left(r->step, r->m, files, left);
	for (size_t i = 0; i < r->m->file_count; i++)
		if (left[i]) {
			drop(r->list[i].side);
			r->list[i].side[0] = '\0';
		}
}

/* "a and 3 more" keeps the step's standard error short. */
#define TOLD_MOST 8

void rewind_done(const struct rewind *r, struct step *step)
{
	int told = 0;

	for (size_t i = 0; i < r->m->file_count; i++) {
		const struct change *c = &r->list[i];
		const char *path = r->m->files[i].path;
		char size[16];

		if (is_shared(&r->m->files[i], &c->now))
			files_shared(step, &r->m->files[i]);
		/* On another node that is as it should be. */
		if (r->m->files[i].local && !*c->side)
			continue;
		if (!c->why && !c->done)
			continue;
		if (++told > TOLD_MOST)
			continue;
		size_print((uint64_t)c->taken, size);
		if (c->why)
			step_tell(r->step, CONTROL_NOTE, "%s %s", path, c->why);
		else if (c->action == REWIND_CUT)
			step_tell(r->step, CONTROL_NOTE, "%s is as it was at the checkpoint: %s that were written later were cut off and lie in %s",
				   path, size, c->side);
		else if (*c->side)
			step_tell(r->step, CONTROL_NOTE, "%s is as it was at the checkpoint; what it held lies in %s",
				   path, c->side);
		else
			step_tell(r->step, CONTROL_NOTE, "%s is as it was at the checkpoint",
				   path);
	}
	if (told > TOLD_MOST)
		step_tell(r->step, CONTROL_NOTE, "and so it is with %d more files",
			   told - TOLD_MOST);
}

void rewind_free(struct rewind *r)
{
	if (r)
		free(r->list);
	free(r);
}

/* ---- standard output and error --------------------------------------------------------------- */

static size_t stream_at(const struct rewind *r, int stream)
{
	size_t i = 0;

	while (i < r->m->file_count && r->m->files[i].stream != stream)
		i++;
	return i;
}

bool rewind_shared(const struct rewind *r, int stream)
{
	size_t i = stream_at(r, stream);

	return i < r->m->file_count && r->m->files[i].shared;
}

/* Whole lines of sckpt's, as the supervisor says them. */
static bool only_sckpt(const char *at, size_t size)
{
	static const char says[] = "sckpt: ";
	const char *end = at + size, *nl;

	for (; at < end; at = nl + 1)
		if ((size_t)(end - at) < strlen(says) ||
		    memcmp(at, says, strlen(says)) ||
		    !(nl = memchr(at, '\n', (size_t)(end - at))))
			return false;
	return true;
}

/*
 * Has nobody written behind `from` but Slurm, of this job's end, and sckpt? Then
 * that is no reason to cut the file, and no sign of others; Slurm's line is taken
 * out, and sckpt's stay. 1, 0, -1.
 */
static int only_notices(const struct rewind *r, int fd, int64_t from, int64_t end,
			struct err *e)
{
	cleanup_free char *buf = NULL;
	int64_t size = end - from;
	size_t left;

	if (size <= 0 || size > 65536 || !(buf = malloc((size_t)size)) ||
	    pread(fd, buf, (size_t)size, from) != size)
		return 0;
	left = output_strip(buf, (size_t)size, r->step->spec.job);
	if (!only_sckpt(buf, left))
		return 0;
	if (left == (size_t)size)
		return 1;
	if (ftruncate(fd, from) < 0 || lseek(fd, from, SEEK_SET) < 0)
		return err_sys(e, "cannot cut the output file");
	return file_write(fd, buf, left, e) < 0 ? -1 : 1;
}

int rewind_stream(struct rewind *r, int stream, int fd, struct err *e)
{
	size_t i = stream_at(r, stream);
	const struct manifest_file *f = &r->m->files[i];
	struct change *c = &r->list[i];
	cleanup_fd int in = -1;
	char path[64], name[4096];
	struct stat st;
	ssize_t n;
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot look at the output file");
	in = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (i == r->m->file_count || in < 0 || !f->appended ||
	    (!f->digested && f->size))
		/* Not noted by the one that wrote the manifest, or not to be
		 * read: its length is all there is to judge by. */
		return st.st_size >= r->m->streams[stream].length;
	look_at(r, f, in, &st, &c->now);
	if (!c->now.same || (!f->size && !r->step->spec.append)) {
		if (r->step->spec.append)
			c->why = "does not hold any more what the program had written";
		return 0;
	}
	if ((rc = only_notices(r, in, f->size, st.st_size, e))) {
		c->now.size = f->size;
		return rc;
	}
	if (r->step->spec.limits.files == FILES_LEAVE)
		return 1;
	decide(r, i);
	n = readlink(path, name, sizeof(name) - 1);
	if (c->action != REWIND_CUT || n <= 0)
		return 1;
	name[n] = '\0';
	c->done = true;
	if (cut(r, f, c, name, e) < 0)
		return err_context(e, "%.300s", name);
	return 1;
}
