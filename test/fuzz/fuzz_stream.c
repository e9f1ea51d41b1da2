/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What criu may send. A byte: serving images (bit 0 clear) or taking them. Then
 * records: a byte with the number of bytes that follow (bits 0 to 5), and how
 * many pipes go with them (bits 6 and 7). Whatever came, no descriptor is left.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sckpt/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int opened, closed;

/* A file's name, and nothing else, whatever came. */
static int open_image(void *arg, const char *name, struct err *e)
{
	(void)arg;
	if (!*name || *name == '.' || strchr(name, '/') ||
	    strlen(name) > IMAGE_NAME_MAX)
		__builtin_trap();
	if (*name == 'y')
		return err_set(e, "there is no memory");
	return *name == 'x' ? -2 : opened++;
}

static int give(void *arg, int handle, int pipe, struct err *e)
{
	(void)arg;
	if (handle == 3)
		return err_set(e, "there is nothing to give");
	return write(pipe, "image", 5) == 5 && handle == 1;
}

static void end_given(void *arg, int handle)
{
	(void)arg;
	(void)handle;
	closed++;
}

static int take(void *arg, int handle, int pipe, struct err *e)
{
	char buffer[16];
	ssize_t n = read(pipe, buffer, sizeof(buffer));

	(void)arg;
	if (handle == 3)
		return err_set(e, "there is no room");
	return n > 0;
}

static int end_taken(void *arg, int handle, struct err *e)
{
	(void)arg;
	closed++;
	return handle == 2 ? err_set(e, "it is not whole") : 0;
}

/* The next record; what is left of the input, or NULL at its end. */
static const uint8_t *send_record(int fd, bool capture, const uint8_t *data,
				  const uint8_t *end)
{
	union {
		char space[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int pipes[3][2], count, sent = 0;

	if (data == end)
		return NULL;
	count = *data >> 6;
	iov.iov_len = *data++ & 63U;
	if (iov.iov_len > (size_t)(end - data))
		iov.iov_len = (size_t)(end - data);
	iov.iov_base = (void *)data;
	while (sent < count && pipe2(pipes[sent], O_CLOEXEC) == 0) {
		if (write(pipes[sent][1], data, iov.iov_len) < 0)
			__builtin_trap();
		sent++;
	}
	if (sent > 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE((size_t)sent * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)sent * sizeof(int));
		for (int i = 0; i < sent; i++)
			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int),
			       &pipes[i][capture ? 0 : 1], sizeof(int));
	}
	if (iov.iov_len > 0)
		sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (int i = 0; i < sent; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	return data + iov.iov_len;
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 128; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void speak(const char *dir, bool capture, const uint8_t *data,
		  const uint8_t *end)
{
	const struct image_source source = { NULL, open_image, give, end_given, NULL, NULL };
	const struct image_sink sink = { NULL, open_image, take, end_taken, NULL };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct err e = { "" };
	struct stream *s = stream_open(dir, capture ? &sink : NULL,
				       capture ? NULL : &source, &e);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 1;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/streamer-%s.sock",
		 dir, capture ? "capture" : "serve");
	if (!s || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		__builtin_trap();
	while (data)
		data = send_record(fd, capture, data, end);
	/* Nothing more comes: a request that is cut off ends it. */
	shutdown(fd, SHUT_WR);
	while (rc > 0)
		rc = stream_step(s, &e);
	if (rc == 0)
		rc = stream_drain(s, &e);
	if (rc < 0 && !*e.text)
		__builtin_trap();
	close(fd);
	stream_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char dir[] = "/dev/shm/sckpt-fuzz-XXXXXX";
	static bool made;
	int before;

	if (!made && !mkdtemp(dir))
		return 0;
	made = true;
	signal(SIGPIPE, SIG_IGN);
	if (size < 1 || size > 4096)
		return 0;
	before = open_descriptors();
	opened = closed = 0;
	speak(dir, data[0] & 1, data + 1, data + size);
	if (open_descriptors() != before || closed > opened)
		__builtin_trap();
	return 0;
}
