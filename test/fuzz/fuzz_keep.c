/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent can send to the keeper of images in a restore: replies, and images in pipes. Four images
 * are sealed: a core-, an mm-, a pagemap- and a pages- one. A byte (bits 0 to 3: which of them the
 * agent has changed since; bit 4: it ends early), the pages of the vDSO, and then
 * for each of the four a size (2 bytes) and that many bytes. What is left is put before the replies, a byte
 * and as many others each time. Criu gets what was sealed, or nothing; no descriptor is left.
 */
#include <pthread.h>
#include <sys/socket.h>

/* Its functions, with none of its processes. */
#include "keep.c" /* NOLINT(bugprone-suspicious-include) */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int enter_groups(const struct broker *b, struct err *e)
{
	(void)b;
	return err_set(e, "not here");
}

int caps_none(struct err *e)
{
	return err_set(e, "not here");
}

#define IMAGES 5
#define FROM_INPUT 4

static const char *const names[IMAGES] = { "core-7.img", "mm-7.img", "pagemap-7.img", "pages-7.img",
					   "pstree.img" };
/* Process 7 and thread 7. */
static const uint8_t tree[] = { 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1 << 3, 7, 5 << 3, 7 };

struct image {
	const uint8_t *data;
	size_t size;
};

struct agent {
	int fd;
	struct image images[IMAGES];
	uint8_t changed;
	const uint8_t *more, *end;
};

/* What it says beside its replies, or in their place. */
static void say_more(struct agent *a)
{
	size_t n = a->more < a->end ? *a->more++ : 0;

	if (n > (size_t)(a->end - a->more))
		n = (size_t)(a->end - a->more);
	if (n && send(a->fd, a->more, n, MSG_NOSIGNAL) < 0)
		return;
	a->more += n;
}

/* The pipe that comes with a byte; -1. */
static int take_pipe(int from)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static int give_image(struct agent *a, const char *name)
{
	static const uint8_t yes[6] = { 2, 0, 0, 0, 1 << 3, 1 };
	const struct image *i = a->images;
	uint8_t first;
	int to;

	while (i < a->images + IMAGES && strcmp(names[i - a->images], name))
		i++;
	/* The keeper asks for nothing that was not sealed. */
	if (i == a->images + IMAGES)
		__builtin_trap();
	say_more(a);
	if (send(a->fd, yes, sizeof(yes), MSG_NOSIGNAL) < 0 || (to = take_pipe(a->fd)) < 0)
		return -1;
	/* Of the same size. */
	first = (uint8_t)((i->size ? *i->data : 0) ^ (i - a->images < FROM_INPUT ? a->changed >> (i - a->images) & 1 : 0));
	if (i->size && write(to, &first, 1) == 1 && write(to, i->data + 1, i->size - 1) < 0)
		a->changed |= 16;
	close(to);
	return a->changed & 16 ? -1 : 0;
}

static void *be_agent(void *arg)
{
	struct agent *a = arg;
	uint8_t request[4 + 256];

	for (;;) {
		char name[256] = "";
		uint32_t n;

		if (recv(a->fd, request, 4, MSG_WAITALL) != 4)
			break;
		memcpy(&n, request, 4);
		if (n < 2 || n > 255 || recv(a->fd, request, n, MSG_WAITALL) != (ssize_t)n)
			break;
		memcpy(name, request + 2, n - 2);
		if (give_image(a, name) < 0)
			break;
	}
	/* With the pipes that are on their way. */
	close(a->fd);
	return NULL;
}

/* As stream_step() does for criu. */
static void serve_one(struct keeper *k, const struct image *was, int which)
{
	struct err e = { "" };
	int p[2], rc = -1, handle = restore_open(k, names[which], &e);
	static uint8_t got[1 << 20];
	size_t n = 0;

	if (handle < 0) {
		if (!*e.text)
			__builtin_trap();
		return;
	}
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		__builtin_trap();
	rc = hand_on(k, handle, p[1], &e);
	/* It was the agent's to fill. */
	if (rc != 1) {
		while (rc == 0 && (rc = restore_pour(k, handle, p[1], &e)) == 1) {
			ssize_t m = read(p[0], got + n, sizeof(got) - n);

			if (m > 0)
				n += (size_t)m;
			rc = 0;
			if (n == sizeof(got))
				break;
		}
		close(p[1]);
		for (ssize_t m; n < sizeof(got) && (m = read(p[0], got + n, sizeof(got) - n)) > 0;)
			n += (size_t)m;
	}
	close(p[0]);
	if (rc < 0 && !*e.text)
		__builtin_trap();
	if (which != 3 && rc == 0 && (n != was->size || memcmp(got, was->data, n)))
		__builtin_trap();
	/* None of another vDSO, in part or whole. */
	if (which == 3 && k->vdso_count && k->kept[handle].vdso.size) {
		const struct vdso *v = &k->kept[handle].vdso;
		uint8_t digest[32];

		if (n > v->at && n < v->at + v->size && n < sizeof(got))
			__builtin_trap();
		if (n >= v->at + v->size) {
			image_sha256(got + v->at, v->size, digest);
			if (memcmp(digest, k->s.vdso, sizeof(digest)))
				__builtin_trap();
		}
	}
	/* And no sequence. */
	for (size_t i = 0; which == 3 && i < k->sequence_count; i++)
		for (size_t at = k->sequences[i].at; at < k->sequences[i].at + RSEQ_CS_SIZE; at++)
			if (k->sequences[i].pages == 7 && at < n && got[at])
				__builtin_trap();
	restore_close(k, handle);
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 64; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Takes an image from the input. */
static struct image cut(const uint8_t **data, const uint8_t *end)
{
	struct image i = { *data, 0 };

	if (end - *data < 2)
		return i;
	i.size = (size_t)((*data)[0] | (*data)[1] << 8);
	i.data = *data += 2;
	if (i.size > (size_t)(end - *data))
		i.size = (size_t)(end - *data);
	*data += i.size;
	return i;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size, *at = data + 2;
	struct keeper k = { .runner = -1, .s = { .cluster = "c" } };
	struct stated list[IMAGES];
	struct agent a = { .fd = -1 };
	int before = open_descriptors(), pair[2];
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	if (size < 2 || size > 30000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	a.changed = data[0] & 31;
	for (int i = 0; i < IMAGES; i++) {
		a.images[i] = i < FROM_INPUT ? cut(&at, end) : (struct image){ tree, sizeof(tree) };
		list[i] = (struct stated){ .pages = i == 3, .size = i == 3 ? 0 : a.images[i].size };
		strcpy(list[i].name, names[i]);
		image_sha256(a.images[i].data, a.images[i].size, list[i].sha256);
	}
	a.more = at;
	a.end = end;
	a.fd = pair[0];
	k.agent = pair[1];
	k.s.list = list;
	k.s.count = IMAGES;
	/* The last so many pages of the memory. */
	if (a.images[3].size >= (size_t)data[1] * 4096)
		image_sha256(a.images[3].data + a.images[3].size - (size_t)data[1] * 4096, (size_t)data[1] * 4096,
			     k.s.vdso);
	if (pthread_create(&thread, NULL, be_agent, &a))
		__builtin_trap();
	for (int i = 0; i < FROM_INPUT; i++)
		serve_one(&k, &a.images[i], i);
	shutdown(pair[1], SHUT_RDWR);
	pthread_join(thread, NULL);
	close(pair[1]);
	/* What failed ends the keeper; here its memory and its pipes are looked at. */
	for (size_t i = 0; i < k.count; i++)
		restore_close(&k, (int)i);
	free(k.kept);
	free(k.vdsos);
	free(k.sequences);
	free(k.tree);
	if (open_descriptors() != before)
		__builtin_trap();
	return 0;
}
