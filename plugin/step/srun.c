/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sckpt-srun SRUN ARGUMENTS…: in the place of srun in a protected script's tree
 * (calls.h). Everything that a restore needs is in its memory and dumped with the
 * tree: how many bytes of output the script has got is always what the script's
 * file or pipe really has.
 *
 * Started again, the step says again all that it had said up to its checkpoint;
 * of that, as many bytes are dropped as were passed on before. And it
 * reads its input again from the start: a file is read from where srun found it,
 * what came through a pipe is remembered.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "alone.h"
#include "calls.h"
#include "end.h"
#include "frame.h"
#include "sckpt/base.h"

#define BUF 65536
/* Input from a pipe that is remembered; the step can be started again only with
 * all of it. */
#define KEEP_MOST (64 << 20)
/* srun's own messages wait so long for the word that they are of a stop. */
#define HOLD_MS 5000
/* The begin of a line is held back for its end, up to what slurmstepd takes for a line
 * (SLURM_IO_MAX_MSG_LEN): others' words would come between. */
#define LINE_MOST 1024

struct output {
	bool open; /* the script has given it */
	bool fifo; /* a write of more than PIPE_BUF could block */
	int from; /* the pipe that the real srun writes to */
	int to; /* as srun was given it: 1 or 2 */
	char buf[BUF];
	size_t filled, sent;
	bool labelled; /* srun --label: messages of slurmstepd have one, too */
	bool message; /* buf begins in the middle of a message of srun's */
	bool line; /* the last byte of the program's was a newline */
	int64_t passed; /* the program's bytes that were passed on, or dropped */
	int64_t drop; /* bytes that come again, and were passed on before */
	/* Of what comes in frames: */
	bool raw_line; /* a line begins in buf */
	char plain[LINE_MOST + FRAME_SIZE * 32]; /* out of a frame, to be passed on */
	size_t plain_size, plain_sent;
};

/* So much of what a stream of a node has said was passed on, or is begun. */
struct said {
	int node, stream; /* node -1: free */
	int64_t size;
	size_t line; /* bytes of a line without its end, begun ones among them */
	bool labelled; /* it has a label */
	int to; /* the output's, as in struct output */
	char *begun; /* of a line, whose end is not there yet */
	size_t begun_size;
};

struct input {
	enum { NONE, FILE_AT, PIPE } kind;
	off_t start; /* FILE_AT: where srun found it */
	bool end; /* all of it was read */
	int to; /* the pipe that the real srun reads; -1 closed */
	char *kept; /* PIPE: all that was read */
	size_t size, sent;
	bool forgotten; /* it was too much to be kept */
	char buf[BUF];
	size_t filled, done;
};

struct standin {
	struct input in;
	struct output out[2];
	char held[BUF]; /* messages of srun's that may be of a stop */
	size_t held_size;
	int64_t held_until; /* ns; 0 nothing is held */
	bool stopping;
	int signals, words, words_in; /* signalfd; both ends of the pipe of words */
	int other[3]; /* the ends that are the real srun's */
	pid_t client; /* the real srun; 0 not started */
	uint64_t waiting; /* signals for it when it is */
	int32_t number;
	uint32_t token; /* of frames; 0 there are none */
	struct said *said; /* by hash */
	size_t said_room, said_count; /* room is a power of two */
	bool ended;
	int status;
};

static void __attribute__((noreturn)) give_up(const char *what)
{
	dprintf(2, "sckpt: srun cannot go on: %s\n", what);
	_exit(1);
}

/* ---- calling the agent ------------------------------------------------------ */

/* mine is the end that does not block. */
static void make_pipe(int *mine, int *other, bool i_write)
{
	int p[2];

	close_fd(mine);
	close_fd(other);
	if (pipe2(p, O_CLOEXEC) < 0)
		give_up(strerror(errno));
	*mine = p[i_write];
	*other = p[!i_write];
	fcntl(*mine, F_SETFL, O_NONBLOCK);
}

static void make_pipes(struct standin *s)
{
	if (s->in.kind != NONE)
		make_pipe(&s->in.to, &s->other[0], true);
	for (int i = 0; i < 2; i++)
		if (s->out[i].open)
			make_pipe(&s->out[i].from, &s->other[1 + i], false);
	make_pipe(&s->words, &s->words_in, false);
}

static int say_who(const struct standin *s)
{
	struct call call = { .pid = getpid(), .number = s->number,
			     .words = s->words_in };
	cleanup_fd int fd = open(CALLS_FIFO, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -1;
	memcpy(call.fds, s->other, sizeof(call.fds));
	fcntl(fd, F_SETFL, 0);
	return write(fd, &call, sizeof(call)) == sizeof(call) ? 0 : -1;
}

/* The step is started again; what is on its way here comes again, too. */
static void call_again(struct standin *s)
{
	if (s->in.forgotten)
		give_up("it has read more than 64 MiB of input from a pipe, which could not be kept: give it a file");
	make_pipes(s);
	s->in.sent = s->in.filled = s->in.done = 0;
	if (s->in.kind == FILE_AT) {
		lseek(0, s->in.start, SEEK_SET);
		s->in.end = false;
	}
	for (int i = 0; i < 2; i++) {
		s->out[i].filled = s->out[i].sent = 0;
		s->out[i].message = false;
		s->out[i].raw_line = true;
	}
	s->held_size = 0;
	s->held_until = 0;
	s->stopping = false;
	s->client = 0;
	if (say_who(s) < 0)
		give_up(strerror(errno));
}

/* ---- input ------------------------------------------------------------------ */

static void take_input(struct input *in)
{
	struct stat st;

	in->to = -1;
	if (fcntl(0, F_GETFD) < 0)
		return;
	in->start = lseek(0, 0, SEEK_CUR);
	in->kind = in->start >= 0 && fstat(0, &st) == 0 && S_ISREG(st.st_mode) ?
			   FILE_AT :
			   PIPE;
}

static void keep_input(struct input *in, size_t n)
{
	char *more;

	if (in->kind != PIPE || in->forgotten)
		return;
	more = in->size + n > KEEP_MOST ? NULL : realloc(in->kept, in->size + n);
	if (!more) {
		free(in->kept);
		in->kept = NULL;
		in->size = in->sent = 0;
		in->forgotten = true;
		return;
	}
	in->kept = more;
	memcpy(more + in->size, in->buf, n);
	in->size += n;
	in->sent = in->size;
}

/* Something is to be read, and there is room for it. */
static bool wants_input(const struct input *in)
{
	return in->to >= 0 && !in->end && in->done == in->filled &&
	       in->sent == in->size;
}

static bool has_input(const struct input *in)
{
	return in->to >= 0 &&
	       (in->done < in->filled || in->sent < in->size ||
		(in->end && in->sent == in->size));
}

static void read_input(struct input *in)
{
	ssize_t n = read(0, in->buf, sizeof(in->buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		in->end = true;
		return;
	}
	in->filled = (size_t)n;
	in->done = 0;
	keep_input(in, (size_t)n);
}

/* What was kept comes first: after a restore that is all there was. */
static void write_input(struct input *in)
{
	bool again = in->sent < in->size;
	const char *at = again ? in->kept + in->sent : in->buf + in->done;
	size_t left = again ? in->size - in->sent : in->filled - in->done;
	ssize_t n = left ? write(in->to, at, left) : 0;

	if (n < 0)
		return; /* not now; that srun is gone is told otherwise */
	if (again)
		in->sent += (size_t)n;
	else
		in->done += (size_t)n;
	if (in->end && in->sent == in->size && in->done == in->filled)
		close_fd(&in->to);
}

/* ---- output ----------------------------------------------------------------- */

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, -1);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

/* Said of the stop of the job, and not of the program. */
static bool of_the_stop(const char *line, size_t size)
{
	static const char *const texts[] = { ": Job step aborted",
					     ": Force Terminated",
					     " CANCELLED AT " };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (memmem(line, size, texts[i], strlen(texts[i])))
			return true;
	return false;
}

/* The program has ended by itself, and its job may be stopping all the same. */
static void drop_of_the_stop(struct standin *s)
{
	char *at = s->held, *end = s->held + s->held_size;

	while (at < end) {
		char *nl = memchr(at, '\n', (size_t)(end - at));
		char *next = nl ? nl + 1 : end;

		if (of_the_stop(at, (size_t)(next - at))) {
			memmove(at, next, (size_t)(end - next));
			end -= next - at;
		} else {
			at = next;
		}
	}
	s->held_size = (size_t)(end - s->held);
}

static void release_held(struct standin *s)
{
	write_all(2, s->held, s->held_size);
	s->held_size = 0;
	s->held_until = 0;
}

/* Bytes of the task's label that a line may begin with ("12: "). */
static size_t label(const struct output *o)
{
	const char *at = o->buf + o->sent, *end = o->buf + o->filled, *p = at;

	while (o->labelled && p < end && *p == ' ')
		p++;
	while (o->labelled && p < end && *p >= '0' && *p <= '9')
		p++;
	for (int i = 0; p > at && p < end && i < 2; i++, p++)
		if (*p != ": "[i])
			return 0;
	return (size_t)(p - at);
}

static bool at_line(const struct output *o)
{
	return o->to == 2 && (o->line || o->sent == 0) && !o->message;
}

/* srun writes it by itself: whose words follow is not known yet. */
static bool is_bare_label(const struct output *o)
{
	return at_line(o) && o->sent < o->filled && o->sent + label(o) == o->filled;
}

/* One of slurmstepd's with its time in front, as a program's own lines may have, too. */
static bool is_dated_message(const char *at, size_t size)
{
	char line[128], *words;

	if (size > sizeof(line))
		size = sizeof(line);
	memcpy(line, at, size);
	return size && *line == '[' && stepd_line(line, size, &words) == line &&
	       line + size - words >= 5 && !memcmp(words, "STEP ", 5);
}

/* Messages of srun's, slurmstepd's and sckpt's are no output of the program's:
 * they do not come again. They are written in one piece and end a line. Returns how
 * many bytes are before the name; -1: it is none. */
static int is_message(const struct output *o)
{
	static const char *const who[] = { "srun: ", "slurmstepd: ",
					   "slurmstepd-", "sckpt: " };
	size_t before = label(o);
	const char *at = o->buf + o->sent + before;
	size_t left = o->filled - o->sent - before;

	for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++)
		if (left > strlen(who[i]) && !memcmp(at, who[i], strlen(who[i])))
			return (int)before;
	return is_dated_message(at, left) ? (int)before : -1;
}

static void hold(struct standin *s, const char *data, size_t size)
{
	if (s->held_size + size > sizeof(s->held))
		release_held(s);
	memcpy(s->held + s->held_size, data, size);
	s->held_size += size;
	if (!s->held_until)
		s->held_until = clock_ns(CLOCK_MONOTONIC) +
				HOLD_MS * INT64_C(1000000);
}

/* As much of a message as there is; true when there was one. */
static bool take_message(struct standin *s, struct output *o)
{
	const char *at = o->buf + o->sent, *nl;
	size_t left = o->filled - o->sent, n;
	int before = at_line(o) ? is_message(o) : -1;

	if (!o->message && before < 0)
		return false;
	nl = memchr(at, '\n', left);
	n = nl ? (size_t)(nl - at) + 1 : left;
	if (!o->message && !strncmp(at + before, "sckpt: ", 7))
		write_all(2, at, n);
	else
		hold(s, at, n);
	o->message = !nl;
	o->sent += n;
	return true;
}

/* As much as can be written at once. 0: nothing can be, now. What nobody reads any more, or
 * finds no room, counts as written: srun drops it, too (step_io.c, _file_write). That there is no
 * reader srun learns by its own pipe: its step goes on, or does not, by Slurm's release. */
static size_t write_some(struct output *o, const char *at, size_t n)
{
	ssize_t done;

	if (o->fifo && n > PIPE_BUF)
		n = PIPE_BUF;
	done = write(o->to, at, n);
	if (done >= 0)
		return (size_t)done;
	if (errno == EINTR || errno == EAGAIN)
		return 0;
	if (errno == EPIPE)
		close_fd(&o->from);
	return n;
}

/* ---- frames ------------------------------------------------------------------ */

static struct said *find_said(struct said *list, size_t room, int node, int stream)
{
	size_t i = ((uint32_t)node * UINT32_C(2654435761) + (uint32_t)stream) &
		   (room - 1);

	while (list[i].node >= 0 &&
	       (list[i].node != node || list[i].stream != stream))
		i = (i + 1) & (room - 1);
	return &list[i];
}

static void grow_said(struct standin *s)
{
	size_t room = s->said_room ? 2 * s->said_room : 64;
	struct said *list = malloc(room * sizeof(*list));

	if (!list)
		give_up("no memory");
	for (size_t i = 0; i < room; i++)
		list[i].node = -1;
	for (size_t i = 0; i < s->said_room; i++)
		if (s->said[i].node >= 0)
			*find_said(list, room, s->said[i].node,
				   s->said[i].stream) = s->said[i];
	free(s->said);
	s->said = list;
	s->said_room = room;
}

static struct said *said_of(struct standin *s, int node, int stream)
{
	struct said *found;

	if (2 * (s->said_count + 1) > s->said_room)
		grow_said(s);
	found = find_said(s->said, s->said_room, node, stream);
	if (found->node < 0) {
		*found = (struct said){ .node = node, .stream = stream };
		s->said_count++;
	}
	return found;
}

/* A frame begins, of which not all is there yet. */
static bool is_part_frame(const struct standin *s, const struct output *o)
{
	size_t before = label(o), left = o->filled - o->sent - before;

	if (!s->token || !o->raw_line || o->message || left >= FRAME_SIZE)
		return false;
	return left ? frame_begins(o->buf + o->sent + before, left, s->token) :
		      before > 0;
}

/* The rest of it will not come. */
static bool is_torn(const struct standin *s, const struct output *o)
{
	return is_part_frame(s, o) && o->filled - o->sent > FRAME_SIZE / 8;
}

static void forget_said(struct standin *s)
{
	for (size_t i = 0; i < s->said_room; i++)
		if (s->said[i].node >= 0)
			free(s->said[i].begun);
	free(s->said);
	s->said = NULL;
	s->said_room = s->said_count = 0;
}

/* Lines get the label again that srun gave the frame. Of a long one each piece is a line
 * then (write_labelled_message.c). */
static void add_plain(struct output *o, struct said *said, const char *label,
		      size_t label_size, const char *data, size_t size)
{
	said->labelled = label_size;
	for (size_t i = 0; i < size; i++) {
		if (!said->line) {
			memcpy(o->plain + o->plain_size, label, label_size);
			o->plain_size += label_size;
		}
		o->plain[o->plain_size++] = data[i];
		said->line++;
		if (data[i] == '\n') {
			said->line = 0;
		} else if (label_size && said->line == LINE_MOST) {
			o->plain[o->plain_size++] = '\n';
			said->line = 0;
		}
	}
}

static void take_begun(struct output *o, struct said *said)
{
	o->plain_size = said->begun_size;
	if (said->begun_size)
		memcpy(o->plain, said->begun, said->begun_size);
	free(said->begun);
	said->begun = NULL;
	said->begun_size = 0;
}

/* The line that plain ends in the middle of waits for more. */
static void keep_begun(struct output *o, struct said *said)
{
	const char *nl = memrchr(o->plain, '\n', o->plain_size);
	size_t whole = nl ? (size_t)(nl - o->plain) + 1 : 0;
	size_t begun = o->plain_size - whole;

	if (!begun || (begun >= LINE_MOST && !said->labelled))
		return;
	if (!(said->begun = malloc(begun)))
		give_up("no memory");
	memcpy(said->begun, o->plain + whole, begun);
	said->begun_size = begun;
	o->plain_size = whole;
}

/* Of lines that will have no end of their own. */
static void release_begun(struct standin *s)
{
	for (size_t i = 0; i < s->said_room; i++) {
		const struct said *said = &s->said[i];

		if (said->node < 0 || !said->begun_size)
			continue;
		write_all(said->to, said->begun, said->begun_size);
		if (said->labelled)
			write_all(said->to, "\n", 1);
	}
	forget_said(s);
}

/* True when there was one. All of it counts as passed on: what is not written yet is
 * here, also after a restore. */
static bool take_frame(struct standin *s, struct output *o)
{
	size_t before = label(o), skip;
	const char *at = o->buf + o->sent;
	struct said *said;
	struct frame f;

	if (!s->token || !o->raw_line || o->message || before > 24 ||
	    o->filled - o->sent - before < FRAME_SIZE ||
	    !frame_take(at + before, s->token, &f))
		return false;
	said = said_of(s, f.node, f.stream);
	o->plain_size = o->plain_sent = 0;
	skip = said->size > f.at ? (size_t)(said->size - f.at) : 0;
	if (skip < f.size) {
		said->to = o->to;
		take_begun(o, said);
		add_plain(o, said, at, before, f.data + skip, f.size - skip);
		keep_begun(o, said);
		said->size = f.at + (int64_t)f.size;
	}
	o->sent += before + FRAME_SIZE;
	return true;
}

/* ---- both --------------------------------------------------------------------- */

/* Passes on a part of what is there, so much as can be written at once. */
static void pass_on(struct standin *s, struct output *o)
{
	const char *at, *nl;
	size_t n;

	if (o->plain_sent < o->plain_size) {
		o->plain_sent += write_some(o, o->plain + o->plain_sent,
					    o->plain_size - o->plain_sent);
		return;
	}
	if (is_bare_label(o) || is_part_frame(s, o) || take_frame(s, o))
		return;
	if (take_message(s, o)) {
		o->raw_line = !o->message;
		return;
	}
	at = o->buf + o->sent;
	n = o->filled - o->sent;
	/* A message may begin behind every newline. */
	if ((o->to == 2 || s->token) && (nl = memchr(at, '\n', n)))
		n = (size_t)(nl - at) + 1;
	if (o->drop > 0) {
		if ((int64_t)n > o->drop)
			n = (size_t)o->drop;
		o->drop -= (int64_t)n;
	} else {
		if (!(n = write_some(o, at, n)))
			return;
		o->passed += (int64_t)n;
	}
	o->line = o->raw_line = at[n - 1] == '\n';
	o->sent += n;
}

static bool read_output(const struct standin *s, struct output *o)
{
	size_t kept = is_bare_label(o) || is_part_frame(s, o) ?
			      o->filled - o->sent :
			      0;
	ssize_t n;

	memmove(o->buf, o->buf + o->sent, kept);
	n = read(o->from, o->buf + kept, sizeof(o->buf) - kept);
	o->filled = kept + (n > 0 ? (size_t)n : 0);
	o->sent = 0;
	return n > 0;
}

/* There is something to pass on. */
static bool has_output(const struct standin *s, const struct output *o)
{
	return o->plain_sent < o->plain_size ||
	       (o->sent < o->filled && !is_bare_label(o) && !is_part_frame(s, o));
}

/* srun is gone: what it has left in its pipes. */
static void __attribute__((noreturn)) end(struct standin *s)
{
	for (int i = 0; i < 2; i++) {
		struct output *o = &s->out[i];

		while (o->open && (has_output(s, o) || read_output(s, o))) {
			struct pollfd p = { o->to, POLLOUT, 0 };

			poll(&p, 1, -1);
			pass_on(s, o);
		}
		if (o->open && !is_torn(s, o)) /* a label that nothing follows */
			write_all(o->to, o->buf + o->sent, o->filled - o->sent);
	}
	release_begun(s);
	if (s->stopping)
		drop_of_the_stop(s);
	release_held(s);
	end_as(s->status);
}

/* ---- words and signals -------------------------------------------------------- */

static void take_words(struct standin *s)
{
	struct call_word word;

	while (read(s->words, &word, sizeof(word)) == sizeof(word))
		switch (word.kind) {
		case CALL_AGAIN:
			for (int i = 0; i < 2; i++)
				s->out[i].drop = s->out[i].passed;
			break;
		case CALL_AFRESH:
			for (int i = 0; i < 2; i++)
				s->out[i].drop = s->out[i].passed = 0;
			forget_said(s);
			break;
		case CALL_FRAMES:
			s->token = (uint32_t)word.value;
			break;
		case CALL_STARTED:
			s->client = word.value;
			s->number = word.number;
			for (int i = 1; s->client && i < 64; i++)
				if (s->waiting >> i & 1)
					kill(s->client, i);
			if (s->client)
				s->waiting = 0;
			break;
		case CALL_STOPPING:
			s->stopping = true;
			break;
		case CALL_ENDED:
			s->ended = true;
			s->status = word.value;
			s->client = 0;
			break;
		default:
			break;
		}
}

static void take_signals(struct standin *s)
{
	struct signalfd_siginfo si;

	while (read(s->signals, &si, sizeof(si)) == sizeof(si)) {
		int sig = (int)si.ssi_signo;

		if (sig == SIGURG && si.ssi_code == SI_QUEUE && si.ssi_pid == 1) {
			/* What was told before the dump comes first. */
			take_words(s);
			if (s->ended)
				continue;
			if (si.ssi_int == KICK_END) {
				s->ended = true;
				s->status = SIGTERM;
			} else {
				call_again(s);
			}
		} else if (sig == SIGCHLD || sig == SIGPIPE || sig >= 64) {
			;
		} else if (s->client > 0) {
			kill(s->client, sig);
		} else {
			s->waiting |= UINT64_C(1) << sig;
		}
	}
}

static int held_ms(const struct standin *s)
{
	int64_t left = s->held_until - clock_ns(CLOCK_MONOTONIC);

	if (!s->held_until || s->stopping)
		return -1;
	return left > 0 ? (int)(left / 1000000) + 1 : 0;
}

static void serve(struct standin *s)
{
	for (;;) {
		struct pollfd p[] = { { s->words, POLLIN, 0 },
				      { s->signals, POLLIN, 0 },
				      { -1, POLLIN, 0 },
				      { -1, POLLOUT, 0 },
				      { -1, 0, 0 },
				      { -1, 0, 0 } };

		if (wants_input(&s->in))
			p[2].fd = 0;
		if (has_input(&s->in))
			p[3].fd = s->in.to;
		for (int i = 0; i < 2; i++) {
			struct output *o = &s->out[i];
			bool full = has_output(s, o);

			if (o->open)
				p[4 + i] = (struct pollfd){
					full ? o->to : o->from,
					full ? POLLOUT : POLLIN, 0
				};
		}
		poll(p, 6, held_ms(s));
		/* What is told comes before what is said. */
		take_words(s);
		if (s->ended)
			end(s);
		if (p[1].revents) {
			take_signals(s);
			continue; /* the pipes may be others now */
		}
		if (p[2].revents)
			read_input(&s->in);
		if (p[3].revents)
			write_input(&s->in);
		for (int i = 0; i < 2; i++) {
			struct output *o = &s->out[i];

			if (!p[4 + i].revents)
				continue;
			if (has_output(s, o) || read_output(s, o))
				pass_on(s, o);
		}
		if (s->held_until && held_ms(s) == 0)
			release_held(s);
	}
}

/* Descriptors 0 to 2 that srun was not given stay taken, so that no pipe gets
 * their number. */
static void take_output(struct standin *s, char *const argv[])
{
	bool labelled = getenv("SLURM_LABELIO") != NULL;

	/* One of the program's own that looks like it does no harm. */
	for (; *argv; argv++)
		labelled |= srun_letter(*argv, 'l') || !strncmp(*argv, "--la", 4);
	for (int i = 0; i < 2; i++) {
		struct stat st;

		s->out[i].to = 1 + i;
		s->out[i].from = -1;
		s->out[i].line = s->out[i].raw_line = true;
		s->out[i].labelled = labelled;
		s->out[i].open = fstat(1 + i, &st) == 0;
		s->out[i].fifo = s->out[i].open && !S_ISREG(st.st_mode);
	}
}

int main(int argc, char *argv[])
{
	static struct standin s = { .words = -1, .words_in = -1,
				    .other = { -1, -1, -1 } };
	sigset_t all;
	int null;

	if (argc < 3) {
		fprintf(stderr, "sckpt-srun: started in srun's place by spank-sckpt, not by hand\n");
		return 2;
	}
	/* Where the program may not have the capability, it stays bound to its file. */
	alone_become(SRUN_EXE);
	take_input(&s.in);
	take_output(&s, &argv[2]);
	while ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && null < 3)
		;
	if (null >= 0)
		close(null);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
	if ((s.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		give_up(strerror(errno));
	make_pipes(&s);
	if (say_who(&s) < 0) {
		/* Nobody listens any more: the real one, as it was called. */
		execv(argv[1], &argv[2]);
		give_up(strerror(errno));
	}
	serve(&s);
	return 0;
}
