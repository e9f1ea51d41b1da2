/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard input and output. A file stays a file: the program has the one
 * that slurmstepd opened, and criu is told to leave it out. A pipe ends in
 * slurmstepd, which will be another one after the restore: there the agent
 * stands between, knows what has passed, and can say it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "frame.h"

#define BUF 65536
/* More than one start of a job writes before its program goes on. */
#define NEWER_MOST (64 << 20)

/* criu's name of an open file: the ids of /proc/self/fdinfo (files-reg.c). */
static int file_key(int fd, const struct stat *st, char *key, size_t size,
		    struct err *e)
{
	cleanup_free char *info = NULL;
	char path[64], *at;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (file_read(AT_FDCWD, path, 65536, &info, e) < 0)
		return -1;
	if (!(at = strstr(info, "mnt_id:")))
		return err_set(e, "%s has no mnt_id", path);
	snprintf(key, size, "file[%lx:%lx]", strtoul(at + 7, NULL, 10),
		 (unsigned long)st->st_ino);
	return 0;
}

/* Every task has three: 3 * task + descriptor is its number. */
static bool is_input(int stream)
{
	return stream % TASK_STREAMS == 0;
}

static int interpose(const struct stdio *io, struct std_stream *s, bool input,
		     struct err *e)
{
	int p[2], mine = input ? 1 : 0;
	struct stat st;

	if (pipe2(p, O_CLOEXEC) < 0 || !(s->buf = malloc(BUF)))
		return err_sys(e, "cannot stand between slurmstepd and the program");
	s->inner = p[mine];
	/* Above what it becomes in criu, see criu_start(). */
	s->program = fcntl(p[!mine], F_DUPFD_CLOEXEC, io->above);
	close(p[!mine]);
	if (fstat(s->program, &st) < 0)
		return err_sys(e, "cannot look at a pipe");
	snprintf(s->key, sizeof(s->key), "pipe:[%lu]", (unsigned long)st.st_ino);
	fcntl(s->inner, F_SETFL, O_NONBLOCK);
	fcntl(s->outer, F_SETFL, fcntl(s->outer, F_GETFL) | O_NONBLOCK);
	return 0;
}

/* The first output stream that is the same open file or pipe as i; i when there
 * is none before it. */
static int first_same(const struct stdio *io, int i)
{
	struct stat st, other;

	if (fstat(io->s[i].outer, &st) < 0)
		return i;
	for (int j = 1; j < i; j++)
		if (!is_input(j) && io->s[j].kind == io->s[i].kind &&
		    fstat(io->s[j].outer, &other) == 0 &&
		    other.st_dev == st.st_dev && other.st_ino == st.st_ino)
			return j;
	return i;
}

/* Of a script's srun call, and not to a file of srun's (spank/srun.c). */
static bool to_script(const struct spec *spec, int i)
{
	return spec->token &&
	       ((i % TASK_STREAMS == 1 && spec->script_out) ||
		(i % TASK_STREAMS == 2 && spec->script_err));
}

/* It is said again after a restore. A file that Slurm appends to has it already; the script's srun
 * knows what it has passed on, and in which mode some file would be opened means nothing there. */
static bool is_kept(const struct spec *spec, int i)
{
	return !*spec->off && !is_input(i) && (!spec->append || to_script(spec, i));
}

static int take(struct stdio *io, const struct spec *spec, int i, int fd, struct err *e)
{
	struct std_stream *s = &io->s[i];
	struct stat st;
	int same = i;

	s->outer = s->inner = s->program = s->rest = s->output = -1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	/* Away from 0 to 2, which nothing of the agent may hold: the
	 * program's end of file is told by them. */
	if ((s->outer = fcntl(fd, F_DUPFD_CLOEXEC, io->above)) < 0)
		return err_sys(e, "cannot keep descriptor %d", fd);
	s->kind = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ? STREAM_PIPE :
								STREAM_FILE;
	if (!is_input(i))
		same = first_same(io, i);
	if (s->kind == STREAM_FILE) {
		s->program = s->outer;
		s->regular = !is_input(i) && S_ISREG(st.st_mode) &&
			     (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
		if (file_key(fd, &st, s->key, sizeof(s->key), e) < 0)
			return -1;
	} else if (same != i) {
		/* One pipe for both, as they had. */
		s->program = fcntl(io->s[same].program, F_DUPFD_CLOEXEC,
				   io->above);
		memcpy(s->key, io->s[same].key, sizeof(s->key));
	} else if (interpose(io, s, is_input(i), e) < 0) {
		return -1;
	}
	if (is_kept(spec, i) && (s->regular || s->kind == STREAM_PIPE))
		s->output = same;
	return 0;
}

/* The frames that BUF bytes may need: of newlines each is two. */
#define FRAMES_BUF ((2 * BUF / (FRAME_SIZE - 64) + 1) * FRAME_SIZE)

/*
 * A step of a protected script says after a restore all again that it had said, and
 * sckpt-srun drops as much as it has passed on. What several streams say has no order, and
 * slurmstepd puts into what they say labels, and newlines at their end: it is told apart.
 */
static int put_in_frames(struct stdio *io, const struct spec *spec, struct err *e)
{
	io->token = spec->token;
	io->part = spec->part;
	if (spec->nodes < 2 && spec->tasks < 2 && !spec->labels)
		return 0;
	for (int i = 0; i < io->count; i++) {
		struct std_stream *s = &io->s[i];

		if (s->kind != STREAM_PIPE || !s->buf || !to_script(spec, i))
			continue;
		s->framed = true;
		s->raw = s->buf;
		if (!(s->buf = malloc(FRAMES_BUF)))
			return err_set(e, "no memory for the step's standard streams");
	}
	return 0;
}

int stdio_take(struct stdio *io, const struct spec *spec, const int *fds,
	       int tasks, struct err *e)
{
	memset(io, 0, sizeof(*io));
	io->job = spec->job;
	io->above = CRIU_FD_FIRST + tasks * TASK_STREAMS + EXCHANGES_MAX;
	io->s = calloc((size_t)tasks * TASK_STREAMS, sizeof(*io->s));
	if (!io->s)
		return err_set(e, "no memory for the step's standard streams");
	if (outlogs_init(&io->logs, tasks * TASK_STREAMS, e) < 0)
		return -1;
	for (; io->count < tasks * TASK_STREAMS; io->count++)
		if (take(io, spec, io->count, fds[io->count], e) < 0)
			return -1;
	return put_in_frames(io, spec, e);
}

int stdio_keep(struct stdio *io, const struct store *store, bool fresh,
	       struct err *e)
{
	for (int i = 0; i < io->count; i++) {
		struct outlog *log = &io->logs.list[i];

		if (io->s[i].output != i)
			continue;
		/* Of a run that was only thought dead nothing comes into a new one. */
		log->fd = fresh ? output_open_new(store, i, e) : output_open(store, i, true, e);
		if (log->fd < 0)
			return err_context(e, "cannot keep the program's output");
		log->safe = lseek(log->fd, 0, SEEK_END);
	}
	return 0;
}

void stdio_give(const struct stdio *io, int task)
{
	const struct std_stream *s = &io->s[task * TASK_STREAMS];

	for (int i = 0; i < TASK_STREAMS; i++)
		if (s[i].program >= 0)
			dup2(s[i].program, i);
		else
			close(i);
}

void stdio_given(struct stdio *io)
{
	for (int i = 0; i < io->count; i++) {
		struct std_stream *s = &io->s[i];

		if (s->kind == STREAM_PIPE && s->program >= 0)
			close(s->program);
		s->program = -1;
	}
}

/* ---- moving bytes ------------------------------------------------------ */

/* What the program wrote is in the store before anybody else has it. */
static void keep(struct stdio *io, const struct std_stream *s)
{
	if (s->output >= 0 && io->logs.list[s->output].fd >= 0)
		outlog_add(&io->logs, s->output, s->framed ? s->raw : s->buf, s->filled);
}

/* End of input is the program's to see, but how much of it is unread must be
 * known at a dump: through a reading end, which cannot keep it open. */
static void end_input(struct std_stream *s)
{
	char path[64];

	if (s->inner < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->inner);
	s->rest = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	close_fd(&s->inner);
}

/* What is in raw is to be said in frames. */
static void frame(const struct stdio *io, struct std_stream *s)
{
	size_t n = s->filled, done = 0;

	s->filled = 0;
	while (done < n) {
		size_t more = frame_make(s->buf + s->filled, io->token, io->part,
					 (int)(s - io->s), s->said, s->raw + done,
					 n - done);

		s->filled += FRAME_SIZE;
		s->said += (int64_t)more;
		done += more;
	}
}

/* Fills the buffer; returns false when there is nothing (more) to read. */
static bool fill(struct stdio *io, struct std_stream *s, bool input)
{
	int *from = input ? &s->outer : &s->inner;
	ssize_t n;

	if (*from < 0)
		return false;
	n = read(*from, s->framed ? s->raw : s->buf, BUF);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	s->filled = s->sent = 0;
	if (n <= 0) {
		close_fd(from);
		if (input)
			end_input(s);
		else
			close_fd(&s->outer);
		return false;
	}
	s->filled = (size_t)n;
	if (input && s->skip > 0) {
		size_t over = s->skip < n ? (size_t)s->skip : (size_t)n;

		s->skip -= (int64_t)over;
		s->sent = over;
	}
	if (!input)
		keep(io, s);
	if (s->framed)
		frame(io, s);
	return true;
}

struct later {
	struct later *next;
	int stream;
	size_t size;
	char data[];
};

/* What was put off comes before what is still in the program's pipe. */
static bool fill_again(struct stdio *io, struct std_stream *s)
{
	struct later **at = &io->later, *l;

	while (*at && (*at)->stream != s - io->s)
		at = &(*at)->next;
	if (!(l = *at))
		return false;
	memcpy(s->buf, l->data, l->size);
	s->filled = l->size;
	s->sent = 0;
	*at = l->next;
	free(l);
	return true;
}

static bool fill_next(struct stdio *io, struct std_stream *s, bool input)
{
	return fill_again(io, s) || fill(io, s, input);
}

/* Empties the buffer; returns false when it cannot go on now. */
static bool empty(struct std_stream *s, bool input)
{
	int *to = input ? &s->inner : &s->outer;

	while (s->sent < s->filled) {
		ssize_t n = *to < 0 ? -1 :
				      write(*to, s->buf + s->sent,
					    s->filled - s->sent);

		if (*to >= 0 && n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (n < 0) {
			/* Nobody reads any more: let the writer notice. */
			s->filled = s->sent = 0;
			close_fd(to);
			close_fd(input ? &s->outer : &s->inner);
			return false;
		}
		s->sent += (size_t)n;
		if (input)
			s->moved += n;
	}
	return true;
}

void stdio_pump(struct stdio *io)
{
	for (int i = 0; i < io->count; i++) {
		struct std_stream *s = &io->s[i];

		if (s->kind != STREAM_PIPE || !s->buf)
			continue;
		/* A flood must not keep orders and signals waiting. */
		for (int n = 0; n < 16; n++)
			if (!empty(s, is_input(i)) || !fill_next(io, s, is_input(i)))
				break;
	}
}

int stdio_polls(const struct stdio *io, struct pollfd *p)
{
	int n = 0;

	for (int i = 0; i < io->count; i++) {
		const struct std_stream *s = &io->s[i];
		bool full = s->sent < s->filled;
		int from = is_input(i) ? s->outer : s->inner;
		int to = is_input(i) ? s->inner : s->outer;

		if (s->kind != STREAM_PIPE || !s->buf)
			continue;
		if (full && to >= 0)
			p[n++] = (struct pollfd){ to, POLLOUT, 0 };
		else if (!full && from >= 0)
			p[n++] = (struct pollfd){ from, POLLIN, 0 };
	}
	return n;
}

void stdio_flush(struct stdio *io, int timeout_ms, bool patient)
{
	int64_t begun = clock_ns(CLOCK_MONOTONIC);

	for (;;) {
		struct pollfd p[io->count];
		int64_t now = clock_ns(CLOCK_MONOTONIC), left;
		int n = 0;

		if (patient)
			begun = now;
		left = timeout_ms - (now - begun) / 1000000;
		stdio_pump(io);
		for (int i = 1; i < io->count; i++) {
			const struct std_stream *s = &io->s[i];

			if (is_input(i))
				continue;
			if (s->sent < s->filled && s->outer >= 0)
				p[n++] = (struct pollfd){ s->outer, POLLOUT, 0 };
			else if (s->inner >= 0)
				p[n++] = (struct pollfd){ s->inner, POLLIN, 0 };
		}
		if (n == 0 || left <= 0 || poll(p, (nfds_t)n, (int)left) == 0)
			return;
	}
}

/* ---- at a dump --------------------------------------------------------- */

/*
 * All that is in the program's pipe goes to the log. With the program frozen nothing follows.
 * Whoever reads what srun writes may stand still, and the program go on here: so it is put
 * off, and nothing is waited for.
 */
static int settle_pipe(struct stdio *io, struct std_stream *s, struct err *e)
{
	const struct std_stream was = *s; /* what is on its way stays where it is */
	struct later **at = &io->later;
	int unread = 0, rc = 0;

	while (*at)
		at = &(*at)->next;
	/* The pipe's end is met when all has been said. */
	while (s->inner >= 0 && ioctl(s->inner, FIONREAD, &unread) == 0 && unread > 0) {
		struct later *l = malloc(sizeof(*l) + (s->framed ? FRAMES_BUF : BUF));

		if (!l) {
			rc = err_set(e, "no memory for what the program wrote");
			break;
		}
		s->buf = l->data;
		if (!fill(io, s, false)) {
			free(l);
			break;
		}
		*l = (struct later){ .stream = (int)(s - io->s), .size = s->filled };
		*at = l;
		at = &l->next;
	}
	s->buf = was.buf;
	s->filled = was.filled;
	s->sent = was.sent;
	return rc;
}

/* What the program wrote into a file. */
static int copy_file(struct stdio *io, int i, struct err *e)
{
	cleanup_fd int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", io->s[i].outer);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return err_sys(e, "cannot read the output file back");
	return outlog_copy(&io->logs.list[i], fd, io->job, e);
}

int stdio_settle(struct stdio *io, struct manifest *m, struct err *e)
{
	int rc = 0;

	if (manifest_add_streams(m, (size_t)io->count / TASK_STREAMS, e) < 0)
		return -1;
	for (int i = 0; rc == 0 && i < io->count; i++)
		if (io->s[i].kind == STREAM_PIPE && io->s[i].buf && !is_input(i))
			rc = settle_pipe(io, &io->s[i], e);
	stdio_pump(io);
	if (rc < 0)
		return -1;
	for (int i = 0; i < io->count; i++) {
		struct manifest_stream *to = &m->streams[i];
		struct std_stream *s = &io->s[i];
		int unread = 0;

		memcpy(to->key, s->key, sizeof(to->key));
		if (s->kind == STREAM_PIPE && is_input(i)) {
			int fd = s->inner >= 0 ? s->inner : s->rest;

			if (fd >= 0 && ioctl(fd, FIONREAD, &unread) < 0)
				return err_sys(e, "cannot tell what input is unread");
			to->position = s->moved - unread;
		} else if (s->kind == STREAM_FILE && is_input(i)) {
			off_t at = lseek(s->outer, 0, SEEK_CUR);

			to->position = at > 0 ? at : 0;
		}
	}
	if (outlogs_settle(&io->logs, e) < 0)
		return -1;
	for (int i = 0; i < io->count; i++) {
		int output = io->s[i].output;

		if (output < 0 || io->logs.list[output].fd < 0)
			continue;
		if (output == i && io->s[i].kind == STREAM_FILE && copy_file(io, i, e) < 0)
			return -1;
		m->streams[i].output = output;
		m->streams[i].length = io->logs.list[output].settled;
	}
	return 0;
}

int stdio_sync(struct stdio *io, struct err *e)
{
	return outlogs_sync(&io->logs, e);
}

/* ---- at a restore ------------------------------------------------------ */

/*
 * If Slurm has truncated the file at the requeue, what stands in it now was written
 * by this start of the job (a prolog, a message of Slurm's) and comes after what the
 * program had written. Where others write to it, too, or much, nothing can be put in
 * front of theirs. Returns how much of the file is then in the log.
 */
static int64_t fill_file(const struct std_stream *s, int log, int64_t length, bool shared,
			 struct err *e)
{
	cleanup_free char *newer = NULL;
	cleanup_fd int fd = -1;
	char path[64];
	struct stat st;
	ssize_t n = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->outer);
	/* Written with a descriptor of its own: the file is only complete or
	 * truncated, never in between, once the program runs again. */
	if ((fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)) < 0 ||
	    fstat(fd, &st) < 0)
		return err_sys(e, "cannot write the output file");
	if (!shared && st.st_size <= NEWER_MOST) {
		n = file_read(AT_FDCWD, path, NEWER_MOST, &newer, e);
		if (n < 0)
			return -1;
		if (ftruncate(fd, 0) < 0)
			return err_sys(e, "cannot write the output file");
	}
	if (output_replay(log, length, fd, e) < 0 ||
	    file_write(fd, newer, (size_t)n, e) < 0)
		return -1;
	return newer ? length : st.st_size + length;
}

/* The file as the program left it. */
static int recall_file(struct stdio *io, int i, int log, int64_t length,
		       struct rewind *r, struct err *e)
{
	const struct std_stream *s = &io->s[i];
	int64_t *copied = &io->logs.list[i].copied;
	struct stat st;
	int kept = rewind_stream(r, i, s->outer, e);

	if (kept < 0 || fstat(s->outer, &st) < 0)
		return err_context(e, "cannot look at the output file");
	*copied = kept || log < 0 ? st.st_size :
				    fill_file(s, log, length, rewind_shared(r, i), e);
	return *copied < 0 ? -1 : 0;
}

static int recall_frames(const struct stdio *io, struct std_stream *s, int log,
			 int64_t length, struct err *e)
{
	int rc = 0;

	for (s->said = 0; rc == 0 && s->said < length;) {
		int64_t left = length - s->said;
		size_t n = left < BUF ? (size_t)left : BUF;

		if (pread(log, s->raw, n, s->said) != (ssize_t)n)
			return err_set(e, "the program's past output is not whole");
		s->filled = n;
		frame(io, s);
		if (s->outer >= 0)
			rc = file_write(s->outer, s->buf, s->filled, e);
		s->filled = s->sent = 0;
	}
	return rc;
}

static int recall_pipe(const struct stdio *io, struct std_stream *s, int log,
		       int64_t length, struct err *e)
{
	int flags = fcntl(s->outer, F_GETFL), rc;

	fcntl(s->outer, F_SETFL, flags & ~O_NONBLOCK);
	rc = s->framed ? recall_frames(io, s, log, length, e) :
			 output_replay(log, length, s->outer, e);
	fcntl(s->outer, F_SETFL, flags);
	return rc;
}

int stdio_say_again(struct stdio *io, int i, int log, int64_t length,
		    struct err *e)
{
	struct std_stream *s = &io->s[i];

	if (s->output != i)
		return 0; /* nothing was truncated */
	if (s->kind == STREAM_PIPE)
		return recall_pipe(io, s, log, length, e);
	return fill_file(s, log, length, false, e) < 0 ? -1 : 0;
}

static bool has_log(const struct stdio *io, const struct manifest *m, int i)
{
	return m->streams[i].output == i && io->s[i].output == i && io->logs.list[i].fd >= 0;
}

int stdio_whole(const struct stdio *io, const struct manifest *m, struct err *e)
{
	for (int i = 0; i < io->count; i++)
		if (has_log(io, m, i) &&
		    output_whole(io->logs.list[i].fd, m->streams[i].length, e) < 0)
			return -1;
	return 0;
}

int stdio_goes_on(struct stdio *io, const struct store *store, int run,
		  const struct manifest *m, struct err *e)
{
	for (int i = 0; i < io->count; i++) {
		struct outlog *log = &io->logs.list[i];

		if (!has_log(io, m, i))
			continue;
		if (output_take_over(store, i, m->generation, run, m->streams[i].length,
				     &log->fd, e) < 0)
			return -1;
		log->safe = m->streams[i].length;
	}
	return 0;
}

int stdio_recall(struct stdio *io, const struct manifest *m, struct rewind *r,
		 struct err *e)
{
	for (int i = 0; i < io->count; i++) {
		const struct manifest_stream *was = &m->streams[i];
		struct std_stream *s = &io->s[i];
		int log;

		if (is_input(i)) {
			s->skip = s->moved = was->position;
			if (s->kind == STREAM_FILE && was->position > 0 &&
			    lseek(s->outer, was->position, SEEK_SET) < 0)
				return err_sys(e, "cannot go on in the input file");
			continue;
		}
		log = has_log(io, m, i) ? io->logs.list[i].fd : -1;
		if (s->kind == STREAM_PIPE && log >= 0 &&
		    recall_pipe(io, s, log, was->length, e) < 0)
			return -1;
		/* One that is several is put right once. */
		if (s->kind == STREAM_FILE && s->regular &&
		    first_same(io, i) == i &&
		    recall_file(io, i, log, was->length, r, e) < 0)
			return -1;
		/* Where the program writes on if it has this very descriptor. */
		if (s->kind == STREAM_FILE && s->program >= 0)
			lseek(s->program, 0, SEEK_END);
	}
	return 0;
}
