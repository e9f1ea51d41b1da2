/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Criu's image streamer protocol, both ways.
 *
 * Request (criu to us):  uint32 length, in host order, then a protobuf
 * message of that length whose field 1, a string, is the image's name.
 * Restore only, our reply: uint32 length, then a message whose field 1, a
 * bool, says whether the image exists. Then, unless it does not exist, one
 * byte with a pipe's end in SCM_RIGHTS. Criu closes the socket when done.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "sckpt/image.h"
#include "sckpt/put.h"

/* More moves at a time; the kernel's limit for unprivileged users. */
#define PIPE_SIZE (1 << 20)

/* Criu's process empties a pipe meanwhile, nothing else. */
#define PUT_WAIT_S 60

enum what { LISTENER, CRIU, IMAGE, PUT };

struct channel {
	enum what what;
	int fd;
	int handle;
	struct channel *next;
};

/* A socket with a name. */
struct listener {
	struct channel c;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct stream {
	int epoll;
	const struct image_sink *sink;
	const struct image_source *source;
	struct listener listener, put;
	struct channel criu;
	struct channel *images;
	size_t open_images;
	stream_hand_on *hand_on;
	uid_t peer; /* who may connect */
};

static int watch(struct stream *s, struct channel *c, uint32_t events,
		 struct err *e)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0 ?
		       err_sys(e, "cannot watch criu's stream") :
		       0;
}

static void drop_image(struct stream *s, struct channel *c)
{
	struct channel **at = &s->images;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	/* Criu may not have closed its copy of this end yet: epoll would go on with it. */
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	close(c->fd);
	free(c);
	s->open_images--;
}

static struct stream *make(const struct image_sink *sink,
			   const struct image_source *source, struct err *e)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s) {
		err_sys(e, "cannot serve criu's images");
		return NULL;
	}
	s->sink = sink;
	s->source = source;
	s->listener.c.fd = s->criu.fd = s->put.c.fd = -1;
	s->listener.c.what = LISTENER;
	s->criu.what = CRIU;
	s->put.c.what = PUT;
	s->peer = geteuid();
	if ((s->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) {
		err_sys(e, "cannot serve criu's images");
		free(s);
		return NULL;
	}
	return s;
}

struct stream *stream_adopt(int fd, const struct image_sink *sink,
			    const struct image_source *source, struct err *e)
{
	struct stream *s = make(sink, source, e);

	if (!s)
		return NULL;
	s->criu.fd = fd;
	if (watch(s, &s->criu, EPOLLIN, e) == 0)
		return s;
	s->criu.fd = -1;
	stream_close(s);
	return NULL;
}

static int listen_on(struct stream *s, struct listener *l, int type, const char *dir,
		     const char *name, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir, name) >=
	    sizeof(addr.sun_path))
		return err_set(e, "%s is too long a path for criu's images", dir);
	memcpy(l->path, addr.sun_path, sizeof(l->path));
	unlink(l->path);
	l->c.fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->c.fd < 0 || bind(l->c.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(l->c.fd, SOMAXCONN) < 0)
		return err_sys(e, "cannot listen on %s", l->path);
	return watch(s, &l->c, EPOLLIN, e);
}

static void listener_close(struct listener *l)
{
	if (l->c.fd < 0)
		return;
	close(l->c.fd);
	unlink(l->path);
}

struct stream *stream_open(const char *dir, const struct image_sink *sink,
			   const struct image_source *source, struct err *e)
{
	struct stream *s = make(sink, source, e);

	if (!s)
		return NULL;
	if (listen_on(s, &s->listener, SOCK_STREAM, dir,
		      sink ? "streamer-capture.sock" : "streamer-serve.sock", e) == 0 &&
	    (!source || !source->put ||
	     listen_on(s, &s->put, SOCK_SEQPACKET, dir, PUT_SOCKET, e) == 0))
		return s;
	stream_close(s);
	return NULL;
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	while (s->images) {
		if (s->source)
			s->source->close(s->source->arg, s->images->handle);
		drop_image(s, s->images);
	}
	if (s->criu.fd >= 0)
		close(s->criu.fd);
	listener_close(&s->listener);
	listener_close(&s->put);
	if (s->epoll >= 0)
		close(s->epoll);
	free(s);
}

void stream_pass_on(struct stream *s, uid_t peer, stream_hand_on *hand_on)
{
	s->peer = peer;
	s->hand_on = hand_on;
}

int stream_fd(const struct stream *s)
{
	return s->epoll;
}

static int accept_criu(struct stream *s, struct err *e)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(s->listener.c.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN ? 0 : err_sys(e, "cannot accept criu");
	/* One criu, and one of the right user. */
	if (s->criu.fd >= 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    peer.uid != s->peer) {
		close(fd);
		return 0;
	}
	s->criu.fd = fd;
	return watch(s, &s->criu, EPOLLIN, e);
}

/* The whole of a short record; criu writes each in one piece. */
static int receive_all(int fd, void *data, size_t size, struct err *e)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = recv(fd, p, size, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "criu's stream broke") :
				       err_set(e, "criu's stream broke off");
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Field 1 of the request, the only one there is. */
static int parse_name(const uint8_t *msg, size_t size, char *name,
		      struct err *e)
{
	size_t len;

	if (size < 3 || msg[0] != ((1 << 3) | 2))
		goto bad;
	len = msg[1];
	msg += 2;
	size -= 2;
	if (len & 0x80) { /* a varint of two bytes: names up to 255 */
		len = (len & 0x7f) | (size_t)*msg++ << 7;
		size--;
	}
	if (len != size || len == 0 || len > IMAGE_NAME_MAX ||
	    memchr(msg, '\0', len) || memchr(msg, '/', len) || msg[0] == '.')
		goto bad;
	memcpy(name, msg, len);
	name[len] = '\0';
	return 0;
bad:
	return err_set(e, "criu asked for an image in a way that is not understood");
}

static int receive_pipe(int fd, struct err *e)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      /* Not its size: padding is room for a second
			       * descriptor, which would stay open. */
			      .msg_controllen = CMSG_LEN(sizeof(int)) };
	struct cmsghdr *c;
	ssize_t n;
	int pipe;

	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, "criu's stream broke");
	c = CMSG_FIRSTHDR(&msg);
	if (n != 1 || !c || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return err_set(e, "criu sent no pipe for an image");
	memcpy(&pipe, CMSG_DATA(c), sizeof(pipe));
	return pipe;
}

/* ImgStreamerReplyEntry { exists = 1 } */
static int reply(int fd, bool exists, struct err *e)
{
	struct __attribute__((packed)) {
		uint32_t size;
		uint8_t key, value;
	} msg = { 2, 1 << 3, exists };

	return send(fd, &msg, sizeof(msg), MSG_NOSIGNAL) == sizeof(msg) ?
		       0 :
		       err_sys(e, "criu's stream broke");
}

static int start_image(struct stream *s, const char *name, struct err *e)
{
	struct channel *c;
	int handle, pipe;

	handle = s->sink ? s->sink->open(s->sink->arg, name, e) :
			   s->source->open(s->source->arg, name, e);
	if (handle == -1)
		return -1;
	if (s->source && (reply(s->criu.fd, handle >= 0, e) < 0))
		return -1;
	if (handle < 0)
		return 0;
	if ((pipe = receive_pipe(s->criu.fd, e)) < 0)
		return -1;
	if (s->hand_on) {
		int rc = s->hand_on(s->sink ? s->sink->arg : s->source->arg, handle, pipe, e);

		if (rc)
			return rc < 0 ? (close(pipe), -1) : 0;
	}
	/* A failure only makes the steps smaller: fs.pipe-max-size. */
	fcntl(pipe, F_SETPIPE_SZ, PIPE_SIZE);
	fcntl(pipe, F_SETFL, fcntl(pipe, F_GETFL) | O_NONBLOCK);
	if (!(c = calloc(1, sizeof(*c)))) {
		close(pipe);
		return err_sys(e, "cannot serve criu's images");
	}
	*c = (struct channel){ IMAGE, pipe, handle, s->images };
	s->images = c;
	s->open_images++;
	return watch(s, c, s->sink ? EPOLLIN : EPOLLOUT, e);
}

static int serve_request(struct stream *s, struct err *e)
{
	uint8_t msg[IMAGE_NAME_MAX + 8];
	char name[IMAGE_NAME_MAX + 1];
	uint32_t size;
	ssize_t n = recv(s->criu.fd, &size, sizeof(size), MSG_PEEK);

	if (n == 0 || (n < 0 && errno == ECONNRESET)) {
		/* Criu is done with opening images. */
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->criu.fd, NULL);
		close(s->criu.fd);
		s->criu.fd = -1;
		return 0;
	}
	if (receive_all(s->criu.fd, &size, sizeof(size), e) < 0)
		return -1;
	if (size > sizeof(msg))
		return err_set(e, "criu asked for an image in a way that is not understood");
	if (receive_all(s->criu.fd, msg, size, e) < 0 ||
	    parse_name(msg, size, name, e) < 0)
		return -1;
	return start_image(s, name, e);
}

/* ---- past the pipe (sckpt/put.h) ------------------------------------------------ */

static struct channel *image_of(const struct stream *s, uint64_t inode)
{
	struct channel *c = s->images;
	struct stat st;

	while (c && (fstat(c->fd, &st) < 0 || st.st_ino != inode))
		c = c->next;
	return c;
}

static void fill(struct stream *s, struct channel *c, bool go_on)
{
	struct epoll_event event = { .events = go_on ? EPOLLOUT : 0, .data.ptr = c };

	epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static bool next_request(int fd, struct put_request *r)
{
	ssize_t n;

	do
		n = recv(fd, r, sizeof(*r), 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*r);
}

/* As long as the peer has the connection, which is one read of its. */
static int serve_put(struct stream *s, int fd, pid_t pid, struct err *e)
{
	struct put_request r;
	struct channel *c;
	bool unheard = false;
	char answer = 0;
	int rc = 1;

	if (!next_request(fd, &r) || r.size || !(c = image_of(s, r.pipe)))
		return 0;
	fill(s, c, false);
	while (send(fd, &answer, 1, MSG_NOSIGNAL) == 1) {
		unheard = false;
		if (rc != 1 || !next_request(fd, &r))
			break;
		rc = s->source->put(s->source->arg, c->handle, pid, r.to, r.size, e);
		answer = rc != 1;
		unheard = rc == 1;
	}
	fill(s, c, true);
	/* It would read what comes after that into the same place. */
	if (unheard)
		return err_sys(e, "criu could not be told that its memory is in place");
	return rc < 0 ? -1 : 0;
}

static int accept_put(struct stream *s, struct err *e)
{
	const struct timeval patience = { .tv_sec = PUT_WAIT_S };
	cleanup_fd int fd = accept4(s->put.c.fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    peer.uid != s->peer ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		return 0;
	return serve_put(s, fd, peer.pid, e);
}

static int move_image(struct stream *s, struct channel *c, struct err *e)
{
	int rc;

	if (s->sink) {
		rc = s->sink->pour(s->sink->arg, c->handle, c->fd, e);
		if (rc == 0)
			rc = s->sink->close(s->sink->arg, c->handle, e) < 0 ?
				     -1 :
				     0;
	} else {
		rc = s->source->pour(s->source->arg, c->handle, c->fd, e);
		if (rc == 0)
			s->source->close(s->source->arg, c->handle);
	}
	if (rc == 0)
		drop_image(s, c);
	return rc < 0 ? -1 : 0;
}

int stream_step(struct stream *s, struct err *e)
{
	struct epoll_event events[32];
	int n = epoll_wait(s->epoll, events, 32, 0);

	if (n < 0)
		return errno == EINTR ? 0 : err_sys(e, "cannot wait for criu");
	for (int i = 0; i < n; i++) {
		struct channel *c = events[i].data.ptr;
		int rc = 0;

		switch (c->what) {
		case LISTENER:
			rc = accept_criu(s, e);
			break;
		case CRIU:
			rc = serve_request(s, e);
			break;
		case IMAGE:
			rc = move_image(s, c, e);
			break;
		case PUT:
			rc = accept_put(s, e);
			break;
		}
		if (rc < 0)
			return -1;
	}
	return n;
}

int stream_drain(struct stream *s, struct err *e)
{
	/* A request may still be there, too. */
	for (;;) {
		struct pollfd p = { .fd = s->epoll, .events = POLLIN };
		int n = stream_step(s, e);

		if (n < 0)
			return -1;
		if (n == 0 && s->open_images == 0)
			return 0;
		if (n == 0 && poll(&p, 1, -1) < 0 && errno != EINTR)
			return err_sys(e, "cannot wait for criu");
	}
}
